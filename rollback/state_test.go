package rollback_test

import (
	"slices"
	"testing"

	"github.com/freshet/freshet/rollback"
)

func must(t *testing.T) func(rollback.State, error) rollback.State {
	return func(s rollback.State, err error) rollback.State {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

func TestATrialEndsInOneOfThreeWays(t *testing.T) {
	ok := must(t)
	st := rollback.State{Format: 1, Current: 4, Good: 4, Previous: 3, Last: 5}
	trial := ok(st.Switch(5))
	if !trial.OnTrial() || trial.Good != 4 || trial.Previous != 3 {
		t.Fatalf("on trial: %+v", trial)
	}
	t.Run("confirmed, it is good and the old one previous", func(t *testing.T) {
		got := trial.Confirm()
		if got.Current != 5 || got.Good != 5 || got.Previous != 4 || got.OnTrial() {
			t.Errorf("%+v", got)
		}
	})
	t.Run("reverted, the good one runs and what came is withdrawn", func(t *testing.T) {
		got := trial.Revert(rollback.Withdrawn{Base: "b", Version: 9, Reason: "unhealthy"})
		if got.Current != 4 || got.Good != 4 || got.Previous != 3 {
			t.Errorf("%+v", got)
		}
		if _, held := got.Held("b", 9); !held {
			t.Error("version 9 may be installed again")
		}
		if _, held := got.Held("b", 10); held {
			t.Error("version 10 is held back too")
		}
	})
	t.Run("suspended, the good one runs and the trial may be taken up", func(t *testing.T) {
		got := trial.BadEnd().Suspend()
		if got.Current != 4 || got.Trial != 5 || got.BadEnds != 1 {
			t.Errorf("%+v", got)
		}
		if again := ok(got.Switch(5)); again.BadEnds != 1 {
			t.Errorf("taking it up forgot its bad end: %+v", again)
		}
	})
}

func TestAGenerationNeverMadeCannotBeSwitchedTo(t *testing.T) {
	st := rollback.State{Format: 1, Last: 5}
	for _, n := range []int{-1, 0, 6} {
		if _, err := st.Switch(n); err == nil {
			t.Errorf("switched to %d", n)
		}
	}
}

func TestAVersionLeftByHandHoldsBackAllUpToIt(t *testing.T) {
	st := rollback.State{Format: 1}.Withdraw(rollback.Withdrawn{Base: "b", Version: 9, ByHand: true})
	for v, want := range map[int64]bool{8: true, 9: true, 10: false} {
		if _, held := st.Held("b", v); held != want {
			t.Errorf("version %d held: %v", v, held)
		}
	}
	if _, held := st.Held("other", 9); held {
		t.Error("another base is held back")
	}
	st, out := st.Release("b")
	if _, held := st.Held("b", 9); held || len(out) != 1 {
		t.Errorf("after the release: held %v, released %v", held, out)
	}
}

func TestAConfirmedNewerVersionEndsTheQuarantine(t *testing.T) {
	st := rollback.State{Format: 1}.Withdraw(rollback.Withdrawn{Base: "b", Version: 9}, rollback.Withdrawn{Base: "c", Version: 3})
	st = st.Forget(map[string]rollback.Ref{"b": {Version: 10}, "c": {Version: 3}}, nil)
	if len(st.Quarantine) != 1 || st.Quarantine[0].Base != "c" {
		t.Errorf("left: %+v", st.Quarantine)
	}
}

func gen(n int, versions map[string]int64) rollback.Generation {
	g := rollback.Generation{Number: n, Bases: map[string]rollback.Ref{}}
	for b, v := range versions {
		g.Bases[b] = rollback.Ref{Version: v, Dir: string(rune('a' + v))}
	}
	return g
}

func TestEachBaseKeepsItsVersionBefore(t *testing.T) {
	all := []rollback.Generation{
		gen(1, map[string]int64{"slow": 1, "fast": 1}),
		gen(2, map[string]int64{"slow": 2, "fast": 2}),
		gen(3, map[string]int64{"slow": 2, "fast": 3}),
		gen(4, map[string]int64{"slow": 2, "fast": 4}),
		gen(5, map[string]int64{"slow": 2, "fast": 5}),
	}
	st := rollback.State{Format: 1, Current: 5, Good: 5, Previous: 4, Last: 5}
	if got, want := st.Keep(all), []int{1, 4, 5}; !slices.Equal(got, want) {
		t.Errorf("kept %v, want %v: generation 1 has what slow was before", got, want)
	}
	ref, ok := st.Before(all[4], "slow", all)
	if !ok || ref.Version != 1 {
		t.Errorf("slow goes back to %+v", ref)
	}
	if _, ok := st.Before(all[0], "slow", all); ok {
		t.Error("from its lowest version slow goes back to a higher one")
	}
}

func TestStatesThatCannotBeAreRefused(t *testing.T) {
	rows := map[string]rollback.State{
		"of a newer format":        {Format: rollback.StateFormat + 1},
		"without a format":         {},
		"current was never made":   {Format: 1, Current: 2, Last: 1},
		"good below no generation": {Format: 1, Good: -1, Last: 1},
	}
	for name, st := range rows {
		t.Run(name, func(t *testing.T) {
			if st.Check() == nil {
				t.Error("it was taken")
			}
		})
	}
}
