package supervisor_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/freshet/freshet/modules/supervisor"
)

// TestAnAccidentAtAnyStepOfAnUpdate has something happen at each step that the
// supervisor writes to the disk while it tries, judges and confirms a version,
// and expects that a whole version runs then, and that the next update succeeds.
// A supervisor that hangs is ended by the service manager's watchdog, which takes
// seconds: a soak has it hang at every step.
func TestAnAccidentAtAnyStepOfAnUpdate(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts some hundred processes")
	}
	for _, what := range []string{"kill supervisor", "kill agents", "stop agents", "stop supervisor"} {
		stride := 1
		if what == "stop supervisor" && os.Getenv("FRESHET_SOAK") == "" {
			stride = 4
		}
		for step := 1; step <= 24; step += stride {
			t.Run(fmt.Sprintf("%s at step %d", what, step), func(t *testing.T) {
				t.Parallel()
				accidentAt(t, what, step)
			})
		}
	}
}

func accidentAt(t *testing.T, what string, step int) {
	times := quick
	times.Beat, times.Stop = 3*times.Soak*10, 3*times.Soak*5
	w := newWorld(t, times, fmt.Sprintf("TEST_ACCIDENT=%s %d", what, step))
	w.install()
	w.write(w.dir+"/armed", "")
	w.change(w.slot("2.0.0", ""), false)
	w.until("it is decided", func() bool {
		return w.runs("2.0.0") || w.held("2.0.0") != "" && w.runs("1.0.0")
	})
	w.check()
	if _, err := os.Stat(w.dir + "/happened"); err != nil {
		t.Logf("the update has fewer than %d steps", step)
	}
	if strings.HasSuffix(what, " supervisor") && w.held("2.0.0") != "" {
		t.Errorf("one bad end was held against it: %s", w.held("2.0.0"))
	}
	os.Remove(w.dir + "/armed")
	w.change(w.slot("3.0.0", ""), false)
	w.until("the next update is confirmed", func() bool { return w.runs("3.0.0") })
	w.check()
}

func TestWhatIsNoRegressionDoesNotRollBack(t *testing.T) {
	slow := quick
	slow.Soak = waitFor // the trial is under way when it is broken off
	for _, row := range []struct {
		name string
		do   func(w *world)
	}{
		{"a power cut and a day off, as a boot does", func(w *world) { w.cut() }},
		{"an orderly stop", func(w *world) { w.stop() }},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, slow)
			w.install()
			w.change(w.slot("2.0.0", ""), false)
			w.until("it is on trial", func() bool { p, err := w.ask(); return err == nil && p == w.store.Dir+"/modules/agent/2.0.0/freshet" })
			row.do(w)
			w.start()
			w.until("the good version runs first", func() bool {
				p, err := w.ask()
				return err == nil && p == w.store.Dir+"/modules/agent/1.0.0/freshet"
			})
			w.until("the trial is taken up again", func() bool {
				p, err := w.ask()
				return err == nil && p == w.store.Dir+"/modules/agent/2.0.0/freshet"
			})
			st, err := w.store.Load()
			if err != nil || st.BadEnds != 0 || len(st.Quarantine) != 0 {
				t.Errorf("%+v, %v", st, err)
			}
		})
	}
}

// Bases are updated while a trial waits, as in the first minute after a boot, and
// while it runs: neither costs the other anything.
func TestABaseUpdateBesideATrialIsConfirmedAndTheTrialGoesOn(t *testing.T) {
	for _, waits := range []bool{true, false} {
		t.Run(fmt.Sprintf("that waits %v", waits), func(t *testing.T) {
			t.Parallel()
			times := quick
			times.Soak, times.Resume = waitFor, 2*time.Second
			w := newWorld(t, times)
			w.install()
			on := func(version string) func() bool {
				return func() bool {
					p, err := w.ask()
					return err == nil && p == w.store.Dir+"/modules/agent/"+version+"/freshet"
				}
			}
			w.change(w.slot("2.0.0", ""), false)
			w.until("it is on trial", on("2.0.0"))
			if waits {
				w.cut()
				w.write(w.dir+"/update-bases", "")
				w.start()
			} else {
				w.write(w.dir+"/update-bases", "")
			}
			w.until("the bases are confirmed", func() bool {
				data, _ := os.ReadFile(w.dir + "/bases")
				return len(data) > 0
			})
			if data, err := os.ReadFile(w.dir + "/bases"); err != nil || string(data) != "<nil>\n" {
				t.Errorf("confirming bases: %s, %v", data, err)
			}
			w.until("the trial goes on", on("2.0.0"))
			st, err := w.store.Load()
			if err != nil || st.BadEnds != 0 || st.Layer != 0 || len(st.Quarantine) != 0 {
				t.Errorf("%+v, %v", st, err)
			}
			for _, n := range []int{st.Good, st.Trial} {
				if g, err := w.store.Generation(n); err != nil || g.Bases["list"].Version != 2 {
					t.Errorf("generation %d: %+v, %v", n, g, err)
				}
			}
		})
	}
}

// Bases that their agent put on trial and forgot keep neither a trial that runs
// from being confirmed nor one that waits from being taken up.
func TestATrialOfBasesThatNobodyWatchesIsBrokenOff(t *testing.T) {
	for _, waits := range []bool{true, false} {
		t.Run(fmt.Sprintf("beside a trial that waits %v", waits), func(t *testing.T) {
			t.Parallel()
			times := quick
			times.Resume, times.Soak = 2*time.Second, waitFor/10
			w := newWorld(t, times)
			w.install()
			w.change(w.slot("2.0.0", ""), false)
			w.until("it is on trial", func() bool { p, err := w.ask(); return err == nil && p == w.store.Dir+"/modules/agent/2.0.0/freshet" })
			if waits {
				w.cut()
			}
			w.write(w.dir+"/forget-bases", "")
			if waits {
				w.start()
			}
			w.until("bases are on trial", func() bool { st, err := w.store.Load(); return err == nil && st.Layer != 0 })
			w.until("they are broken off", func() bool { return strings.Contains(w.output(), "that is broken off") })
			w.until("the trial is confirmed", func() bool { return w.runs("2.0.0") })
			st, err := w.store.Load()
			if err != nil {
				t.Fatal(err)
			}
			if g, err := w.store.Generation(st.Good); err != nil || len(g.Bases) > 0 || len(st.Quarantine) > 0 {
				t.Errorf("%+v, %+v, %v", st, g, err)
			}
			w.check()
		})
	}
}

// A check that began to fail after the last look, when nothing was on trial and
// looks are rare, failed before the switch all the same.
func TestWhatFailedShortlyBeforeTheTrialIsNoRegression(t *testing.T) {
	for _, module := range []string{"agent", "scan"} {
		t.Run("of "+module, func(t *testing.T) {
			t.Parallel()
			slow := quick
			slow.Soak = waitFor
			w := newWorld(t, slow)
			w.install()
			asked := func(version string) int {
				data, _ := os.ReadFile(w.dir + "/asked")
				return strings.Count(string(data), version+"\n")
			}
			w.until("it was looked at twice", func() bool { return asked("1.0.0") >= 2 })
			w.write(w.dir+"/mirror-is-gone", "")
			tried, runs := w.slot("2.0.0", ""), "2.0.0"
			if module == "scan" {
				tried, runs = w.scan("2.0.0", "", freeAddress(t), false), "1.0.0"
			}
			before := asked(runs)
			w.changeModule(module, tried, false)
			// Three failures in a row would take it back.
			w.until("it is looked at eight times", func() bool { return asked(runs) >= before+8 })
			st, err := w.store.Load()
			if err != nil || st.Current != st.Trial || len(st.Quarantine) > 0 {
				t.Errorf("%+v, %v", st, err)
			}
		})
	}
}

func TestANewerVersionThatFailsLeadsToTheOneWhosePlaceItTook(t *testing.T) {
	slow := quick
	slow.Soak = waitFor
	w := newWorld(t, slow)
	w.install()
	on := func(version string) func() bool {
		return func() bool {
			p, err := w.ask()
			return err == nil && p == w.store.Dir+"/modules/agent/"+version+"/freshet"
		}
	}
	w.change(w.slot("2.0.0", ""), false)
	w.until("2.0.0 is on trial", on("2.0.0"))
	w.change(w.slot("3.0.0", "exits at once"), false)
	w.until("3.0.0 is rolled back, and 2.0.0 is on trial again", func() bool {
		st, err := w.store.Load()
		return err == nil && w.held("3.0.0") != "" && st.Current == st.Trial && on("2.0.0")()
	})
	st, err := w.store.Load()
	if err != nil || w.held("2.0.0") != "" || st.Current == st.Good || st.Good != 1 {
		t.Errorf("2.0.0, which did nothing wrong and was not judged yet: %q, %+v, %v", w.held("2.0.0"), st, err)
	}
}

func TestASecondSupervisorDoesNotBegin(t *testing.T) {
	w := newWorld(t, quick)
	w.install()
	first := w.process()
	w.t.Log("first", first)
	out, err := w.second()
	if err == nil {
		t.Errorf("a second one ended well: %s", out)
	}
	if w.process() != first || !w.runs("1.0.0") {
		t.Error("the first one does not run any more")
	}
}

// kept reads what a supervisor hands to the agent that serves after a trial.
func (w *world) kept() (supervisor.KeptSettings, bool) {
	k, ok, err := supervisor.SettingsAfterTrial(nil, w.store.Dir, "1.0.0")
	if err != nil {
		w.t.Error(err)
	}
	return k, ok
}

// edits asserts that the file is as the operator left it.
func (w *world) edits(file, text string, mode os.FileMode) {
	w.t.Helper()
	data, err := os.ReadFile(file)
	st, err2 := os.Stat(file)
	if err != nil || err2 != nil || string(data) != text || st.Mode().Perm() != mode {
		w.t.Errorf("the settings are %q, %v, %v", data, st.Mode(), err)
	}
	if left, _ := filepath.Glob(file + ".*"); len(left) > 0 {
		w.t.Errorf("beside them lies %q", left)
	}
}

func TestWhatAnOperatorEditsInATrialOfTheAgentIsLeftToTheVersionThatComesBack(t *testing.T) {
	times := quick
	times.Soak = waitFor
	w := newWorld(t, times)
	file := w.dir + "/freshet.yaml"
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	w.install()
	slot := w.slot("2.0.0", "dies later")
	w.change(slot, false)
	w.until("it is on trial", func() bool { p, err := w.ask(); return err == nil && p == w.store.Dir+"/modules/agent/2.0.0/freshet" })
	w.write(file, "version: 2\nnew: true\n")
	w.until("it is rolled back", func() bool { return w.held("2.0.0") != "" && w.runs("1.0.0") })
	w.edits(file, "version: 2\nnew: true\n", 0o640)
	if k, ok := w.kept(); !ok || k.For != "agent 2.0.0" || string(k.Data) != "version: 1\n" || k.Mode != 0o640 {
		t.Errorf("kept is %+v, %v", k, ok)
	}
	for _, tried := range []string{"2.0.0", "v2.0.0"} { // as its slot and as its program says
		if _, ok, _ := supervisor.SettingsAfterTrial(nil, w.store.Dir, tried); ok {
			t.Errorf("what was tried would settle it itself, as %s", tried)
		}
	}

	// The same version once more: what is kept is of this trial, not of the first.
	w.until("it is allowed again", func() bool {
		was, err := w.store.Load()
		if err != nil {
			return false
		}
		is, _ := was.ReleaseModule("agent")
		return w.store.Switch(was, is) == nil
	})
	w.change(slot, false)
	w.until("it is rolled back again", func() bool { return w.held("2.0.0") != "" && w.runs("1.0.0") })
	if k, ok := w.kept(); !ok || string(k.Data) != "version: 2\nnew: true\n" {
		t.Errorf("kept is %+v, %v", k, ok)
	}
}

func TestATrialThatAPersonBreaksOffTakesNoEditAlong(t *testing.T) {
	for _, row := range []struct {
		name    string
		stopped bool
	}{{"while the service runs", false}, {"while it is stopped", true}} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			times := quick
			times.Soak = waitFor
			w := newWorld(t, times)
			file := w.dir + "/freshet.yaml"
			w.install()
			w.change(w.slot("2.0.0", ""), false)
			w.until("it is on trial", func() bool { p, err := w.ask(); return err == nil && p == w.store.Dir+"/modules/agent/2.0.0/freshet" })
			w.write(file, "new: 2\n")
			w.change(w.slot("3.0.0", ""), false)
			w.until("another takes its place", func() bool { p, err := w.ask(); return err == nil && p == w.store.Dir+"/modules/agent/3.0.0/freshet" })
			w.write(file, "new: 3\n")
			if row.stopped {
				w.stop()
			}
			w.until("the trial is broken off", func() bool {
				was, err := w.store.Load()
				return err == nil && w.store.Switch(was, was.Revert()) == nil
			})
			if row.stopped {
				w.start()
			} else if pid := w.process(); pid > 0 {
				_ = syscall.Kill(pid, syscall.SIGHUP)
			}
			w.until("the good one runs", func() bool { return w.runs("1.0.0") })
			w.until("the matter is handed to it", func() bool { _, ok := w.kept(); return ok })
			w.edits(file, "new: 3\n", 0o644)
			if k, _ := w.kept(); k.For != "agent 3.0.0" || string(k.Data) != "new: 2\n" {
				t.Errorf("kept is %+v", k)
			}
		})
	}
}
