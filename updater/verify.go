package updater

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/rollback"
)

// Installed lists the bases of the current generation, by name. It needs no
// lock.
func (u *Updater) Installed() ([]Installed, rollback.State, error) {
	st, gen, err := u.load()
	if err != nil {
		return nil, st, err
	}
	list := []Installed{}
	for _, name := range slices.Sorted(maps.Keys(gen.Bases)) {
		ref := gen.Bases[name]
		m, err := u.storedManifest(name, ref)
		if err != nil {
			return nil, st, fmt.Errorf("base %s: %w", name, err)
		}
		list = append(list, Installed{Name: name, Ref: ref, Manifest: m, Path: u.versionDir(name, currentLink)})
	}
	return list, st, nil
}

// Verify reads installed versions (none named: of all bases) back and holds
// them against their signed hashes.
func (u *Updater) Verify(ctx context.Context, names []string, progress func(Progress)) ([]Verified, error) {
	list, _, err := u.Installed()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if !slices.ContainsFunc(list, func(b Installed) bool { return b.Name == name }) {
			return nil, fmt.Errorf("base %q is not installed", name)
		}
	}
	r := &reporter{to: progress}
	var out []Verified
	for _, b := range list {
		if len(names) > 0 && !slices.Contains(names, b.Name) {
			continue
		}
		if ctx.Err() != nil {
			return out, context.Cause(ctx)
		}
		r.phase(PhaseCheck, b.Name)
		v := Verified{Name: b.Name, Version: b.Ref.Version}
		if err := u.check(b); err != nil {
			v.Error = err.Error()
			u.emit(event.BaseDamaged, "base", b.Name, "version", fmt.Sprint(b.Ref.Version), "error", v.Error)
		}
		out = append(out, v)
	}
	return out, nil
}

func (u *Updater) check(b Installed) error {
	r, err := bases.OpenVersion(u.versionDir(b.Name, b.Ref.Dir), b.Manifest.Image)
	if err != nil {
		return err
	}
	defer r.Close()
	sum, err := r.Sum()
	if err != nil {
		return err
	}
	if sum != b.Manifest.Image.SHA256 {
		return fmt.Errorf("its SHA-256 is %s, signed is %s", sum, b.Manifest.Image.SHA256)
	}
	return nil
}
