package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/rollback"
)

var builds struct {
	mu   sync.Mutex // guards done, and has tests wait for the one that builds
	done map[string]bool
}

// buildAs gives freshet as a release of a version would be, with tags or "". It
// is built once.
func buildAs(t *testing.T, version, tags string) string {
	t.Helper()
	to := filepath.Join(built, "as-"+version+"-"+tags, "freshet")
	builds.mu.Lock()
	defer builds.mu.Unlock()
	if !builds.done[to] {
		build(version, tags, to, ".")
		if builds.done == nil {
			builds.done = map[string]bool{}
		}
		builds.done[to] = true
	}
	return to
}

// host is an endpoint on which a package brought a program, and a service
// manager that starts its supervisor again when that ends badly.
type host struct {
	t     *testing.T
	dir   string
	file  string // of the settings
	prog  string // the package's program
	clock string // file that moves a test build's clock; "": none does
	store rollback.Store

	mu   sync.Mutex // guards what follows
	pid  int
	out  bytes.Buffer
	done bool
	wg   sync.WaitGroup
}

func newHost(t *testing.T, program, settings string) *host {
	t.Helper()
	dir, err := os.MkdirTemp("", "fsh") // t.TempDir's is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	h := &host{t: t, dir: dir, file: dir + "/etc/freshet.yaml", prog: dir + "/usr/freshet", store: rollback.Store{Dir: dir + "/state"}}
	h.put(program, h.prog)
	h.write(h.file, settings)
	t.Cleanup(h.stop)
	return h
}

func (h *host) write(path, text string) {
	h.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
		h.t.Fatal(err)
	}
}

// put puts a program in place as package managers do, by a rename.
func (h *host) put(from, to string) {
	h.t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		h.t.Fatal(err)
	}
	// A process that another test starts meanwhile would hold it open for writing
	// for a moment, and what is open for writing cannot be started.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	h.write(to+".new", string(data))
	if err := os.Chmod(to+".new", 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.Rename(to+".new", to); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) environ() []string {
	return append(os.Environ(), "FRESHET_CONFIG="+h.file, "FRESHET_STATE_DIR="+h.store.Dir, "FRESHET_SOCKET="+h.dir+"/run/agent.sock", "FRESHET_TEST_CLOCK="+h.clock)
}

// start is the service manager.
func (h *host) start(flags ...string) {
	h.mu.Lock()
	h.done = false
	h.mu.Unlock()
	args := append([]string{"supervise", "--look", "100ms", "--beat", "30s", "--resume", "200ms", "--pause", "100ms"}, flags...)
	h.wg.Go(func() {
		for again := true; again; {
			again = h.once(args)
		}
	})
}

func (h *host) once(args []string) bool {
	c := exec.Command(h.prog, args...)
	c.Env, c.Stdout, c.Stderr, c.WaitDelay = h.environ(), h, h, 20*time.Second
	h.mu.Lock()
	if h.done {
		h.mu.Unlock()
		return false
	}
	if err := c.Start(); err != nil {
		fmt.Fprintf(&h.out, "starting %s: %v\n", h.prog, err)
		h.mu.Unlock()
		return false
	}
	h.pid = c.Process.Pid
	h.mu.Unlock()
	_ = c.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pid = 0
	return !h.done
}

func (h *host) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.out.Write(p)
}

func (h *host) output() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.out.String()
}

func (h *host) signal(sig syscall.Signal) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pid > 0 {
		_ = syscall.Kill(h.pid, sig)
	}
}

// stop ends the service in order.
func (h *host) stop() {
	h.mu.Lock()
	h.done = true
	h.mu.Unlock()
	h.signal(syscall.SIGTERM)
	h.wg.Wait()
}

// try puts a program on trial as a version of the agent, as an update does.
func (h *host) try(version, program string) {
	h.t.Helper()
	h.put(program, filepath.Join(h.store.Dir, "modules/agent", version, "freshet"))
	slot := rollback.Slot{Version: version, Dir: version, Image: "x", Start: []string{"freshet"}}
	h.until(version+" is put on trial", func() bool {
		was, err := h.store.Load()
		if err != nil {
			return false
		}
		good, err := h.store.Generation(was.Good)
		if err != nil {
			return false
		}
		is, g, err := h.store.Make(was, good.WithModules(map[string]rollback.Slot{"agent": slot}))
		if err != nil {
			return false
		}
		if is, err = is.Switch(g.Number); err != nil {
			h.t.Fatal(err)
		}
		return h.store.Switch(was, is) == nil
	})
	h.signal(syscall.SIGHUP)
}

func (h *host) until(what string, ok func() bool) {
	h.t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			st, _ := h.store.Load()
			h.t.Fatalf("it never came that %s; state %+v\n%s", what, st, h.output())
		}
		<-tick.C
	}
}

// run runs a command of a program.
func (h *host) run(program string, args ...string) (string, error) {
	c := exec.Command(program, args...)
	c.Env = h.environ()
	out, err := c.CombinedOutput()
	return string(out), err
}

func (h *host) must(program string, args ...string) string {
	h.t.Helper()
	out, err := h.run(program, args...)
	if err != nil {
		h.t.Fatalf("freshet %s: %v\n%s\n%s", strings.Join(args, " "), err, out, h.output())
	}
	return out
}

// status asks the agent that runs; nil: none answers.
func (h *host) status() *api.Status {
	out, err := h.run(h.prog, "status", "--json")
	var st api.Status
	if err != nil || json.Unmarshal([]byte(out), &st) != nil || !st.Agent || st.Supervisor == nil {
		return nil
	}
	return &st
}

// serves says whether the agent that answers is of this version, on trial or not.
func (h *host) serves(version string, onTrial bool) func() bool {
	return func() bool {
		st := h.status()
		return st != nil && st.Version == version && (st.Supervisor.Trial != nil) == onTrial
	}
}

func (h *host) reads(path string) string {
	h.t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		h.t.Fatal(err)
	}
	return string(data)
}
