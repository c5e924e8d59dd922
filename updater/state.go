package updater

import (
	"errors"
	"fmt"
	"maps"

	"github.com/freshet/freshet/rollback"
)

// Switcher is who keeps the endpoint's state: each change passes by it. Where a
// supervisor runs, it is; else it is the state folder's [rollback.Store].
type Switcher interface {
	// Switch replaces the state was by is, durably, or returns
	// [rollback.ErrChanged] where the state is not was any more. On another
	// error either may be found.
	//
	// If the modules of is.Current are others than those that run, whoever
	// runs them goes over to these once Switch has returned, and judges them
	// if they are on trial (see [rollback.State.ModulesOnTrial]). The updater
	// does neither. Without anyone who runs modules they wait for the next
	// start.
	Switch(was, is rollback.State) error
}

func (u *Updater) switcher() Switcher {
	if u.Switcher != nil {
		return u.Switcher
	}
	return u.store()
}

// maxRaces bounds how often a change begins anew because another came first:
// who judges modules changes the state once in minutes.
const maxRaces = 5

// change makes of the state what f makes of it, and saves that. f may be called
// again, with what another process has made of the state.
func (u *Updater) change(f func(rollback.State) (rollback.State, error)) (rollback.State, error) {
	for race := 0; ; race++ {
		was, err := u.store().Load()
		if err != nil {
			return was, err
		}
		is, err := f(was)
		if err != nil {
			return was, err
		}
		err = u.switcher().Switch(was, is)
		if !errors.Is(err, rollback.ErrChanged) || race == maxRaces {
			return is, err
		}
	}
}

// trialOf gives the good generation and the one on trial, and says whether the
// trial, running or to be taken up, is one of modules.
func (u *Updater) trialOf(st rollback.State) (good, trial rollback.Generation, ofModules bool, err error) {
	if good, err = u.store().Generation(st.Good); err != nil || st.Trial == 0 {
		return good, trial, false, err
	}
	var damaged *rollback.DamagedError
	trial, err = u.store().Generation(st.Trial)
	if errors.As(err, &damaged) && st.Current != st.Trial { // it waits, and can never be taken up
		return good, trial, false, nil
	}
	return good, trial, st.ModulesOnTrial(good, trial), err
}

// tryBases makes gen, in which bases are new, and makes it current on trial:
// beside the trial of modules, if there is one.
func (u *Updater) tryBases(st rollback.State, gen rollback.Generation) (rollback.State, rollback.Generation, error) {
	_, _, ofModules, err := u.trialOf(st)
	if err != nil {
		return st, gen, err
	}
	if ofModules {
		if st, gen, err = u.store().Make(st, gen); err != nil {
			return st, gen, err
		}
		st, err = st.SwitchBases(gen.Number)
		return st, gen, err
	}
	if st, gen, err = u.sameOrNew(st, gen); err != nil {
		return st, gen, err
	}
	st, err = st.Switch(gen.Number)
	return st, gen, err
}

// settleBases confirms gen's bases. Where modules are on trial the good
// generation gets them, and the one on trial too. gen, if it was made, is
// where they were tried.
func (u *Updater) settleBases(st rollback.State, gen rollback.Generation) (rollback.State, error) {
	good, trial, ofModules, err := u.trialOf(st)
	if err != nil {
		return st, err
	}
	if !ofModules && gen.Number != 0 && st.Current == gen.Number {
		return st.Confirm(), nil
	}
	made := func(g rollback.Generation) (n int, err error) {
		if g.Why, g.Made = gen.Why, gen.Made; gen.Number != 0 && sameContent(g, gen) {
			return gen.Number, nil
		}
		st, g, err = u.store().Make(st, g)
		return g.Number, err
	}
	newGood, newTrial := rollback.Confirmed(good, trial, gen.Bases)
	g, err := made(newGood)
	if err != nil {
		return st, err
	}
	if !ofModules {
		st, err = st.Switch(g)
		return st.Confirm(), err
	}
	t, err := made(newTrial)
	if err != nil {
		return st, err
	}
	return st.ConfirmBases(g, t)
}

// sameContent says whether two generations are the same but for their number
// and their making.
func sameContent(a, b rollback.Generation) bool {
	return maps.EqualFunc(a.Bases, b.Bases, func(a, b rollback.Ref) bool { return a.Dir == b.Dir && a.Manifest == b.Manifest }) &&
		len(a.ChangedModules(b)) == 0 && a.Settings == b.Settings && a.Firewall == b.Firewall
}

// sameOrNew takes up the generation of a suspended trial, if it holds the same,
// so that its bad ends stay counted.
func (u *Updater) sameOrNew(st rollback.State, gen rollback.Generation) (rollback.State, rollback.Generation, error) {
	if st.Trial > 0 {
		old, err := u.store().Generation(st.Trial)
		if err == nil && sameContent(old, gen) {
			return st, old, nil
		}
	}
	st, gen, err := u.store().Make(st, gen)
	if err != nil {
		return st, gen, fmt.Errorf("making a generation: %w", err)
	}
	return st, gen, nil
}
