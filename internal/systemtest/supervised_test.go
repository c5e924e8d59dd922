//go:build system

package systemtest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/freshet/freshet/rollback"
)

// scanText is the program of a version of the module scan, which does nothing.
func scanText(version string) string {
	return "#!/bin/sh\n# " + version + "\n[ \"$1\" = --well ] && exit 0\nexec sleep 86400\n"
}

// scan publishes a version of the module scan.
func (p *publisher) scan(version string) {
	p.t.Helper()
	dir := filepath.Join(p.dir, "scan-"+version)
	write(p.t, dir+"/scan", scanText(version))
	if err := os.Chmod(dir+"/scan", 0o755); err != nil {
		p.t.Fatal(err)
	}
	write(p.t, dir+"/module.yaml", fmt.Sprintf("name: scan\nversion: %s\nplatform: linux/%s\nprograms: [scan]\nstart: [scan]\nhealth: [scan, --well]\n",
		version, strings.TrimSpace(sh(p.t, "go", "env", "GOHOSTARCH"))))
	p.run("module", p.repo(), dir)
}

// supervise starts the service's program, which judges within seconds, and waits
// until an agent answers. stopAt is FRESHET_STOP_AT of the tagged build, or "".
func (e *endpoint) supervise(stopAt string) *daemon {
	e.t.Helper()
	flags := []string{"supervise", "--gate", "500ms", "--soak", "500ms", "--resume", "200ms", "--pause", "200ms"}
	if stopAt != "" { // short, of a machine that may do much else
		flags = append(flags, "--look", "1s", "--beat", "8s")
	}
	c := e.command(flags...)
	c.Env = append(os.Environ(), "FRESHET_STOP_AT="+stopAt)
	d := start(e.t, c)
	e.t.Cleanup(func() { killAll(c.Process.Pid) })
	poll(e.t, time.Minute, "an agent answers", func() bool {
		if d.hasEnded() {
			e.t.Fatalf("the service has ended: %v\n%s", d.err, d.output.String())
		}
		return e.answers()
	})
	return d
}

// killAll kills -9 a process and all that it started, as far as that is known.
func killAll(pid int) {
	_ = unix.Kill(pid, unix.SIGSTOP) // it starts nothing meanwhile
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, file := range files {
		data, _ := os.ReadFile(file)
		for _, f := range strings.Fields(string(data)) {
			if child, err := strconv.Atoi(f); err == nil {
				killAll(child)
			}
		}
	}
	_ = unix.Kill(pid, unix.SIGKILL)
}

// runsScan says whether a version of scan is good, and nothing on trial.
func (e *endpoint) runsScan(version string) bool {
	store := rollback.Store{Dir: e.path("state")}
	st, err := store.Load()
	if err != nil || st.Current != st.Good || st.Trial != 0 {
		return false
	}
	g, err := store.Generation(st.Good)
	return err == nil && g.Modules["scan"].Version == version
}

// checkScan asserts that the slots of all generations that count are whole, and
// gives the version that is good.
func (e *endpoint) checkScan() string {
	e.t.Helper()
	st := e.check()
	store, good := rollback.Store{Dir: e.path("state")}, ""
	for _, n := range []int{st.Current, st.Previous, st.Good} {
		g, err := store.Generation(n)
		if err != nil {
			e.t.Fatal(err)
		}
		if slot, ok := g.Modules["scan"]; ok {
			data, err := os.ReadFile(e.path("state/modules/scan/" + slot.Dir + "/scan"))
			if err != nil || string(data) != scanText(slot.Version) {
				e.t.Fatalf("generation %d of %+v: scan %s is %q, %v", n, st, slot.Version, data, err)
			}
			good = slot.Version
		}
	}
	return good
}

// updatesScan has an agent update until a version of scan is good. It says
// whether that was held back before.
func (e *endpoint) updatesScan(version string) (held bool) {
	e.t.Helper()
	defer func() {
		if e.t.Failed() {
			st, err := rollback.Store{Dir: e.path("state")}.Load()
			e.t.Logf("%+v, %v", st, err)
		}
	}()
	poll(e.t, time.Minute, "scan "+version+" is good", func() bool {
		if e.runsScan(version) {
			return true
		}
		st, err := rollback.Store{Dir: e.path("state")}.Load()
		if _, is := st.HeldModule("scan", version); err == nil && is {
			held = true
			_ = e.command("modules", "release", "scan").Run() // an agent that is about to be replaced does not answer
		}
		if err == nil && st.Trial == 0 {
			_ = e.command("update").Run()
		}
		return false
	})
	return held
}

// withScan is an endpoint on which the first version of scan is good, and its
// service is stopped.
func withScan(t *testing.T, p *publisher, e *endpoint) {
	t.Helper()
	d := e.supervise("")
	poll(t, time.Minute, "scan is on trial", func() bool { return e.command("modules", "install", "scan").Run() == nil })
	if e.updatesScan("1.0.0") {
		t.Fatalf("scan was held back\n%s", d.output.String())
	}
	d.stop()
	e.checkScan()
}

// TestModuleUpdateWithAnAgentThatHangsAtAnyStep has the agent hang, as SIGSTOP
// does, at steps on the disk of an update of a module, from its beginning to its
// confirmation. The supervisor resolves that by itself, and the next update
// succeeds. Every eighth step, each with FRESHET_SOAK.
func TestModuleUpdateWithAnAgentThatHangsAtAnyStep(t *testing.T) {
	stride := 8
	if os.Getenv("FRESHET_SOAK") != "" {
		stride = 1
	}
	p := newPublisher(t, tagged)
	p.scan("1.0.0")
	first := newEndpoint(t, p, p.repo())
	withScan(t, p, first)
	p.scan("1.1.0")
	e := &endpoint{t, tagged, folder(t)}
	cases, held, slowest := 0, 0, time.Duration(0)
	for step, over := 1, false; !over; step += stride {
		first.copyTo(e)
		armed := e.path("armed")
		d := e.supervise(fmt.Sprintf("agent %d %s", step, armed))
		write(t, armed, "")
		update := start(t, e.command("update"))
		var began time.Time
		poll(t, time.Minute, "the agent hangs, or all is done", func() bool {
			_, err := os.Stat(armed)
			began, over = time.Now(), err == nil
			return err != nil || update.hasEnded() && e.runsScan("1.1.0")
		})
		if over {
			d.stop()
			break
		}
		poll(t, time.Minute, "another agent answers", func() bool {
			return strings.Contains(d.output.String(), "it hangs: no sign of its main loop") && e.answers()
		})
		slowest = max(slowest, time.Since(began))
		if e.checkScan(); e.updatesScan("1.1.0") {
			held++
		}
		d.stop()
		e.checkScan()
		cases++
	}
	t.Logf("%d cases, %d held scan back; another agent answered %s after the hang at the latest", cases, held, slowest.Round(100*time.Millisecond))
	if cases < 5 {
		t.Errorf("only %d cases were seen", cases)
	}
}
