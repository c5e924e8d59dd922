package rollback

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// ErrNoGeneration says that there is no such generation to go back to.
var ErrNoGeneration = errors.New("no such generation")

// Return is a way back that a person asked for.
type Return struct {
	Left Generation // that was current
	Back Generation // what is current now is held by it

	good Generation // Left or, where that was on trial, the good one: what was confirmed
}

// RemovesError says that a way back would take away what protects now.
type RemovesError struct {
	To   int
	Lost []string // "base NAME", "module NAME", sorted
}

func (e *RemovesError) Error() string {
	return fmt.Sprintf("generation %d lacks what is installed now and would be removed: %s", e.To, strings.Join(e.Lost, ", "))
}

// GoBack makes what generation n holds current, without a trial: 0 is the good
// generation where another is on trial, else the previous one, but for those
// that hold what was rejected. What is left behind is held back until a newer
// version comes or a person releases it; what of a generation that is named was
// rejected is released. lacks names something of a generation that is not on
// disk. Nothing has changed until the state is saved. The error is
// ErrNoGeneration where there is none to go to, and a [*RemovesError], unless
// force is set, where bases or modules would be gone.
func (s Store) GoBack(st State, n int, at time.Time, lacks func(Generation) string, force bool) (State, Return, error) {
	var r Return
	named := n != 0
	n, err := s.target(st, n, lacks)
	if err != nil {
		return st, r, err
	}
	if r.Left, err = s.Generation(st.Current); err != nil {
		return st, r, err
	}
	if r.Back, err = s.Generation(n); errors.As(err, new(*DamagedError)) {
		return st, r, fmt.Errorf("%w: %w", ErrNoGeneration, err)
	} else if err != nil {
		return st, r, err
	}
	if lacks := lacks(r.Back); lacks != "" {
		return st, r, fmt.Errorf("%w: generation %d is not whole: it lacks %s", ErrNoGeneration, n, lacks)
	}
	r.good = r.Left
	if st.OnTrial() {
		if r.good, err = s.Generation(st.Good); err != nil {
			return st, r, err
		}
	}
	if lost := r.Lost(); len(lost) > 0 && !force {
		return st, r, &RemovesError{n, lost}
	}
	if named {
		st = st.Accept(r.Back)
	}
	gone := r.leftBehind(at)
	if n == st.Good {
		return st.Revert(gone...), r, nil
	}
	gen := r.Back
	gen.Why, gen.Made = fmt.Sprintf("rollback to %d", n), at
	next, gen, err := s.Make(st.Withdraw(gone...), gen)
	if err != nil {
		return st, r, err
	}
	next, err = next.Switch(gen.Number)
	return next.Confirm(), r, err
}

// target is the generation to go back to, n if that is one. What a person or a
// judge rejected is not the previous one: then it is the newest before it that
// is whole and differs from what is current.
func (s Store) target(st State, n int, lacks func(Generation) string) (int, error) {
	if n == 0 {
		n = st.Previous
		if st.OnTrial() {
			n = st.Good
		}
		before, err := s.Generation(n)
		if errors.As(err, new(*DamagedError)) {
			return 0, fmt.Errorf("%w: %w", ErrNoGeneration, err)
		}
		if err != nil {
			return 0, err
		}
		if rejected := st.Rejected(before); rejected != "" {
			if n, err = s.olderThan(st, lacks); err != nil {
				return 0, err
			}
			if n == 0 {
				return 0, fmt.Errorf("%w: generation %d holds what was rejected (%s), and nothing else is kept; freshet rollback %d goes there all the same",
					ErrNoGeneration, before.Number, rejected, before.Number)
			}
		}
	}
	if n == 0 || n == st.Current {
		return 0, fmt.Errorf("%w: there is none before %d; freshet generations lists those kept", ErrNoGeneration, st.Current)
	}
	return n, nil
}

// olderThan is the newest generation to go back to of which nothing was
// rejected; 0: there is none.
func (s Store) olderThan(st State, lacks func(Generation) string) (int, error) {
	now, err := s.Generation(st.Current)
	if err != nil {
		return 0, err
	}
	all, err := s.Generations()
	if err != nil {
		return 0, err
	}
	for _, g := range slices.Backward(all) {
		differs := len(g.Changed(now))+len(now.Changed(g))+len(g.ChangedModules(now)) > 0
		if g.Number < st.Current && differs && st.Rejected(g) == "" && lacks(g) == "" {
			return g.Number, nil
		}
	}
	return 0, nil
}

// Accept takes out of the quarantine what g holds: a person goes there.
func (s State) Accept(g Generation) State {
	s.Quarantine = slices.DeleteFunc(slices.Clone(s.Quarantine), func(w Withdrawn) bool {
		alone := State{Quarantine: []Withdrawn{w}}
		return alone.Rejected(g) != ""
	})
	return s
}

// Lost lists the bases and modules that are gone after the return. The agent is
// none of them: one always runs. Nor is what was on trial alone: it protected
// nobody yet, and to break off a trial is what a way back is for.
func (r Return) Lost() []string {
	var lost []string
	for _, name := range slices.Sorted(maps.Keys(r.good.Bases)) {
		if _, ok := r.Back.Bases[name]; !ok {
			lost = append(lost, "base "+name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.good.Modules)) {
		if _, ok := r.Back.Modules[name]; !ok && name != AgentModule {
			lost = append(lost, "module "+name)
		}
	}
	return lost
}

// leftBehind lists what is held back.
func (r Return) leftBehind(at time.Time) []Withdrawn {
	const byOperator = "rolled back by an operator"
	var gone []Withdrawn
	for _, name := range r.Left.Changed(r.Back) {
		is, was := r.Left.Bases[name], r.Back.Bases[name]
		if is.Version > was.Version || was.Freed(is.Keys) { // either would be taken again
			gone = append(gone, Withdrawn{Base: name, Version: is.Version, Keys: is.Keys, At: at, Reason: byOperator, ByHand: true})
		}
	}
	for _, name := range r.Left.ChangedModules(r.Back) {
		is, was := r.Left.Modules[name].Version, r.Back.Modules[name].Version
		if is != "" && (was == "" || CompareReleases(is, was) > 0) {
			gone = append(gone, Withdrawn{Module: name, Release: is, At: at, Reason: byOperator, ByHand: true})
		}
	}
	return gone
}

// String says in words what changes.
func (r Return) String() string {
	var text []string
	for _, name := range r.Back.Changed(r.Left) {
		text = append(text, fmt.Sprintf("%s to version %d", name, r.Back.Bases[name].Version))
	}
	for _, name := range r.Back.ChangedModules(r.Left) {
		version := r.Back.Modules[name].Version
		if version == "" {
			version = "none"
		}
		text = append(text, fmt.Sprintf("module %s to %s", name, version))
	}
	for _, lost := range r.Lost() {
		if strings.HasPrefix(lost, "base ") {
			text = append(text, lost+" is removed")
		}
	}
	if len(text) == 0 {
		return "settings alone"
	}
	return strings.Join(text, ", ")
}
