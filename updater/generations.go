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
	all, err := u.store().Generations()
	if err != nil {
		return nil, err
	}
	for _, g := range slices.Backward(all) {
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
// is the good generation where another is on trial, else the previous one; see
// [rollback.Store.GoBack] for what is held back, and for force. The trust in the
// repository stays what it is. It gives the generations left and returned to.
func (u *Updater) GoBack(ctx context.Context, n int, force bool) (r rollback.Return, err error) {
	if _, err := u.Start(ctx); err != nil {
		return r, err
	}
	_, err = u.change(func(st rollback.State) (_ rollback.State, err error) {
		st, r, err = u.store().GoBack(st, n, u.Clock.Now().UTC(), u.lacks, force)
		return st, err
	})
	if err != nil {
		return r, err
	}
	u.endTrial()
	u.emit(event.WentBack, "from", fmt.Sprint(r.Left.Number), "to", fmt.Sprint(r.Back.Number), "what", r.String())
	return r, u.showBack(ctx, r.Left, r.Back)
}

// showBack brings engines in line with a rollback that is committed.
func (u *Updater) showBack(ctx context.Context, left, back rollback.Generation) error {
	for name := range left.Bases { // what another generation does not have, the operator gave up
		if e, ok := u.Engines[name]; ok && back.Bases[name].Dir == "" {
			u.engineFailed(name, "deliver", e.MarkFirst(true))
		}
	}
	err := u.show(ctx, back)
	for _, name := range back.Changed(left) {
		err = errors.Join(err, u.take(ctx, name, back, left))
	}
	return errors.Join(err, u.pruneNow())
}
