package rollback

import (
	"maps"
	"slices"
)

// A trial has parts: several modules may be on trial at once, and a newer version
// may take the place of one that nobody has judged yet. What fails is held back
// alone; the rest is tried again, and in place of what failed what it displaced:
//
//	good {av 1}   trial {av 3, scan 2}   displaced {av 2}
//	                      │ av 3 fails
//	good {av 1}   trial {av 2, scan 2}   and av 3 is quarantined
//
// The good generation runs first, and nothing counts as observed.

// mostDisplaced bounds how many trials are remembered: newer versions that come
// within minutes of each other.
const mostDisplaced = 4

// Displace is Switch to a newer trial of modules. The one that there was, and
// that nobody has judged, is remembered for what fails in the newer one.
func (s State) Displace(n int) (State, error) {
	was := s
	s, err := s.Switch(n)
	if err != nil || was.Trial == 0 || was.Trial == n {
		return s, err
	}
	s.Displaced = append([]int{was.Trial}, was.Displaced...)
	s.Displaced = s.Displaced[:min(len(s.Displaced), mostDisplaced)]
	return s, nil
}

// EndOf counts a bad end of a module on trial, and says whether there were too
// many of it. Each is counted alone: what crashes is held back, not what was
// tried beside it.
func (s State) EndOf(module string) (State, bool) {
	ends := maps.Clone(s.Ends)
	if ends == nil {
		ends = map[string]int{}
	}
	ends[module]++
	s.Ends = ends
	return s, ends[module] >= MaxBadEnds
}

// Rest gives what is to be tried once the modules named in failed have failed in
// generation trial, whose versions are held back in s already; false where
// nothing is left. displaced are the generations s.Displaced, as far as they can
// be read.
func (s State) Rest(good, trial Generation, failed []string, displaced []Generation) (Generation, bool) {
	next := good
	next.Modules = maps.Clone(good.Modules)
	take := func(from Generation, name string) {
		slot, ok := from.Modules[name]
		if next.Modules == nil {
			next.Modules = map[string]Slot{}
		}
		if next.Modules[name] = slot; !ok {
			delete(next.Modules, name)
		}
		if name == AgentModule {
			next.Firewall, next.Settings = from.Firewall, from.Settings
		}
	}
	for _, name := range trial.ChangedModules(good) {
		if !slices.Contains(failed, name) {
			take(trial, name)
			continue
		}
		for _, d := range displaced {
			slot, ok := d.Modules[name]
			_, held := s.HeldModule(name, slot.Version)
			was, installed := good.Modules[name]
			if ok && !held && slot.Dir != trial.Modules[name].Dir && (!installed || CompareReleases(slot.Version, was.Version) > 0) {
				take(d, name)
				break
			}
		}
	}
	return next, len(next.ChangedModules(good)) > 0
}

// Fail ends the trial of modules badly: the good generation is current, gone is
// held back, and what is left of the trial waits to be tried again, as rest says.
// failed names the modules that failed. Going back comes first: where what is
// left cannot be read or written, nothing is tried again. Nothing has changed
// until the state is saved.
func (s Store) Fail(st State, failed []string, gone ...Withdrawn) (next State, rest Generation) {
	was := st
	st = st.Revert(gone...)
	good, err := s.Generation(was.Good)
	trial, err2 := s.Generation(was.Trial)
	if err != nil || err2 != nil {
		return st, good
	}
	var displaced []Generation
	for _, n := range was.Displaced {
		if d, err := s.Generation(n); err == nil {
			displaced = append(displaced, d)
		}
	}
	rest, ok := st.Rest(good, trial, failed, displaced)
	if !ok {
		return st, good
	}
	rest.Why, rest.Made = "rest of a trial", trial.Made
	if len(gone) > 0 {
		rest.Made = gone[0].At
	}
	next, rest, err = s.Make(st, rest)
	if err != nil {
		return st, good
	}
	next.Trial, next.Displaced = rest.Number, was.Displaced
	return next, rest
}
