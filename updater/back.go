package updater

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/rollback"
)

// RollBack returns bases (none named: all) to the version before, without the
// network. The version left, and all below it that the repository may offer,
// are held back until a newer one comes or [Updater.Release] is called.
func (u *Updater) RollBack(ctx context.Context, names []string) ([]Change, error) {
	if _, err := u.Start(ctx); err != nil {
		return nil, err
	}
	_, now, err := u.load()
	if err != nil {
		return nil, err
	}
	all := len(names) == 0
	if all {
		names = slices.Sorted(maps.Keys(now.Bases))
	}
	var changes []Change
	var gone []rollback.Withdrawn
	refs := map[string]rollback.Ref{}
	for _, name := range names {
		ref, err := u.before(now, name)
		if err != nil && all {
			continue
		}
		if err != nil {
			return nil, err
		}
		refs[name] = ref
		left := now.Bases[name].Version
		changes = append(changes, Change{Name: name, From: left, To: ref.Version})
		gone = append(gone, rollback.Withdrawn{Base: name, Version: left, At: u.Clock.Now().UTC(), Reason: "rolled back by an operator", ByHand: true, Keys: now.Bases[name].Keys})
	}
	if len(refs) == 0 {
		return nil, errors.New("no base has a version before to go back to")
	}
	gen := now.With(refs)
	gen.Why, gen.Made = "rollback", u.Clock.Now().UTC()
	gen.Number = 0
	_, err = u.change(func(st rollback.State) (rollback.State, error) {
		return u.settleBases(st.Withdraw(gone...), gen)
	})
	if err != nil {
		return nil, err
	}
	return changes, u.tell(ctx, now, changes)
}

// before finds the version to go back to, present on disk.
func (u *Updater) before(now rollback.Generation, name string) (rollback.Ref, error) {
	installed, ok := now.Bases[name]
	if !ok {
		return rollback.Ref{}, fmt.Errorf("base %q is not installed", name)
	}
	ref, ok := rollback.Before(now, name, u.store().Generations())
	if !ok || !u.present(name, ref) {
		return ref, fmt.Errorf("base %q has no version before %d on this machine", name, installed.Version)
	}
	return ref, nil
}

// tell brings engines and events in line with a rollback that is committed.
func (u *Updater) tell(ctx context.Context, left rollback.Generation, changes []Change) error {
	st, gen, err := u.load()
	if err != nil {
		return err
	}
	err = u.show(ctx, gen)
	for _, c := range changes {
		err = errors.Join(err, u.take(ctx, c.Name, gen, left))
		u.emit(event.BaseRolledBack, "base", c.Name, "from", fmt.Sprint(c.From), "to", fmt.Sprint(c.To), "error", "by an operator")
	}
	return errors.Join(err, u.prune(st))
}

// Release lets the versions of a base that are held back be installed again,
// and says which they are.
func (u *Updater) Release(_ context.Context, name string) ([]rollback.Withdrawn, error) {
	if err := bases.CheckName(name); err != nil {
		return nil, err
	}
	var out []rollback.Withdrawn
	_, err := u.change(func(st rollback.State) (rollback.State, error) {
		st, out = st.Release(name)
		if len(out) == 0 {
			return st, fmt.Errorf("base %q has no version that is held back", name)
		}
		return st, nil
	})
	if err != nil {
		return nil, err
	}
	for _, w := range out {
		u.emit(event.BaseReleased, "base", name, "version", fmt.Sprint(w.Version))
	}
	return out, nil
}

// withdraw quarantines a version that was refused before any switch.
func (u *Updater) withdraw(w rollback.Withdrawn) (rollback.State, error) {
	w.At = u.Clock.Now().UTC()
	return u.change(func(st rollback.State) (rollback.State, error) { return st.Withdraw(w), nil })
}
