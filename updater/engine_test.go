package updater_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/clock"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/modules"
	"github.com/freshet/freshet/updater"
)

// served has the base list used by an engine.
func served(e *modules.Engine) func(*updater.Updater) {
	return func(u *updater.Updater) { u.Engines = map[string]*modules.Engine{"list": e} }
}

func (w *world) held() int {
	w.t.Helper()
	_, st, err := w.updater().Installed()
	if err != nil {
		w.t.Fatal(err)
	}
	return len(st.Quarantine)
}

// TestATryOutOfTimeCondemnsNothing: the host was busy. It is tried again, by the
// schedule less and less often.
func TestATryOutOfTimeCondemnsNothing(t *testing.T) {
	w := newWorld(t)
	w.publish("list", records(1, 100))
	w.update(updater.Updated)
	w.publish("list", records(2, 100))
	slow := &modules.Engine{Base: "list", TryTimeout: 50 * time.Millisecond, TryCommand: []string{"/bin/sleep", "100"}}
	now := time.Now()
	run := func(why string, want string) updater.Result {
		t.Helper()
		u := w.updater(served(slow))
		u.Clock = &clock.Clock{Wall: func() time.Time { return now }}
		res := u.Run(t.Context(), why, nil)
		if res.Outcome != want {
			t.Fatalf("%s: %+v", why, res)
		}
		w.expect("list", 1)
		if n := w.held(); n > 0 {
			t.Fatalf("%d versions are quarantined", n)
		}
		return res
	}
	tries := func() int {
		if o := w.updater().EngineNote("list").Try; o != nil {
			return o.Tries
		}
		return 0
	}
	if res := run(updater.OnSchedule, updater.Failed); !strings.Contains(res.Error, "not done after 50ms") || !strings.Contains(res.Error, "that is no judgement of it: it is tried again after") {
		t.Errorf("error %q", res.Error)
	}
	for i, step := range []struct {
		after time.Duration
		why   string
		tries int
	}{
		{time.Minute, updater.OnSchedule, 1},
		{30 * time.Minute, updater.OnSchedule, 2},
		{31 * time.Minute, updater.OnSchedule, 2}, // it waits twice as long now
		{time.Minute, "by hand", 3},
		{25 * time.Hour, updater.OnSchedule, 4},
	} {
		now = now.Add(step.after)
		before := tries()
		want := updater.Failed
		if step.tries == before {
			want = updater.NothingNew
		}
		res := run(step.why, want)
		if tries() != step.tries {
			t.Errorf("step %d: %d tries, want %d", i, tries(), step.tries)
		}
		if want == updater.NothingNew && !strings.Contains(strings.Join(res.Notes, " "), "list stays at version 1") {
			t.Errorf("step %d does not tell: %q", i, res.Notes)
		}
	}
	if o := w.updater().EngineNote("list").Try; o == nil || o.Version != 2 || o.Tries != 4 {
		t.Errorf("open: %+v", o)
	}
	w.update(updater.Updated, served(&modules.Engine{Base: "list", TryCommand: []string{"/bin/true"}}))
	w.expect("list", 2)
	if n := w.updater().EngineNote("list"); n != (updater.EngineNote{}) {
		t.Errorf("still open: %+v", n)
	}
}

// TestAnEngineThatIsNotThereYetCondemnsNothing: a resolver needs the file to start.
func TestAnEngineThatIsNotThereYetCondemnsNothing(t *testing.T) {
	for name, health := range map[string]bool{"it has took alone": false, "it has health too": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			dir := t.TempDir()
			up := filepath.Join(dir, "up")
			e := &modules.Engine{Base: "list", TookCommand: []string{"/bin/sh", "-c", `test -e "$0" || { echo connection refused >&2; exit 1; }`, up}}
			if health {
				e.HealthCommand, e.HealthEvery, e.WatchFor = []string{"/usr/bin/test", "-e", up}, time.Millisecond, 2*time.Millisecond
			}
			w.publish("list", records(1, 100))
			w.update(updater.Updated, served(e))
			w.expect("list", 1)
			if !w.saw(event.EngineFailed) || w.held() > 0 {
				t.Errorf("events %v, %d quarantined", w.events, w.held())
			}
			if o := w.updater().EngineNote("list").Took; o == nil || !strings.Contains(o.Error, "connection refused") {
				t.Errorf("open: %+v", o)
			}
			w.update(updater.NothingNew, served(e))
			if w.saw(event.EngineFailed) {
				t.Error("the same is told again")
			}
			w.publish("list", records(2, 100)) // nor is the next one, as the first was never accepted
			w.update(updater.Updated, served(e))
			if w.expect("list", 2); w.held() > 0 {
				t.Error("version 2 is quarantined")
			}
			if err := os.WriteFile(up, nil, 0o644); err != nil {
				t.Fatal(err)
			}
			w.update(updater.NothingNew, served(e))
			if !w.saw(event.EngineAccepted) || w.updater().EngineNote("list").Took != nil {
				t.Errorf("it runs, and was not asked: %v", w.events)
			}
			if err := os.Remove(up); err != nil {
				t.Fatal(err)
			}
			e.HealthCommand = nil
			w.publish("list", records(3, 100)) // it accepted one: now a failure is the version's
			w.update(updater.Failed, served(e))
			if w.expect("list", 2); w.held() != 1 {
				t.Error("version 3 is not quarantined")
			}
		})
	}
}

// TestFilesThatComeLateAreToldToTheEngine: its folder was not there before.
func TestFilesThatComeLateAreToldToTheEngine(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	to, log := filepath.Join(dir, "engine"), filepath.Join(dir, "took")
	e := &modules.Engine{
		Base: "list", Delivery: &modules.Delivery{To: to, StateDir: filepath.Join(w.dir, "state")},
		TookCommand: []string{"/bin/sh", "-c", `ls "$0" >>"$1" 2>&1; true`, to, log},
	}
	w.publish("list", records(1, 100))
	w.update(updater.Updated, served(e))
	if err := os.Mkdir(to, 0o755); err != nil {
		t.Fatal(err)
	}
	w.update(updater.NothingNew, served(e))
	data, err := os.ReadFile(log)
	if err != nil || !strings.HasSuffix(string(data), "list.txt\n") || !w.saw(event.EngineAccepted) {
		t.Errorf("the engine saw %q, %v; %v", data, err, w.events)
	}
}

// TestAFirstVersionThatIsRefusedLeavesTheFolderAsItWas, for a later start of the
// engine reads it.
func TestAFirstVersionThatIsRefusedLeavesTheFolderAsItWas(t *testing.T) {
	w := newWorld(t)
	to := filepath.Join(w.dir, "engine")
	if err := os.MkdirAll(to, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(to, "theirs"), []byte("t"), 0o644); err != nil {
		t.Fatal(err)
	}
	listed := func() string {
		t.Helper()
		all, err := os.ReadDir(to)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, e := range all {
			names = append(names, e.Name())
		}
		return strings.Join(names, " ")
	}
	e := &modules.Engine{
		Base: "list", Delivery: &modules.Delivery{To: to, StateDir: filepath.Join(w.dir, "state")},
		HealthCommand: []string{"/bin/sh", "-c", `! grep -qs poison "$0/list.txt"`, to}, HealthEvery: time.Millisecond, WatchFor: time.Millisecond,
	}
	w.publish("list", records(1, 100)+"poison\n")
	w.update(updater.Failed, served(e))
	if got := listed(); got != "theirs" || !w.saw(event.DeliveryTakenBack) || w.held() != 1 {
		t.Errorf("the folder holds %s; %v", got, w.events)
	}
	w.publish("list", records(2, 100))
	w.update(updater.Updated, served(e))
	if got := listed(); got != "list.txt theirs" {
		t.Errorf("the folder holds %s", got)
	}
	t.Run("a lost state takes nothing from it", func(t *testing.T) {
		u := w.updater(served(e))
		for _, part := range []string{"state.json", "generations", "manifests"} {
			if err := os.RemoveAll(filepath.Join(u.Dir, part)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := u.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := listed(); got != "list.txt theirs" {
			t.Errorf("the folder holds %s", got)
		}
	})
}

// TestAnEngineThatDoesNotAnswerIsGivenThePreviousVersion, and the version is not
// quarantined: it may be the host that is slow.
func TestAnEngineThatDoesNotAnswerIsGivenThePreviousVersion(t *testing.T) {
	w := newWorld(t)
	e := &modules.Engine{
		Base: "list", Timeout: 100 * time.Millisecond, HealthEvery: time.Millisecond, WatchFor: time.Millisecond,
		HealthCommand: []string{"/bin/sh", "-c", `! grep -qs hang "$0"/bases/list/current/list.txt || sleep 100`, filepath.Join(w.dir, "state")},
	}
	w.publish("list", records(1, 100))
	w.update(updater.Updated, func(u *updater.Updater) {})
	w.publish("list", records(2, 100)+"hang\n")
	e.Timeout = 2 * time.Second // for the baseline, on a busy machine
	u := w.updater(served(e))
	res := u.Run(t.Context(), "test", func(p updater.Progress) {
		if p.Phase == updater.PhaseWatch {
			e.Timeout = 50 * time.Millisecond
		}
	})
	if res.Outcome != updater.Failed || !strings.Contains(res.Error, "rolled back") || !w.saw(event.BaseRolledBack) {
		t.Fatalf("%+v", res)
	}
	if w.expect("list", 1); w.held() > 0 {
		t.Error("it is quarantined")
	}
	if o := w.updater().EngineNote("list").Try; o == nil || o.Version != 2 || o.Step != "health" {
		t.Errorf("open: %+v", o)
	}
}

func TestEvidenceIsKeptWithTheQuarantine(t *testing.T) {
	w := newWorld(t)
	w.publish("list", records(1, 100))
	w.update(updater.Failed, served(&modules.Engine{Base: "list", TryCommand: []string{"/bin/sh", "-c", "echo line 7 is wrong; echo giving up; exit 1"}}))
	if got := w.updater().Evidence("list", 1); got != "line 7 is wrong\ngiving up\n" {
		t.Errorf("evidence %q", got)
	}
	w.update(updater.NothingNew)
	if got := w.updater().Evidence("list", 1); got == "" {
		t.Error("it is gone while the version is quarantined")
	}
	w.publish("list", records(2, 100))
	w.update(updater.Updated)
	if left, _ := filepath.Glob(filepath.Join(w.dir, "state/evidence/*")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}
