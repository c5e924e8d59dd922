package rollback

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrNoGeneration says that there is no such generation to go back to.
var ErrNoGeneration = errors.New("no such generation")

// Return is a way back that a person asked for.
type Return struct {
	Left Generation // that was current
	Back Generation // what is current now is held by it
}

// GoBack makes what generation n holds current, without a trial: 0 is the good
// generation where another is on trial, else the previous one. What is left
// behind is held back until a newer version comes or a person releases it. lacks
// names something of a generation that is not on disk. Nothing has changed until
// the state is saved. The error is ErrNoGeneration where there is none to go to.
func (s Store) GoBack(st State, n int, at time.Time, lacks func(Generation) string) (State, Return, error) {
	var r Return
	if n == 0 {
		n = st.Previous
		if st.OnTrial() {
			n = st.Good
		}
	}
	if n == 0 || n == st.Current {
		return st, r, fmt.Errorf("%w: there is none before %d; freshet generations lists those kept", ErrNoGeneration, st.Current)
	}
	var err error
	if r.Left, err = s.Generation(st.Current); err != nil {
		return st, r, err
	}
	if r.Back, err = s.Generation(n); err != nil {
		return st, r, fmt.Errorf("%w: %w", ErrNoGeneration, err)
	}
	if lacks := lacks(r.Back); lacks != "" {
		return st, r, fmt.Errorf("%w: generation %d is not whole: it lacks %s", ErrNoGeneration, n, lacks)
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
	if len(text) == 0 {
		return "settings alone"
	}
	return strings.Join(text, ", ")
}
