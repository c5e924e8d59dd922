package updater

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

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
	st, now, err := u.load()
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
		ref, err := u.before(st, now, name)
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
func (u *Updater) before(st rollback.State, now rollback.Generation, name string) (rollback.Ref, error) {
	installed, ok := now.Bases[name]
	if !ok {
		return rollback.Ref{}, fmt.Errorf("base %q is not installed", name)
	}
	kept, err := u.store().Generations()
	if err != nil {
		return rollback.Ref{}, err
	}
	ref, ok := st.Before(now, name, kept)
	if !ok {
		return ref, fmt.Errorf("base %q has no version before %d on this machine, but for those that were rejected", name, installed.Version)
	}
	if err := u.presence(name, ref); err != nil {
		return ref, fmt.Errorf("base %q version %d is not whole on this machine: %w", name, ref.Version, err)
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

// Hold keeps a base at the version that it has, or goes back to version, which
// is kept on this machine, and keeps it there, whatever newer ones come, until
// [Updater.Release]. It gives what changed; to and from are the same if nothing
// but the hold did.
func (u *Updater) Hold(ctx context.Context, name string, version int64) (Change, error) {
	if _, err := u.Start(ctx); err != nil {
		return Change{}, err
	}
	st, now, err := u.load()
	if err != nil {
		return Change{}, err
	}
	ref, ok := now.Bases[name]
	if !ok {
		return Change{}, fmt.Errorf("base %q is not installed", name)
	}
	c := Change{Name: name, From: ref.Version, To: ref.Version}
	at := u.Clock.Now().UTC()
	hold := []rollback.Withdrawn{{Base: name, At: at, Reason: "held by an operator", ByHand: true}}
	if version == 0 || version == ref.Version {
		_, err = u.change(func(st rollback.State) (rollback.State, error) { return st.Withdraw(hold...), nil })
	} else {
		c.To = version
		if ref, err = u.keptVersion(name, version); err != nil {
			return Change{}, err
		}
		if c.From > c.To {
			hold = append(hold, rollback.Withdrawn{Base: name, Version: c.From, Keys: now.Bases[name].Keys, At: at, Reason: "rolled back by an operator", ByHand: true})
		}
		gen := now.With(map[string]rollback.Ref{name: ref})
		gen.Why, gen.Made, gen.Number = "hold", at, 0
		_, err = u.change(func(st rollback.State) (rollback.State, error) {
			return u.settleBases(st.Accept(gen).Withdraw(hold...), gen)
		})
	}
	if err != nil {
		return Change{}, err
	}
	u.emit(event.BaseHeld, "base", name, "version", fmt.Sprint(c.To))
	if c.From == c.To {
		return c, u.prune(st)
	}
	return c, u.tell(ctx, now, []Change{c})
}

// ErrNotKept says that a version of a base is not on this machine.
var ErrNotKept = errors.New("it is not on this machine")

// keptVersion finds a version of a base among the generations that are kept.
func (u *Updater) keptVersion(name string, version int64) (rollback.Ref, error) {
	kept, err := u.store().Generations()
	if err != nil {
		return rollback.Ref{}, err
	}
	var have []string
	for _, g := range kept {
		ref, ok := g.Bases[name]
		if ok && ref.Version == version && u.present(name, ref) {
			return ref, nil
		}
		if text := fmt.Sprint(ref.Version); ok && u.present(name, ref) && !slices.Contains(have, text) {
			have = append(have, text)
		}
	}
	return rollback.Ref{}, fmt.Errorf("base %q version %d: %w; there is %s", name, version, ErrNotKept, strings.Join(have, ", "))
}

// Release lets the versions of a base that are held back be installed again,
// and says which they are. A hold of every version has the version 0.
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
		version := "whatever is newer"
		if w.Version != 0 {
			version = fmt.Sprintf("version %d", w.Version)
		}
		u.emit(event.BaseReleased, "base", name, "version", fmt.Sprint(w.Version), "what", version)
	}
	return out, nil
}

// withdraw quarantines a version that was refused before any switch.
func (u *Updater) withdraw(w rollback.Withdrawn) (rollback.State, error) {
	w.At = u.Clock.Now().UTC()
	return u.change(func(st rollback.State) (rollback.State, error) { return st.Withdraw(w), nil })
}
