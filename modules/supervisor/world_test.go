package supervisor_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/freshet/freshet/modules/supervisor"
	"github.com/freshet/freshet/rollback"
)

// world is an endpoint with a service manager that starts the launcher again
// whenever its process ends badly.
type world struct {
	t     *testing.T
	dir   string
	store rollback.Store
	env   []string

	watched bool // the service manager has a watchdog

	mu   sync.Mutex // guards what follows
	pid  int
	out  bytes.Buffer
	done bool
	wg   sync.WaitGroup
}

// waitFor is how long a test waits for what must come.
const waitFor = 30 * time.Second

var quick = supervisor.Times{
	Gate: 150 * time.Millisecond, Soak: 150 * time.Millisecond, Ready: 20 * time.Second, Stop: 5 * time.Second,
	Beat: 4 * time.Second, Look: 30 * time.Millisecond, Resume: 50 * time.Millisecond,
	Pause: 30 * time.Millisecond, Rest: 300 * time.Millisecond, CPU: 20 * time.Second,
}

func newWorld(t *testing.T, times supervisor.Times, env ...string) *world {
	t.Helper()
	dir, err := os.MkdirTemp("", "fsv") // t.TempDir's is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	w := &world{t: t, dir: dir, store: rollback.Store{Dir: dir + "/state"}}
	text, err := json.Marshal(times)
	if err != nil {
		t.Fatal(err)
	}
	w.watched = watchedBy(env)
	w.env = append(append(os.Environ(), "TEST_DIR="+dir, "TEST_TIMES="+string(text)), env...)
	w.write(dir+"/freshet.yaml", "version: 1\n")
	t.Cleanup(w.stop)
	return w
}

// watchedBy says whether the service manager of an environment has a watchdog.
func watchedBy(env []string) bool {
	return slices.ContainsFunc(env, func(v string) bool { return strings.HasPrefix(v, "TEST_ACCIDENT=stop supervisor") })
}

func (w *world) write(path, text string) {
	w.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

// slot puts a version of the agent in place that is bad in the way how; "" is good.
func (w *world) slot(version, how string) rollback.Slot {
	w.t.Helper()
	dir := filepath.Join(w.store.Dir, "modules/agent", version)
	w.write(dir+"/how", how)
	own, err := os.Executable()
	if err != nil {
		w.t.Fatal(err)
	}
	program := dir + "/freshet"
	switch how {
	case "is truncated", "is for another machine":
		data, err := os.ReadFile(own)
		if err != nil {
			w.t.Fatal(err)
		}
		if how == "is truncated" {
			data = data[:len(data)/3]
		} else {
			data[18], data[19] = 0x16, 0 // e_machine: S390
		}
		w.write(program, string(data))
		if err := os.Chmod(program, 0o755); err != nil {
			w.t.Fatal(err)
		}
	case "is missing":
	default:
		w.linkOwn(program)
	}
	return rollback.Slot{Version: version, Dir: version, Image: "x", Start: []string{"freshet"}}
}

// linkOwn puts the test's own program in place, or a copy of it.
func (w *world) linkOwn(path string) {
	w.t.Helper()
	own, err := os.Executable()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if os.Link(own, path) != nil {
		w.copyOwn(path)
	}
}

func (w *world) copyOwn(path string) {
	w.t.Helper()
	data, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		w.t.Fatal(err)
	}
	w.write(path, string(data))
	if err := os.Chmod(path, 0o755); err != nil {
		w.t.Fatal(err)
	}
}

// packagedSlot is where the program of a package, of this version, is copied to.
func (w *world) packagedSlot(version, program string) string {
	w.t.Helper()
	data, err := os.ReadFile(program)
	if err != nil {
		w.t.Fatal(err)
	}
	return filepath.Join(w.store.Dir, "modules/agent", fmt.Sprintf("%s-%x", version, sha256.Sum256(data))[:len(version)+13], "freshet")
}

// change makes a generation with a version of the agent and switches to it.
func (w *world) change(slot rollback.Slot, confirm bool) {
	w.t.Helper()
	w.changeModule("agent", slot, confirm)
}

func (w *world) changeModule(name string, slot rollback.Slot, confirm bool) {
	w.t.Helper()
	for {
		was, err := w.store.Load()
		if err != nil {
			w.t.Fatal(err)
		}
		good, err := w.store.Generation(was.Good)
		if err != nil {
			w.t.Fatal(err)
		}
		onTrial := was.Trial != 0 && !confirm
		if onTrial {
			if good, err = w.store.Generation(was.Trial); err != nil {
				w.t.Fatal(err)
			}
		}
		is, g, err := w.store.Make(was, good.WithModules(map[string]rollback.Slot{name: slot}))
		if err != nil {
			w.t.Fatal(err)
		}
		if onTrial {
			is, err = is.Displace(g.Number)
		} else {
			is, err = is.Switch(g.Number)
		}
		if err != nil {
			w.t.Fatal(err)
		}
		if confirm {
			is = is.Confirm()
		}
		if err = w.store.Switch(was, is); err == nil {
			break
		}
	}
	if pid := w.process(); pid > 0 {
		_ = syscall.Kill(pid, syscall.SIGHUP)
	}
}

// install has version 1.0.0, which is good, be what runs.
func (w *world) install() {
	w.t.Helper()
	if err := os.MkdirAll(w.store.Dir, 0o755); err != nil {
		w.t.Fatal(err)
	}
	w.change(w.slot("1.0.0", ""), true)
	w.start()
	w.until("version 1.0.0 runs", func() bool { return w.runs("1.0.0") })
}

func (w *world) process() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pid
}

// start is the service manager.
func (w *world) start() {
	w.mu.Lock()
	w.done = false
	w.mu.Unlock()
	w.wg.Add(1)
	go func() {
		defer w.wg.Done()
		for {
			c := exec.Command(os.Args[0], "launch")
			c.Env, c.Stdout, c.Stderr = w.env, w, w
			c.WaitDelay = 20 * time.Second
			w.mu.Lock()
			if w.done {
				w.mu.Unlock()
				return
			}
			err := c.Start()
			if err == nil {
				w.pid = c.Process.Pid
			}
			w.mu.Unlock()
			if err != nil {
				return
			}
			ended := make(chan struct{})
			if w.watched {
				w.wg.Go(func() { w.watch(c.Process.Pid, ended) })
			}
			_ = c.Wait()
			close(ended)
			w.mu.Lock()
			w.pid = 0
			w.mu.Unlock()
			time.Sleep(20 * time.Millisecond) // RestartSec
		}
	}()
}

// watchdog is how long a supervisor may be silent; of a machine that does much else.
const watchdog = 5 * time.Second

// watch kills a process that does not say that it is alive, as WatchdogSec does.
func (w *world) watch(pid int, ended <-chan struct{}) {
	tick := time.NewTicker(watchdog / 50)
	defer tick.Stop()
	for last := time.Now(); ; {
		select {
		case <-ended:
			return
		case <-tick.C:
		}
		if st, err := os.Stat(w.dir + "/run/alive"); err == nil && st.ModTime().After(last) {
			last = st.ModTime()
		}
		if time.Since(last) > watchdog {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			return
		}
	}
}

func (w *world) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.Write(p)
}

func (w *world) output() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.String()
}

// stop ends the service in order.
func (w *world) stop() {
	w.mu.Lock()
	w.done = true
	pid := w.pid
	w.mu.Unlock()
	if pid > 0 {
		_ = syscall.Kill(pid, syscall.SIGTERM)
	}
	w.wg.Wait()
}

// cut stops everything at once, as a power cut does, and empties what a boot does.
func (w *world) cut() {
	w.mu.Lock()
	w.done = true
	pid := w.pid
	w.mu.Unlock()
	if pid > 0 {
		kids := children(pid)
		_ = syscall.Kill(pid, syscall.SIGKILL)
		for _, k := range kids {
			_ = syscall.Kill(k, syscall.SIGKILL)
		}
	}
	w.wg.Wait()
	if err := os.RemoveAll(w.dir + "/run"); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) until(what string, ok func() bool) time.Duration {
	w.t.Helper()
	began := time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Since(began) > waitFor {
			st, _ := w.store.Load()
			w.t.Fatalf("it never came that %s; state %+v\n%s\n…\n%s", what, st, head(w.output(), 3000), tail(w.output(), 3000))
		}
		<-tick.C
	}
	return time.Since(began)
}

func head(s string, n int) string { return s[:min(len(s), n)] }

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// ask gives the program of the agent that answers.
func (w *world) ask() (string, error) {
	conn, err := net.DialTimeout("unix", w.dir+"/run/agent.sock", 10*time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\n\r\n"); err != nil {
		return "", err
	}
	data, err := io.ReadAll(conn)
	_, path, _ := strings.Cut(string(data), "\r\n\r\n")
	if err == nil && path == "" {
		err = fmt.Errorf("no answer: %q", data)
	}
	return strings.TrimSpace(path), err
}

// runs says whether this version answers and is good, and nothing is on trial.
func (w *world) runs(version string) bool {
	st, err := w.store.Load()
	if err != nil || st.Current != st.Good || st.Trial != 0 {
		return false
	}
	g, err := w.store.Generation(st.Good)
	if err != nil || g.Modules["agent"].Version != version {
		return false
	}
	path, err := w.ask()
	return err == nil && filepath.Base(filepath.Dir(path)) == version
}

// held is why a version is in the quarantine; "" if it is not.
func (w *world) held(version string) string {
	w.t.Helper()
	return w.heldModule("agent", version)
}

func (w *world) heldModule(name, version string) string {
	w.t.Helper()
	st, err := w.store.Load()
	if err != nil {
		w.t.Fatal(err)
	}
	h, _ := st.HeldModule(name, version)
	return h.Reason
}

// check asserts what must hold whatever happened.
func (w *world) check() {
	w.t.Helper()
	st, err := w.store.Load()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, n := range []int{st.Current, st.Good, st.Previous} {
		g, err := w.store.Generation(n)
		if err != nil {
			w.t.Errorf("generation %d of %+v: %v", n, st, err)
		}
		for name, slot := range g.Modules {
			if _, err := os.Stat(filepath.Join(w.store.Dir, "modules", name, slot.Dir)); err != nil {
				w.t.Errorf("generation %d: %v", n, err)
			}
		}
	}
}

func (w *world) told() string {
	data, _ := os.ReadFile(w.dir + "/told")
	return string(data)
}

// second starts another supervisor of the same place.
func (w *world) second() (string, error) {
	c := exec.Command(os.Args[0], "supervise")
	c.Env = w.env
	out, err := c.CombinedOutput()
	return string(out), err
}
