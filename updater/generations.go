package updater

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/rollback"
)

// ErrNoGeneration says that there is no such generation to go back to.
var ErrNoGeneration = errors.New("no such generation")

// KeptGeneration is a generation on disk.
type KeptGeneration struct {
	rollback.Generation
	Role  string `json:"role,omitempty"`  // "current", "good", "previous", "on trial"; several joined by a comma
	Whole bool   `json:"whole"`           // all that it names is there
	Lacks string `json:"lacks,omitempty"` // what is not
}

// Generations lists what is kept, newest first. It needs no lock.
func (u *Updater) Generations() ([]KeptGeneration, error) {
	st, err := u.store().Load()
	if err != nil {
		return nil, err
	}
	out := []KeptGeneration{}
	for _, g := range slices.Backward(u.store().Generations()) {
		k := KeptGeneration{Generation: g, Lacks: u.lacks(g)}
		k.Whole = k.Lacks == ""
		var roles []string
		for _, r := range []struct {
			n    int
			role string
		}{{st.Current, "current"}, {st.Good, "good"}, {st.Previous, "previous"}, {st.Trial, "on trial"}} {
			if r.n == g.Number {
				roles = append(roles, r.role)
			}
		}
		k.Role = strings.Join(roles, ", ")
		out = append(out, k)
	}
	return out, nil
}

// lacks names something of a generation that is not on disk.
func (u *Updater) lacks(g rollback.Generation) string {
	for name, ref := range g.Bases {
		if !u.present(name, ref) {
			return fmt.Sprintf("base %s version %d", name, ref.Version)
		}
	}
	for name, slot := range g.Modules {
		if !u.slotThere(name, slot) {
			return fmt.Sprintf("module %s %s", name, slot.Version)
		}
	}
	return ""
}

// GoBack makes what generation n holds current, offline and without a trial: 0
// is the good generation where another is on trial, else the previous one. What
// is left behind is held back until a newer version comes or a person releases
// it. The trust in the repository stays what it is. It gives the generations
// left and returned to.
func (u *Updater) GoBack(ctx context.Context, n int) (from, to int, err error) {
	if _, err := u.Start(ctx); err != nil {
		return 0, 0, err
	}
	var left, back rollback.Generation
	_, err = u.change(func(st rollback.State) (rollback.State, error) {
		if to = n; to == 0 {
			to = st.Previous
			if st.OnTrial() {
				to = st.Good
			}
		}
		from = st.Current
		if to == 0 || to == st.Current {
			return st, fmt.Errorf("%w: there is none before %d; freshet generations lists those kept", ErrNoGeneration, st.Current)
		}
		if left, err = u.store().Generation(st.Current); err != nil {
			return st, err
		}
		if back, err = u.store().Generation(to); err != nil {
			return st, fmt.Errorf("%w: %w", ErrNoGeneration, err)
		}
		if lacks := u.lacks(back); lacks != "" {
			return st, fmt.Errorf("%w: generation %d is not whole: it lacks %s", ErrNoGeneration, to, lacks)
		}
		gone := u.leftBehindBy(left, back)
		if to == st.Good {
			return st.Revert(gone...), nil
		}
		gen := back
		gen.Why, gen.Made = fmt.Sprintf("rollback to %d", to), u.Clock.Now().UTC()
		return u.confirmed(st.Withdraw(gone...), gen)
	})
	if err != nil {
		return 0, 0, err
	}
	u.endTrial()
	u.emit(event.WentBack, "from", fmt.Sprint(from), "to", fmt.Sprint(to), "what", described(left, back))
	return from, to, u.showBack(ctx, left, back)
}

// showBack brings engines in line with a rollback that is committed.
func (u *Updater) showBack(ctx context.Context, left, back rollback.Generation) error {
	err := u.show(ctx, back)
	for _, name := range back.Changed(left) {
		err = errors.Join(err, u.take(ctx, name, back, left))
	}
	return errors.Join(err, u.pruneNow())
}

// leftBehindBy lists what is held back when left is left for back.
func (u *Updater) leftBehindBy(left, back rollback.Generation) []rollback.Withdrawn {
	at := u.Clock.Now().UTC()
	var gone []rollback.Withdrawn
	for _, name := range left.Changed(back) {
		is, was := left.Bases[name], back.Bases[name]
		if is.Version > was.Version || was.Freed(is.Keys) { // either would be taken again
			gone = append(gone, rollback.Withdrawn{Base: name, Version: is.Version, Keys: is.Keys, At: at, Reason: "rolled back by an operator", ByHand: true})
		}
	}
	for _, name := range left.ChangedModules(back) {
		is, was := left.Modules[name].Version, back.Modules[name].Version
		if is != "" && (was == "" || rollback.CompareReleases(is, was) > 0) {
			gone = append(gone, rollback.Withdrawn{Module: name, Release: is, At: at, Reason: "rolled back by an operator", ByHand: true})
		}
	}
	return gone
}

// described says in words what changes from left to back.
func described(left, back rollback.Generation) string {
	var text []string
	for _, name := range back.Changed(left) {
		text = append(text, fmt.Sprintf("%s to version %d", name, back.Bases[name].Version))
	}
	for _, name := range back.ChangedModules(left) {
		text = append(text, fmt.Sprintf("module %s to %s", name, orNone(back.Modules[name].Version)))
	}
	if len(text) == 0 {
		return "settings alone"
	}
	return strings.Join(text, ", ")
}
