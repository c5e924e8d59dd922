package rollback_test

import (
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/freshet/freshet/rollback"
)

func TestBasesAreUpdatedBesideATrialOfModules(t *testing.T) {
	running := rollback.State{Format: 1, Current: 5, Good: 4, Previous: 3, Last: 8, Trial: 5, BadEnds: 1}
	waiting := running.Suspend()
	rows := []struct {
		name string
		from rollback.State
		do   func(rollback.State) (rollback.State, error)
		want rollback.State
	}{
		{"the trial runs: the layer is current and the trial stays", running,
			func(s rollback.State) (rollback.State, error) { return s.SwitchBases(6) },
			rollback.State{Current: 6, Good: 4, Previous: 3, Trial: 5, BadEnds: 1, Layer: 6, Over: 5}},
		{"confirmed: both good and trial have them, and the trial goes on", mustBases(t, running, 6),
			func(s rollback.State) (rollback.State, error) { return s.ConfirmBases(7, 6) },
			rollback.State{Current: 6, Good: 7, Previous: 4, Trial: 6, BadEnds: 1}},
		{"they fail: the trial of modules is as before", mustBases(t, running, 6),
			func(s rollback.State) (rollback.State, error) { return s.EndBases(), nil }, running},
		{"the trial waits: the layer lies over the good one", waiting,
			func(s rollback.State) (rollback.State, error) { return s.SwitchBases(6) },
			rollback.State{Current: 6, Good: 4, Previous: 3, Trial: 5, BadEnds: 1, Layer: 6, Over: 4}},
		{"confirmed while it waits: the good one runs", mustBases(t, waiting, 6),
			func(s rollback.State) (rollback.State, error) { return s.ConfirmBases(6, 7) },
			rollback.State{Current: 6, Good: 6, Previous: 4, Trial: 7, BadEnds: 1}},
		{"the modules fail while bases are on trial: both end", mustBases(t, running, 6),
			func(s rollback.State) (rollback.State, error) { return s.Revert(), nil },
			rollback.State{Current: 4, Good: 4, Previous: 3}},
		{"a boot while bases are on trial: the good one runs, the modules' trial waits", mustBases(t, running, 6),
			func(s rollback.State) (rollback.State, error) { return s.Suspend(), nil },
			rollback.State{Current: 4, Good: 4, Previous: 3, Trial: 5, BadEnds: 1}},
		{"confirmed without a layer, as by hand", running,
			func(s rollback.State) (rollback.State, error) { return s.ConfirmBases(7, 8) },
			rollback.State{Current: 8, Good: 7, Previous: 4, Trial: 8, BadEnds: 1}},
		{"the modules are confirmed after bases were", rollback.State{Current: 6, Good: 7, Previous: 4, Trial: 6, BadEnds: 1},
			func(s rollback.State) (rollback.State, error) { return s.Confirm(), nil },
			rollback.State{Current: 6, Good: 6, Previous: 7}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			got, err := row.do(row.from)
			if err != nil {
				t.Fatal(err)
			}
			if !same(got, row.want) {
				t.Errorf("got  %+v\nwant %+v", got, row.want)
			}
		})
	}
}

func mustBases(t *testing.T, s rollback.State, n int) rollback.State {
	t.Helper()
	s, err := s.SwitchBases(n)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func same(a, b rollback.State) bool {
	return a.Current == b.Current && a.Good == b.Good && a.Previous == b.Previous &&
		a.Trial == b.Trial && a.BadEnds == b.BadEnds && a.Layer == b.Layer && a.Over == b.Over
}

func TestABasesTrialNeedsOneOfModulesBesideIt(t *testing.T) {
	st := rollback.State{Format: 1, Current: 4, Good: 4, Last: 6}
	if _, err := st.SwitchBases(5); err == nil {
		t.Error("a layer without a trial below it")
	}
	if _, err := st.ConfirmBases(5, 6); err == nil {
		t.Error("confirmed without a trial")
	}
	st.Trial = 5
	for _, n := range []int{-1, 0, 7} {
		if _, err := st.SwitchBases(n); err == nil {
			t.Errorf("switched to %d", n)
		}
		if _, err := st.ConfirmBases(n, 6); err == nil {
			t.Errorf("confirmed by %d", n)
		}
	}
}

func TestAFailingModuleCostsNoBase(t *testing.T) {
	good := gen(4, map[string]int64{"b": 1}).WithModules(map[string]rollback.Slot{"agent": {Version: "1.0.0", Dir: "1"}})
	trial := good.WithModules(map[string]rollback.Slot{"agent": {Version: "1.1.0", Dir: "2"}})
	g, tr := rollback.Confirmed(good, trial, map[string]rollback.Ref{"b": {Version: 2, Dir: "x"}})
	if g.Bases["b"].Version != 2 || tr.Bases["b"].Version != 2 {
		t.Errorf("bases: %v and %v", g.Bases, tr.Bases)
	}
	if g.Modules["agent"].Version != "1.0.0" || tr.Modules["agent"].Version != "1.1.0" {
		t.Errorf("modules: %v and %v", g.Modules, tr.Modules)
	}
	if good.Bases["b"].Version != 1 || len(good.Modules) != 1 || good.Modules["agent"].Dir != "1" {
		t.Errorf("the good generation itself was changed: %+v", good)
	}
}

func TestATrialIsOneOfModulesIfTheyDiffer(t *testing.T) {
	a := map[string]rollback.Slot{"agent": {Dir: "1"}}
	b := map[string]rollback.Slot{"agent": {Dir: "2"}}
	rows := []struct {
		name        string
		state       rollback.State
		good, trial map[string]rollback.Slot
		want        bool
	}{
		{"another slot", rollback.State{Good: 1, Trial: 2}, a, b, true},
		{"a module more", rollback.State{Good: 1, Trial: 2}, nil, a, true},
		{"a module less", rollback.State{Good: 1, Trial: 2}, a, nil, true},
		{"bases alone", rollback.State{Good: 1, Trial: 2}, a, a, false},
		{"no trial", rollback.State{Good: 1}, a, b, false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			got := row.state.ModulesOnTrial(rollback.Generation{Modules: row.good}, rollback.Generation{Modules: row.trial})
			if got != row.want {
				t.Errorf("%v", got)
			}
		})
	}
}

func TestWhichReleasesOfAModuleAreHeld(t *testing.T) {
	at := time.Unix(1, 0)
	failed := rollback.Withdrawn{Module: "av", Release: "1.2.0", At: at}
	left := rollback.Withdrawn{Module: "av", Release: "1.2.0", At: at, ByHand: true}
	whole := rollback.Withdrawn{Module: "av", At: at, ByHand: true}
	rows := []struct {
		name string
		by   rollback.Withdrawn
		held map[string]bool
	}{
		{"one that failed holds itself alone", failed, map[string]bool{"1.1.0": false, "1.2.0": true, "1.2.1": false}},
		{"one left by hand holds all up to it", left, map[string]bool{"1.1.9": true, "1.2.0": true, "1.10.0": false, "1.2.0-rc.1": true}},
		{"one held as a whole holds every release", whole, map[string]bool{"1.2.0": true, "9.0.0": true}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			st := rollback.State{Format: 1}.Withdraw(row.by)
			for release, want := range row.held {
				if _, held := st.HeldModule("av", release); held != want {
					t.Errorf("%s held: %v", release, held)
				}
			}
			if _, held := st.HeldModule("other", "1.2.0"); held {
				t.Error("another module is held")
			}
			if _, held := st.Held("av", 1); held {
				t.Error("a base of that name is held")
			}
			next := st.ForgetModules(map[string]rollback.Slot{"av": {Version: "1.3.0"}}, nil)
			if len(next.Quarantine) != map[bool]int{true: 1}[row.by.Release == ""] {
				t.Errorf("after a newer one: %+v", next.Quarantine)
			}
			if st, out := st.ReleaseModule("av"); len(st.Quarantine) != 0 || len(out) != 1 {
				t.Errorf("after the release: %+v", st.Quarantine)
			}
		})
	}
}

func TestEachModuleKeepsItsVersionBefore(t *testing.T) {
	at := func(n int, agent, av string) rollback.Generation {
		return rollback.Generation{Number: n, Modules: map[string]rollback.Slot{"agent": {Version: agent, Dir: agent}, "av": {Version: av, Dir: av}}}
	}
	all := []rollback.Generation{at(1, "1.9.0", "1.0.0"), at(2, "1.10.0", "1.0.0"), at(3, "1.10.0", "2.0.0"), at(4, "1.10.0", "2.1.0"), at(5, "1.10.0", "2.1.0")}
	st := rollback.State{Format: 1, Current: 5, Good: 5, Previous: 4, Last: 5}
	if got, want := st.Keep(all), []int{1, 3, 4, 5}; !slices.Equal(got, want) {
		t.Errorf("kept %v, want %v", got, want)
	}
	if slot, ok := st.ModuleBefore(all[4], "agent", all); !ok || slot.Version != "1.9.0" {
		t.Errorf("agent goes back to %+v", slot)
	}
	if _, ok := st.ModuleBefore(all[0], "agent", all); ok {
		t.Error("from its lowest version agent goes back to a higher one")
	}
}

func TestTwoProcessesDoNotUndoEachOthersStates(t *testing.T) {
	s := rollback.Store{Dir: t.TempDir()}
	empty, err := s.Load()
	if err != nil {
		t.Fatal(err)
	}
	made, g, err := s.Make(empty, rollback.Generation{Bases: map[string]rollback.Ref{}})
	if err != nil {
		t.Fatal(err)
	}
	one, err := made.Switch(g.Number)
	if err != nil {
		t.Fatal(err)
	}
	one = one.Withdraw(rollback.Withdrawn{Module: "m", At: time.Now()})
	if err := s.Switch(empty, one); err != nil {
		t.Fatal(err)
	}
	if err := s.Switch(empty, one.Confirm()); !errors.Is(err, rollback.ErrChanged) {
		t.Errorf("a change of a state that is gone: %v", err)
	}
	read, err := s.Load()
	if err != nil || read.Good != 0 {
		t.Fatalf("%+v, %v", read, err)
	}
	if err := s.Switch(read, read.Confirm()); err != nil {
		t.Error(err)
	}
	if err := s.Switch(one.Confirm(), one.Suspend()); err != nil { // not as read, but the same
		t.Error(err)
	}
}

func TestChangedModulesAreNamed(t *testing.T) {
	old := rollback.Generation{Modules: map[string]rollback.Slot{"a": {Dir: "1"}, "b": {Dir: "1"}, "c": {Dir: "1"}}}
	now := rollback.Generation{Modules: maps.Clone(old.Modules)}
	delete(now.Modules, "a")
	now.Modules["b"] = rollback.Slot{Dir: "2"}
	now.Modules["d"] = rollback.Slot{Dir: "1"}
	if got := now.ChangedModules(old); !slices.Equal(got, []string{"a", "b", "d"}) {
		t.Errorf("%v", got)
	}
}
