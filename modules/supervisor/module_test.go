package supervisor_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/freshet/freshet/modules/supervisor"
	"github.com/freshet/freshet/rollback"
)

// moduleMain is a module's program: it serves at a fixed address, which no two
// of them can have at a time, and is bad in the way that a file beside it names.
func moduleMain(address string) {
	own, _ := os.Executable()
	version, bad := filepath.Base(filepath.Dir(own)), how()
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	note("begun", version+"\n")
	switch bad {
	case "exits at once":
		os.Exit(7)
	case "dies later":
		time.AfterFunc(100*time.Millisecond, func() { os.Exit(9) })
	case "loads for long":
		awaitLooks(6)
	case "never listens":
		select {}
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(4)
	}
	go http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch bad {
		case "is not well":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "does not answer":
			<-r.Context().Done()
		}
		fmt.Fprint(w, version)
	}))
	for range term {
		if bad != "does not end" {
			os.Exit(0)
		}
	}
}

// scan puts a version of a module in place that serves at an address.
func (w *world) scan(version, how, address string, endpoint bool) rollback.Slot {
	w.t.Helper()
	dir := filepath.Join(w.store.Dir, "modules/scan", version)
	w.write(dir+"/how", how)
	own, err := os.Executable()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := os.Link(own, dir+"/scan"); err != nil {
		w.t.Fatal(err)
	}
	slot := rollback.Slot{Version: version, Dir: version, Image: "x", Start: []string{"scan", "module", address}}
	if endpoint {
		slot.Endpoint = "http://" + address + "/health"
	}
	return slot
}

// answersAt is the version that answers at an address, "" if none does.
func answersAt(address string) string {
	c := http.Client{Timeout: time.Second}
	res, err := c.Get("http://" + address + "/health")
	if err != nil {
		return ""
	}
	defer res.Body.Close()
	text := make([]byte, 64)
	n, _ := res.Body.Read(text)
	return string(text[:n])
}

func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// isGood says whether a version of the module is good, and nothing on trial.
func (w *world) isGood(module, version string) bool {
	st, err := w.store.Load()
	if err != nil || st.Current != st.Good || st.Trial != 0 {
		return false
	}
	g, err := w.store.Generation(st.Good)
	return err == nil && g.Modules[module].Version == version
}

// Modules that serve at a fixed address cannot stand beside each other: the old
// one ends first, and the gap is told.
func TestAModuleThatServesAtAFixedAddress(t *testing.T) {
	for _, row := range []struct {
		name     string
		endpoint bool   // the module names it, so it is asked
		old, how string // in which way versions 1.0.0 and 2.0.0 are bad
		check    string // that takes 2.0.0 back; "": it is confirmed
	}{
		{"with an endpoint that answers, it is confirmed", true, "", "", ""},
		{"without an endpoint, it is confirmed", false, "", "", ""},
		{"the old one does not end when it is told to, and is killed", true, "does not end", "", ""},
		{"an endpoint that answers 503 takes it back", true, "", "is not well", "endpoint of scan"},
		{"an endpoint that does not answer takes it back", true, "", "does not answer", "endpoint of scan"},
		{"an endpoint that loads for longer than three observations is confirmed", true, "", "loads for long", ""},
		{"an endpoint that never listens takes it back", true, "", "never listens", "endpoint of scan"},
		{"nobody asks where no endpoint is named", false, "", "is not well", ""},
		{"one that cannot have its port ends, and is taken back", true, "", "has another's port", "stable"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			times := quick
			times.Stop, times.Look = time.Second, 300*time.Millisecond // three of them let a program start on a busy machine
			if row.how == "never listens" {
				times.Ready = 3 * time.Second
			}
			w := newWorld(t, times)
			w.install()
			address := freeAddress(t)
			w.changeModule("scan", w.scan("1.0.0", row.old, address, row.endpoint), true)
			w.until("1.0.0 answers", func() bool { return answersAt(address) == "1.0.0" })
			to := address
			if row.how == "has another's port" {
				ln, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				defer ln.Close()
				to = ln.Addr().String()
			}
			w.changeModule("scan", w.scan("2.0.0", row.how, to, row.endpoint), false)
			if row.check == "" {
				w.until("2.0.0 is confirmed", func() bool { return w.isGood("scan", "2.0.0") && answersAt(address) == "2.0.0" })
				w.until("the gap is told", func() bool {
					return regexp.MustCompile(`ModuleSwitched\tmodule scan went from 1\.0\.0 to 2\.0\.0; it was away for [0-9.]+m?s`).MatchString(w.told())
				})
			} else {
				w.until("2.0.0 is taken back", func() bool { return w.isGood("scan", "1.0.0") && answersAt(address) == "1.0.0" })
				if why := w.heldModule("scan", "2.0.0"); !strings.HasPrefix(why, row.check+": ") {
					t.Errorf("it was held back for %q, not by the check %s", why, row.check)
				}
			}
			for line := range strings.Lines(w.told()) {
				t.Log(strings.TrimSpace(line))
			}
			w.check()
		})
	}
}

// An engine that is installed for the first time runs on, whatever comes within
// its trial: a newer release that crashes, or one of another module.
func TestWhatIsHealthyOnTrialOutlivesWhatFailsBesideIt(t *testing.T) {
	for _, module := range []string{"scan", "agent"} {
		t.Run(module+" fails", func(t *testing.T) {
			t.Parallel()
			times := quick
			times.Soak, times.Look = 2*time.Second, 250*time.Millisecond // it listens within three looks
			w := newWorld(t, times)
			w.install()
			address := freeAddress(t)
			w.changeModule("scan", w.scan("1.1.0", "", address, true), false)
			w.until("scan answers", func() bool { return answersAt(address) == "1.1.0" })
			if module == "scan" {
				w.changeModule("scan", w.scan("1.2.0", "", "no address", false), false)
			} else {
				w.change(w.slot("1.2.0", "exits at once"), false)
			}
			w.until("1.2.0 is rolled back", func() bool { return w.heldModule(module, "1.2.0") != "" })
			w.until("scan 1.1.0 is confirmed", func() bool { return w.isGood("scan", "1.1.0") && answersAt(address) == "1.1.0" })
			if !w.runs("1.0.0") || w.heldModule("scan", "1.1.0") != "" {
				t.Errorf("agent 1.0.0 runs: %v; scan 1.1.0 is held by %q", w.runs("1.0.0"), w.heldModule("scan", "1.1.0"))
			}
			w.check()
		})
	}
}

// When the good version does not keep running either, other modules go on, it is
// started again at intervals, and that is told once.
func TestWhereTheGoodVersionFailsTooWhatProtectsGoesOn(t *testing.T) {
	w := newWorld(t, quick)
	w.install()
	address := freeAddress(t)
	w.changeModule("scan", w.scan("1.0.0", "", address, true), true)
	w.until("scan answers", func() bool { return answersAt(address) == "1.0.0" })
	first := w.process()
	scan := w.running("scan")
	w.write(filepath.Join(w.store.Dir, "modules/agent/1.0.0/how"), "exits at once")
	if err := syscall.Kill(w.running("agent"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	w.until("it was started in vain five times", func() bool { return strings.Count(w.output(), `agent begins, "exits at once"`) >= 5 })
	if n := strings.Count(w.output(), "AgentFailing: "); n != 1 {
		t.Errorf("it was told %d times", n)
	}
	if w.process() != first || w.running("scan") != scan || answersAt(address) != "1.0.0" {
		t.Error("the supervisor or the module was started anew")
	}
	st, ok := supervisor.ReadStatus(w.dir + "/run")
	if !ok || !strings.Contains(st.Failing, "exit status 7") {
		t.Errorf("the status does not say it: %+v", st)
	}
	w.write(filepath.Join(w.store.Dir, "modules/agent/1.0.0/how"), "")
	w.until("the agent is back", func() bool { return w.runs("1.0.0") })
	w.until("the operator can read of it", func() bool { return strings.Contains(w.told(), "AgentFailing\tthe agent 1.0.0 does not keep running") })
	w.check()
}

// A health command that leaves a child, which holds its output open and is in a
// group of its own, neither stops the trial nor leaves that child.
func TestAHealthCommandsChildThatHoldsItsOutputIsEnded(t *testing.T) {
	times := quick
	times.Look = 2 * time.Second // an observation may take twice that; output is waited for for a second
	w := newWorld(t, times)
	w.install()
	slot := w.scan("1.0.0", "", freeAddress(t), false)
	left := filepath.Join(w.dir, "left")
	slot.Health = []string{"/bin/sh", "-c", "setsid sh -c 'echo $$ >" + left + "; exec sleep 1000' & while ! [ -s " + left + " ]; do :; done"}
	w.changeModule("scan", slot, false)
	w.until("it is confirmed", func() bool { return w.isGood("scan", "1.0.0") })
	w.leftNothing()
	w.stop()
	if data, err := os.ReadFile(left); err == nil { // of an observation that the stop cut short
		if pid, err := strconv.Atoi(strings.TrimSpace(string(data))); err == nil {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// A module that ends by itself is started again: at once where it worked until
// then, however often that was, and after ever longer pauses where it did not. A
// new version of it does not wait for what the old one did.
func TestAModuleThatEndsByItself(t *testing.T) {
	for _, row := range []struct {
		how   string
		pause time.Duration
		ends  int
	}{
		{"dies later", 20 * time.Millisecond, 12}, // 82 s of pauses, if they added up
		{"exits at once", time.Hour, 1},
	} {
		t.Run(row.how, func(t *testing.T) {
			t.Parallel()
			times := quick
			times.Gate, times.Pause, times.Rest = 50*time.Millisecond, row.pause, time.Hour
			w := newWorld(t, times)
			w.install()
			address := freeAddress(t)
			w.changeModule("scan", w.scan("1.0.0", row.how, address, false), true)
			w.until("it was started that often", func() bool {
				data, _ := os.ReadFile(w.dir + "/begun")
				return strings.Count(string(data), "1.0.0\n") >= row.ends
			})
			w.changeModule("scan", w.scan("2.0.0", "", address, false), true)
			w.until("2.0.0 runs", func() bool { return answersAt(address) == "2.0.0" })
			w.check()
		})
	}
}

// running is the process of a module, as the supervisor says.
func (w *world) running(module string) int {
	w.t.Helper()
	pid := 0
	w.until(module+" runs", func() bool {
		st, _ := supervisor.ReadStatus(w.dir + "/run")
		for _, m := range st.Modules {
			if m.Name == module && m.State == "runs" {
				pid = m.PID
			}
		}
		return pid > 0
	})
	return pid
}
