package rollback

import (
	"fmt"
	"maps"
	"slices"

	"golang.org/x/mod/semver"
)

// AgentModule is the name of the module that is Freshet itself.
const AgentModule = "agent"

// While a trial of modules runs, or waits to be taken up, bases go on being
// updated, so that neither costs the other:
//
//	good G, current T (modules on trial)
//	   │ SwitchBases(T + bases): they are on trial too
//	   ├─ ConfirmBases: good G + bases, current T + bases, the modules still on trial
//	   └─ EndBases: current T again
//
// If the modules fail, Revert goes back to a good generation that has the bases.

// SwitchBases makes generation n the current one, whose bases are on trial
// beside the trial of modules that there is.
func (s State) SwitchBases(n int) (State, error) {
	switch {
	case n <= 0 || n > s.Last:
		return s, fmt.Errorf("switch to generation %d: the last one made is %d", n, s.Last)
	case s.Trial == 0:
		return s, fmt.Errorf("switch to generation %d: no modules are on trial", n)
	case s.Layer == 0:
		s.Over = s.Current
	}
	s.Current, s.Layer = n, n
	return s, nil
}

// ConfirmBases has the bases of generations good and trial confirmed beside
// the trial of modules: good takes the place of the good generation, trial of
// the one on trial. See [Confirmed] for what they hold.
func (s State) ConfirmBases(good, trial int) (State, error) {
	if min(good, trial) <= 0 || max(good, trial) > s.Last {
		return s, fmt.Errorf("confirm bases by generations %d and %d: the last one made is %d", good, trial, s.Last)
	}
	if s.Trial == 0 {
		return s, fmt.Errorf("confirm bases by generations %d and %d: no modules are on trial", good, trial)
	}
	s = s.EndBases()
	running := s.Current == s.Trial
	s.Previous, s.Good, s.Trial, s.Current = s.Good, good, trial, good
	if running {
		s.Current = trial
	}
	return s, nil
}

// EndBases ends a trial of bases beside one of modules badly, or breaks it
// off: what was current before it is again. Without such a trial nothing changes.
func (s State) EndBases() State {
	if s.Layer != 0 {
		s.Current, s.Layer, s.Over = s.Over, 0, 0
	}
	return s
}

// Confirmed gives what the good generation and the one on trial become when
// bases are confirmed: all else in them stays.
func Confirmed(good, trial Generation, bases map[string]Ref) (Generation, Generation) {
	good.Bases, trial.Bases = maps.Clone(bases), maps.Clone(bases)
	return good, trial
}

// ModulesOnTrial says whether the trial of s, running or to be taken up again,
// is one of modules: then not who updates bases judges it. good and trial are
// the generations s.Good and s.Trial.
func (s State) ModulesOnTrial(good, trial Generation) bool {
	return s.Trial != 0 && s.Trial != s.Good && len(trial.ChangedModules(good)) > 0
}

// Below is what is current but for bases that are on trial beside modules: its
// modules run.
func (s State) Below() int {
	if s.Layer != 0 {
		return s.Over
	}
	return s.Current
}

// WithModules gives a copy in which the modules named in slots are replaced.
func (g Generation) WithModules(slots map[string]Slot) Generation {
	all := maps.Clone(g.Modules)
	if all == nil {
		all = map[string]Slot{}
	}
	maps.Copy(all, slots)
	g.Modules = all
	return g
}

// ChangedModules names the modules, sorted, whose slot is another in old, or
// which one of them lacks.
func (g Generation) ChangedModules(old Generation) []string {
	var names []string
	for name, slot := range g.Modules {
		if was, ok := old.Modules[name]; !ok || was.Dir != slot.Dir {
			names = append(names, name)
		}
	}
	for name := range old.Modules {
		if _, ok := g.Modules[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// CompareReleases orders the semantic versions of modules, without a v. One
// that is none, as of a build by hand, is the newest.
func CompareReleases(a, b string) int {
	va, vb := "v"+a, "v"+b
	switch {
	case a == b:
		return 0
	case !semver.IsValid(va):
		return 1
	case !semver.IsValid(vb):
		return -1
	}
	return semver.Compare(va, vb)
}

// ModuleBefore finds the newest slot of a module below the one in g among
// older generations, but for those that were rejected: what a rollback of that
// module returns to.
func (s State) ModuleBefore(g Generation, module string, others []Generation) (Slot, bool) {
	var best Slot
	found := false
	now, ok := g.Modules[module]
	for _, o := range others {
		slot, had := o.Modules[module]
		if !ok || !had || CompareReleases(slot.Version, now.Version) >= 0 || s.RejectedModule(module, slot) {
			continue
		}
		if !found || CompareReleases(slot.Version, best.Version) > 0 {
			best, found = slot, true
		}
	}
	return best, found
}

// FirewallOf is the mechanism of the firewall in the newest of the generations
// that has a slot of the agent: what comes back with it. "" is the default.
func FirewallOf(slot Slot, agent string, all []Generation) string {
	newest := Generation{}
	for _, g := range all {
		if had, ok := g.Modules[agent]; ok && had.Dir == slot.Dir && g.Number >= newest.Number {
			newest = g
		}
	}
	return newest.Firewall
}

// newestWithModuleBefore is the newest generation that holds what ModuleBefore finds.
func (s State) newestWithModuleBefore(g Generation, module string, all []Generation) (int, bool) {
	before, ok := s.ModuleBefore(g, module, all)
	newest := 0
	for _, o := range all {
		if slot, had := o.Modules[module]; ok && had && slot.Dir == before.Dir {
			newest = max(newest, o.Number)
		}
	}
	return newest, ok
}

// HeldModule says whether a release of a module is held back, and by what. One
// left by hand holds back all up to it, one that failed itself alone, and an
// entry without a release, which a person made, every one.
func (s State) HeldModule(module, release string) (Withdrawn, bool) {
	for _, w := range s.Quarantine {
		if w.Module != module || module == "" {
			continue
		}
		if w.Release == "" || w.Release == release || w.ByHand && CompareReleases(release, w.Release) <= 0 {
			return w, true
		}
	}
	return Withdrawn{}, false
}

// ReleaseModule takes all of a module's entries out of the quarantine and says
// which.
func (s State) ReleaseModule(module string) (State, []Withdrawn) {
	var out, keep []Withdrawn
	for _, w := range s.Quarantine {
		if w.Module == module && module != "" {
			out = append(out, w)
		} else {
			keep = append(keep, w)
		}
	}
	s.Quarantine = keep
	if module != "" && s.Undecided("module", module) {
		out = append(out, Withdrawn{Module: module, At: s.Lost.At, Reason: s.Lost.Reason(), By: ByJudge})
		s.Lost = s.Lost.decide("module", module)
	}
	return s, out
}

// ForgetModules drops what a confirmed newer release of a module has made
// moot, but for releases that one of the generations kept holds, see
// [State.Forget]. What a person held as a whole stays held.
func (s State) ForgetModules(confirmed map[string]Slot, kept []Generation) State {
	s.Quarantine = slices.DeleteFunc(slices.Clone(s.Quarantine), func(w Withdrawn) bool {
		slot, ok := confirmed[w.Module]
		if slices.ContainsFunc(kept, func(g Generation) bool {
			old, had := g.Modules[w.Module]
			return had && old.Version == w.Release
		}) {
			return false
		}
		return w.Module != "" && ok && w.Release != "" && CompareReleases(slot.Version, w.Release) > 0
	})
	return s
}

// equal says whether two states are the same, times to the instant.
func (s State) equal(o State) bool {
	same := slices.EqualFunc(s.Quarantine, o.Quarantine, func(a, b Withdrawn) bool {
		sameAt := a.At.Equal(b.At)
		a.At, a.By = b.At, a.who()
		b.By = b.who()
		return sameAt && a == b
	})
	lost := s.Lost == nil && o.Lost == nil ||
		s.Lost != nil && o.Lost != nil && s.Lost.At.Equal(o.Lost.At) && slices.Equal(s.Lost.Decided, o.Lost.Decided)
	return same && lost && s.Format == o.Format && s.Current == o.Current && s.Good == o.Good && s.Previous == o.Previous &&
		s.Last == o.Last && s.Trial == o.Trial && s.BadEnds == o.BadEnds && s.Layer == o.Layer && s.Over == o.Over &&
		slices.Equal(s.Displaced, o.Displaced) && maps.Equal(s.Ends, o.Ends)
}
