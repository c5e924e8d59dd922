package supervisor_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/clock"
	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/internal/launch"
	"github.com/freshet/freshet/modules/supervisor"
	"github.com/freshet/freshet/rollback"
)

// The test's own program is every program in these tests: an agent that is good
// or bad in one way, which a file beside it names, and a supervisor.
func TestMain(m *testing.M) {
	switch {
	case supervisor.Above():
		agentMain()
	case len(os.Args) > 1 && os.Args[1] == "launch":
		dir := os.Getenv("TEST_DIR")
		launch.Exec(launch.Place{Dir: dir + "/state", Runtime: dir + "/run", Package: os.Getenv("TEST_PACKAGE")}, []string{"supervise"})
		os.Exit(1)
	case len(os.Args) > 2 && os.Args[1] == "module":
		moduleMain(os.Args[2])
		os.Exit(0)
	case len(os.Args) > 1 && os.Args[1] == "supervise":
		superviseMain()
	case len(os.Args) > 1 && os.Args[1] == "version":
		fmt.Printf("{\"command\":{\"version\":%q}}\n", os.Getenv("TEST_PACKAGE_VERSION"))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// how is in what way the program at hand is bad.
func how() string {
	own, _ := os.Executable()
	data, _ := os.ReadFile(filepath.Join(filepath.Dir(own), "how"))
	return strings.TrimSpace(string(data))
}

// slept is how long the machine slept, as a file of the test's says.
func slept(dir string) time.Duration {
	data, _ := os.ReadFile(dir + "/slept")
	d, _ := time.ParseDuration(string(data))
	return d
}

func superviseMain() {
	if how() == "its supervisor crashes" {
		fmt.Fprintln(os.Stderr, "panic: supervisor")
		os.Exit(3)
	}
	dir := os.Getenv("TEST_DIR")
	own, _ := os.Executable()
	s := &supervisor.Supervisor{
		Dir: dir + "/state", Runtime: dir + "/run", Socket: dir + "/run/agent.sock", Settings: dir + "/freshet.yaml",
		Program: own, Package: os.Getenv("TEST_PACKAGE"), Version: "test", Output: os.Stderr,
		Disk: accident(dir), Clock: &clock.Clock{Slept: func() time.Duration { return slept(dir) }},
	}
	if err := json.Unmarshal([]byte(os.Getenv("TEST_TIMES")), &s.Times); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if watchedBy(os.Environ()) {
		s.Watchdog = watchdog / 5
	}
	s.Notify = func(state string) {
		if state == "WATCHDOG=1" {
			os.WriteFile(dir+"/run/alive", nil, 0o644)
		}
		if state == "READY=1" || state == "STOPPING=1" {
			launch.Clear(s.Runtime)
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	go func() {
		for range hup {
			s.Poke()
		}
	}()
	if err := s.Run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "supervise:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// accident is a disk at whose n-th step, from when the file "armed" stands, what
// TEST_ACCIDENT says happens once: "kill supervisor 7".
func accident(dir string) *durable.Disk {
	f := strings.Fields(os.Getenv("TEST_ACCIDENT"))
	if len(f) != 3 {
		return &durable.Disk{Step: func(_, path string) error { // it is full while a file says so
			if _, err := os.Stat(dir + "/full"); err != nil || !strings.HasPrefix(path, dir+"/state") {
				return nil
			}
			return &os.PathError{Op: "write", Path: path, Err: syscall.ENOSPC}
		}}
	}
	at, _ := strconv.Atoi(f[2])
	n := 0
	return &durable.Disk{Step: func(string, string) error {
		if _, err := os.Stat(dir + "/armed"); err != nil {
			return nil
		}
		if n++; n != at {
			return nil
		}
		os.Remove(dir + "/armed")
		if err := os.WriteFile(dir+"/happened", nil, 0o644); err != nil {
			return err
		}
		sig := map[string]syscall.Signal{"kill": syscall.SIGKILL, "stop": syscall.SIGSTOP}[f[0]]
		if f[1] == "supervisor" {
			syscall.Kill(os.Getpid(), sig)
			select {} // a signal comes when it comes
		}
		for _, pid := range children(os.Getpid()) {
			syscall.Kill(pid, sig)
		}
		return nil
	}}
}

func children(pid int) []int {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	var all []int
	for _, file := range files {
		data, _ := os.ReadFile(file)
		for _, f := range strings.Fields(string(data)) {
			if n, err := strconv.Atoi(f); err == nil {
				all = append(all, n)
			}
		}
	}
	return all
}

var leaked [][]byte

// agentMain is an agent that serves nothing but its version.
func agentMain() {
	bad := how()
	fmt.Fprintf(os.Stderr, "agent begins, %q\n", bad)
	switch bad {
	case "exits at once":
		os.Exit(7)
	case "exits 0":
		os.Exit(0)
	case "is never ready":
		time.Sleep(time.Hour)
	case "forks and dies":
		c := exec.Command("sleep", "1000")
		c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		c.Env = append(os.Environ(), "TEST_LEFT=1")
		if err := c.Start(); err != nil {
			panic(err)
		}
		os.WriteFile(os.Getenv("TEST_DIR")+"/left", []byte(strconv.Itoa(c.Process.Pid)), 0o644)
		os.Exit(1)
	}
	broken := os.Getenv("TEST_DIR") + "/broken"
	if _, err := os.Stat(broken); err != nil && bad == "breaks the settings while it loads" {
		os.WriteFile(broken, nil, 0o644)
		awaitLooks(3)
	}
	p, err := supervisor.Attach()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	p.Health = func() []supervisor.Check {
		own, _ := os.Executable()
		note("asked", filepath.Base(filepath.Dir(own))+"\n")
		_, err := os.Stat(os.Getenv("TEST_DIR") + "/mirror-is-gone")
		_, whole := os.Stat(broken)
		return []supervisor.Check{
			{Name: "settings", OK: bad != "breaks its settings" && whole != nil, Text: "line 1: no valid YAML"},
			{Name: "network", Text: "it is down"},
			{Name: "mirror", OK: err != nil, Text: "it is gone"},
		}
	}
	p.Tell = func(e event.Event) { note("told", fmt.Sprintf("%s\t%s\t%s\n", e.Code, e.Text, e.Hint)) }
	go p.Serve()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := p.Ready(ctx, supervisor.Report{Version: "x", Support: "help@example.org"}); err != nil {
		os.Exit(0)
	}
	ended := make(chan struct{})
	go answer(p.Listener, bad, ended)
	if err := p.Serving(); err != nil {
		os.Exit(0)
	}
	live(ctx, p, bad)
	p.Listener.Close()
	<-ended
	os.Exit(0)
}

// burn uses more than its share of a machine that others use too.
func burn(d time.Duration) {
	const threads = 8
	runtime.GOMAXPROCS(threads)
	var all sync.WaitGroup
	for range threads {
		all.Go(func() {
			for end := time.Now().Add(d); time.Now().Before(end); {
			}
		})
	}
	all.Wait()
}

// note adds a line to a file that the test reads.
func note(name, line string) {
	f, err := os.OpenFile(os.Getenv("TEST_DIR")+"/"+name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return
	}
	defer f.Close()
	fmt.Fprint(f, line)
}

// awaitLooks waits until the agent that serves has been asked n times more.
func awaitLooks(n int) {
	asked := func() int {
		data, _ := os.ReadFile(os.Getenv("TEST_DIR") + "/asked")
		return strings.Count(string(data), "\n")
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for was, end := asked(), time.Now().Add(10*time.Second); asked() < was+n && time.Now().Before(end); <-tick.C {
	}
}

// live beats until it is told to end, or does what is bad.
func live(ctx context.Context, p *supervisor.Place, bad string) {
	tick := time.NewTicker(max(p.Every()/4, time.Millisecond))
	defer tick.Stop()
	for i := 0; ; i++ {
		switch {
		case bad == "hangs" && i > 2:
			<-ctx.Done()
			time.Sleep(time.Hour)
		case bad == "leaks memory":
			b := make([]byte, 50<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			leaked = append(leaked, b)
		case bad == "burns its processor":
			burn(p.Every() / 4)
		case bad == "dies later" && i > 3:
			os.Exit(9)
		}
		p.Beat()
		if os.Remove(os.Getenv("TEST_DIR")+"/update-bases") == nil {
			note("bases", fmt.Sprintln(updateBases(p, true)))
		}
		if os.Remove(os.Getenv("TEST_DIR")+"/forget-bases") == nil {
			note("bases", fmt.Sprintln(updateBases(p, false)))
		}
		select {
		case <-ctx.Done():
			return
		case <-p.Ended():
			return
		case <-tick.C:
		}
	}
}

// updateBases tries a base beside the trial that there is and confirms it, as the
// updater does, or forgets it.
func updateBases(p *supervisor.Place, confirm bool) error {
	store := rollback.Store{Dir: os.Getenv("TEST_DIR") + "/state"}
	var failed error
	make := func(st rollback.State, from int) (rollback.State, int) {
		g, err := store.Generation(from)
		if err == nil {
			st, g, err = store.Make(st, g.With(map[string]rollback.Ref{"list": {Version: 2, Dir: "2"}}))
		}
		failed = errors.Join(failed, err)
		return st, g.Number
	}
	was, err := store.Load()
	if err != nil {
		return err
	}
	is, tried := make(was, was.Current)
	is, err = is.SwitchBases(tried)
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	if err := p.Switch(was, is); err != nil || !confirm {
		return err
	}
	next := is
	var good, trial = tried, tried
	if is.Over == is.Good {
		next, trial = make(next, is.Trial)
	} else {
		next, good = make(next, is.Good)
	}
	next, err = next.ConfirmBases(good, trial)
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	return p.Switch(is, next)
}

// answer serves until ln is closed and all that it took is answered.
func answer(ln net.Listener, bad string, ended chan<- struct{}) {
	own, _ := os.Executable()
	var all sync.WaitGroup
	defer close(ended)
	defer all.Wait()
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		all.Add(1)
		go func() {
			defer all.Done()
			defer conn.Close()
			in := bufio.NewReader(conn)
			if _, err := in.ReadString('\n'); err != nil {
				return
			}
			if bad == "does not answer" {
				time.Sleep(time.Hour)
			}
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"+own+"\n")
		}()
	}
}
