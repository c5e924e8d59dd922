package rollback_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/freshet/freshet/rollback"
)

// slots gives modules by name and version: "av 2", in a slot of that name.
func slots(versions map[string]string) map[string]rollback.Slot {
	all := map[string]rollback.Slot{}
	for name, v := range versions {
		all[name] = rollback.Slot{Version: v, Dir: v}
	}
	return all
}

func TestWhatFailsInATrialLeavesTheRestToBeTriedAgain(t *testing.T) {
	type set = map[string]string
	for _, row := range []struct {
		name        string
		good, trial set
		displaced   []set // newest first
		failed      []string
		held        set // besides what failed
		want        set // that is tried again; nil: nothing
	}{
		{"one of one fails: nothing is left", set{"av": "1.0.0"}, set{"av": "1.1.0"}, nil, []string{"av"}, nil, nil},
		{"one of two fails: the other is left", set{}, set{"av": "1.1.0", "agent": "2.0.0"}, nil, []string{"agent"}, nil, set{"av": "1.1.0"}},
		{"a first installation that a bad release displaced is tried again", set{}, set{"av": "1.2.0"}, []set{{"av": "1.1.0"}}, []string{"av"}, nil, set{"av": "1.1.0"}},
		{"the agent's displaced trial is, too", set{"agent": "1.0.0"}, set{"agent": "1.2.0"}, []set{{"agent": "1.1.0"}}, []string{"agent"}, nil, set{"agent": "1.1.0"}},
		{"a displaced release that is held back is not", set{}, set{"av": "1.2.0"}, []set{{"av": "1.1.0"}}, []string{"av"}, set{"av": "1.1.0"}, nil},
		{"the newest that is not held back is", set{}, set{"av": "1.3.0"}, []set{{"av": "1.2.0"}, {"av": "1.1.0"}}, []string{"av"}, set{"av": "1.2.0"}, set{"av": "1.1.0"}},
		{"a displaced release below the good one is not", set{"av": "1.1.0"}, set{"av": "1.2.0"}, []set{{"av": "1.1.0"}}, []string{"av"}, nil, nil},
		{"all fail: what they displaced is tried", set{}, set{"av": "1.2.0", "agent": "2.0.0"}, []set{{"av": "1.1.0"}}, []string{"agent", "av"}, nil, set{"av": "1.1.0"}},
		{"a removal that did not fail goes on", set{"av": "1.0.0", "agent": "1.0.0"}, set{"agent": "1.1.0"}, nil, []string{"agent"}, nil, set{"agent": "1.0.0"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			store := rollback.Store{Dir: t.TempDir()}
			st := rollback.State{Format: 1}
			made := func(modules set) int {
				next, g, err := store.Make(st, rollback.Generation{Modules: slots(modules), Bases: map[string]rollback.Ref{"b": {Version: 1}}})
				if err != nil {
					t.Fatal(err)
				}
				st = next
				return g.Number
			}
			must := func(next rollback.State, err error) {
				if err != nil {
					t.Fatal(err)
				}
				st = next
			}
			must(st.Switch(made(row.good)))
			st = st.Confirm()
			for _, d := range slices.Backward(row.displaced) {
				must(st.Displace(made(d)))
			}
			must(st.Displace(made(row.trial)))
			var gone []rollback.Withdrawn
			withdraw := func(versions set) {
				for name, v := range versions {
					gone = append(gone, rollback.Withdrawn{Module: name, Release: v, At: time.Unix(1, 0), Reason: "x"})
				}
			}
			withdraw(row.held)
			for _, name := range row.failed {
				withdraw(set{name: row.trial[name]})
			}
			kept, err := store.Generations()
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(st.Keep(kept), 2) {
				t.Error("what is displaced is not kept")
			}
			next, rest := store.Fail(st, row.failed, gone...)
			if err := next.Check(); err != nil || next.Current != next.Good || next.Good != st.Good || len(next.Ends)+next.BadEnds > 0 {
				t.Errorf("%+v, %v", next, err)
			}
			if len(next.Quarantine) != len(gone) {
				t.Errorf("held back: %+v, want %+v", next.Quarantine, gone)
			}
			if (next.Trial == 0) != (row.want == nil) {
				t.Fatalf("%+v", next)
			}
			if row.want == nil {
				return
			}
			if rest.Number != next.Trial || !maps.Equal(versions(rest), row.want) || rest.Bases["b"].Version != 1 {
				t.Errorf("%+v", rest)
			}
			next, err = next.Switch(next.Trial)
			if err != nil {
				t.Fatal(err)
			}
			if again, rest := store.Fail(next, rest.ChangedModules(rollback.Generation{Modules: slots(row.good)})); again.Trial != 0 && maps.Equal(versions(rest), row.want) {
				t.Errorf("it is tried for ever: %+v", again)
			}
		})
	}
}

func versions(g rollback.Generation) map[string]string {
	all := map[string]string{}
	for name, s := range g.Modules {
		all[name] = s.Version
	}
	return all
}

func TestEachModulesEndsAreCountedAlone(t *testing.T) {
	st := rollback.State{Format: 1, Current: 2, Good: 1, Trial: 2, Last: 2}
	for i := range rollback.MaxBadEnds {
		var many bool
		if i < rollback.MaxBadEnds-1 {
			if st, many = st.EndOf("other"); many {
				t.Errorf("%d ends of the other are too many", i+1)
			}
		}
		if st, many = st.EndOf("av"); many != (i == rollback.MaxBadEnds-1) {
			t.Errorf("%d ends are too many: %v", i+1, many)
		}
	}
	if next := st.Suspend(); len(next.Ends) == 0 {
		t.Error("a suspended trial forgets its ends")
	}
	for _, next := range []rollback.State{st.Confirm(), st.Revert()} {
		if len(next.Ends) > 0 {
			t.Errorf("they outlive the trial: %+v", next)
		}
	}
}
