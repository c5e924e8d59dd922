package rollback_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/freshet/freshet/rollback"
)

// holds is a store whose generations are gens, each confirmed after the other.
func holds(t *testing.T, gens ...rollback.Generation) (rollback.Store, rollback.State) {
	t.Helper()
	s := rollback.Store{Dir: t.TempDir()}
	st, err := s.Load()
	for _, g := range gens {
		if err == nil {
			st, g, err = s.Make(st, g)
		}
		if err == nil {
			st, err = st.Switch(g.Number)
			st = st.Confirm()
		}
	}
	if err == nil {
		err = s.Save(st)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s, st
}

func whole(rollback.Generation) string { return "" }

func TestAWayBackThatWouldRemoveProtectionWantsAWordMore(t *testing.T) {
	engine := map[string]rollback.Slot{"av": {Version: "1.0.0", Dir: "a"}}
	agent := map[string]rollback.Slot{"agent": {Version: "1.0.0", Dir: "a"}}
	with := func(modules map[string]rollback.Slot, bases ...string) rollback.Generation {
		g := gen(0, map[string]int64{"one": 1})
		for _, b := range bases {
			g.Bases[b] = rollback.Ref{Version: 1, Dir: "b"}
		}
		g.Modules = modules
		return g
	}
	for name, row := range map[string]struct {
		was, is rollback.Generation
		lost    []string
	}{
		"no base":             {rollback.Generation{}, with(nil), []string{"base one"}},
		"fewer bases":         {with(nil), with(nil, "two", "three"), []string{"base three", "base two"}},
		"an engine":           {with(nil), with(engine, "two"), []string{"base two", "module av"}},
		"the agent is none":   {with(nil), with(agent), nil},
		"more than there was": {with(engine, "two"), with(nil), nil},
	} {
		t.Run(name, func(t *testing.T) {
			s, st := holds(t, row.was, row.is)
			for _, n := range []int{0, 1} {
				_, r, err := s.GoBack(st, n, when, whole, false)
				removes := &rollback.RemovesError{}
				if errors.As(err, &removes) != (row.lost != nil) || !slices.Equal(removes.Lost, row.lost) || !slices.Equal(r.Lost(), row.lost) {
					t.Errorf("to %d: %v, %v", n, err, r.Lost())
				}
				next, r, err := s.GoBack(st, n, when, whole, true)
				if err != nil || next.Current == st.Current || !slices.Equal(r.Lost(), row.lost) {
					t.Errorf("forced: %+v, %v", next, err)
				}
			}
			if all, err := s.Generations(); err != nil || len(all) < 2 {
				t.Errorf("%v, %v", all, err)
			}
		})
	}
}

func TestATrialOfAFirstInstallIsBrokenOffWithoutAWordMore(t *testing.T) {
	one := gen(0, map[string]int64{"one": 1})
	s, st := holds(t, rollback.Generation{}, one)
	tried := gen(0, map[string]int64{"one": 1})
	tried.Modules = map[string]rollback.Slot{"av": {Version: "1.0.0", Dir: "a"}}
	st, tried, err := s.Make(st, tried)
	if err == nil {
		st, err = st.Switch(tried.Number)
	}
	if err != nil {
		t.Fatal(err)
	}
	if next, _, err := s.GoBack(st, 0, when, whole, false); err != nil || next.Current != st.Good {
		t.Errorf("to the good generation: %+v, %v", next, err)
	}
	if _, _, err := s.GoBack(st, 1, when, whole, false); !errors.As(err, new(*rollback.RemovesError)) {
		t.Errorf("to one without the confirmed base: %v", err)
	}
}

func TestWhatWasRejectedIsNotThePreviousVersion(t *testing.T) {
	v := func(n int64) rollback.Generation { return gen(0, map[string]int64{"b": n}) }
	s, st := holds(t, v(1), v(2))
	back := func(n int) error {
		t.Helper()
		next, _, err := s.GoBack(st, n, when, whole, false)
		if err == nil {
			st, err = next, s.Save(next)
		}
		return err
	}
	at := func(want int64) {
		t.Helper()
		g, err := s.Generation(st.Current)
		if err != nil || g.Bases["b"].Version != want {
			t.Fatalf("at %+v, %v; want %d", g.Bases, err, want)
		}
	}
	update := func(n int64) {
		t.Helper()
		next, g, err := s.Make(st, v(n))
		if err == nil {
			next, err = next.Switch(g.Number)
		}
		kept, e := s.Generations()
		if err = errors.Join(err, e); err == nil {
			st = next.Confirm().Forget(g.Bases, kept)
			err = errors.Join(s.Save(st), s.Prune(st))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := back(0); err != nil {
		t.Fatal(err)
	}
	at(1)
	update(3)
	kept, err := s.Generations()
	if err != nil {
		t.Fatal(err)
	}
	now, _ := s.Generation(st.Current)
	if ref, ok := st.Before(now, "b", kept); !ok || ref.Version != 1 {
		t.Errorf("base b goes back to %+v, that was not rejected is 1", ref)
	}
	if err := back(0); err != nil {
		t.Fatal(err)
	}
	at(1)
	for n, held := range map[int64]bool{2: true, 3: true, 4: false} {
		if _, is := st.Held("b", n); is != held {
			t.Errorf("version %d held: %v", n, is)
		}
	}
	update(4)
	update(5)
	if err := back(0); err != nil {
		t.Fatal(err)
	}
	at(4)
	if len(st.Quarantine) != 1 {
		t.Errorf("what is not on disk any more is remembered: %+v", st.Quarantine)
	}
}

func TestAPersonWhoNamesARejectedGenerationGoesThere(t *testing.T) {
	s, st := holds(t, gen(0, map[string]int64{"b": 1}), gen(0, map[string]int64{"b": 2}))
	next, _, err := s.GoBack(st, 0, when, whole, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.GoBack(next, 0, when, whole, false); !errors.Is(err, rollback.ErrNoGeneration) {
		t.Errorf("to the rejected one without its name: %v", err)
	}
	named, r, err := s.GoBack(next, 2, when, whole, false)
	if err != nil || r.Back.Bases["b"].Version != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	if _, held := named.Held("b", 2); held {
		t.Error("it is in use and rejected")
	}
}

func TestAGenerationThatIsNotWholeIsNoneToGoBackTo(t *testing.T) {
	v := func(n int64) rollback.Generation { return gen(0, map[string]int64{"b": n}) }
	s, st := holds(t, v(1), v(2), v(3), v(4))
	gone := func(of int64) func(rollback.Generation) string {
		return func(g rollback.Generation) string {
			if g.Bases["b"].Version == of {
				return "base b"
			}
			return ""
		}
	}
	if _, _, err := s.GoBack(st, 0, when, gone(3), true); !errors.Is(err, rollback.ErrNoGeneration) {
		t.Errorf("got %v", err)
	}
	st = st.Withdraw(rollback.Withdrawn{Base: "b", Version: 3})
	_, r, err := s.GoBack(st, 0, when, gone(2), false)
	if err != nil || r.Back.Bases["b"].Version != 1 {
		t.Errorf("to %+v, %v", r.Back.Bases, err)
	}
}

func TestAHoldOfAllHoldsWhateverComes(t *testing.T) {
	st := rollback.State{Format: 1}.Withdraw(rollback.Withdrawn{Base: "b", ByHand: true})
	if _, held := st.HeldFrom("b", 1<<40, "other keys"); !held {
		t.Error("a newer version is not held")
	}
	st = st.Forget(map[string]rollback.Ref{"b": {Version: 7}}, nil)
	if _, held := st.Held("b", 8); !held {
		t.Error("a confirmed version ended the hold")
	}
	if st.RejectedBase("b", rollback.Ref{Version: 3}) {
		t.Error("a hold rejects the version that it keeps")
	}
	if st, _ = st.Release("b"); len(st.Quarantine) != 0 {
		t.Errorf("%+v", st.Quarantine)
	}
}
