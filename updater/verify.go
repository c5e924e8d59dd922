package updater

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/rollback"
)

// Installed lists the bases of the current generation, by name. It needs no
// lock. A base whose stored manifest is damaged is listed with what the
// generation knows of it.
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
			m = &bases.Manifest{Name: name, Version: ref.Version, Published: ref.Published, Stale: bases.DefaultThresholds}
		}
		list = append(list, Installed{Name: name, Ref: ref, Manifest: m, Path: u.versionDir(name, currentLink)})
	}
	return list, st, nil
}

// Shown lists the versions that the links which engines read lead to: what is in
// use, as far as it is known, where the state cannot be read.
func (u *Updater) Shown() []Installed {
	list := []Installed{}
	refs := u.fromLinks()
	for _, name := range slices.Sorted(maps.Keys(refs)) {
		if m, err := u.storedManifest(name, refs[name]); err == nil {
			list = append(list, Installed{Name: name, Ref: refs[name], Manifest: m, Path: u.versionDir(name, currentLink)})
		}
	}
	return list
}

// kept is a version of a base that a kept generation names.
type kept struct {
	name string
	ref  rollback.Ref
	err  error // what is wrong with it
}

// versions lists what the kept generations name, the current one's first.
func (u *Updater) versions(names []string) ([]*kept, error) {
	st, now, err := u.load()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if _, ok := now.Bases[name]; !ok {
			return nil, fmt.Errorf("base %q is not installed", name)
		}
	}
	var list []*kept
	seen := map[string]bool{}
	add := func(g rollback.Generation, wanted bool) {
		for _, name := range slices.Sorted(maps.Keys(g.Bases)) {
			ref := g.Bases[name]
			if seen[name+"/"+ref.Dir] || len(names) > 0 && !slices.Contains(names, name) {
				continue
			}
			if !wanted && u.gone(name, ref.Dir) { // given up for want of room
				continue
			}
			seen[name+"/"+ref.Dir] = true
			list = append(list, &kept{name: name, ref: ref})
		}
	}
	add(now, true)
	all, err := u.store().Generations()
	if err != nil {
		return nil, err
	}
	slices.Reverse(all)
	for _, g := range all {
		if slices.Contains(st.Keep(all), g.Number) {
			add(g, g.Number == st.Good)
		}
	}
	return list, nil
}

// Verify reads installed versions (none named: of all bases) back and holds
// them against their signed hashes: those in use first, then those that are
// kept to go back to, which share files with them.
func (u *Updater) Verify(ctx context.Context, names []string, progress func(Progress)) ([]Verified, error) {
	list, err := u.verify(ctx, names, &reporter{to: progress})
	out := []Verified{}
	for _, k := range list {
		v := Verified{Name: k.name, Version: k.ref.Version}
		if k.err != nil {
			v.Error = k.err.Error()
		}
		out = append(out, v)
	}
	return out, err
}

func (u *Updater) verify(ctx context.Context, names []string, r *reporter) ([]*kept, error) {
	list, err := u.versions(names)
	if err != nil {
		return nil, err
	}
	for i, k := range list {
		if ctx.Err() != nil {
			return list[:i], context.Cause(ctx)
		}
		r.phase(PhaseCheck, k.name)
		if k.err = u.check(ctx, k); ctx.Err() != nil {
			return list[:i], context.Cause(ctx)
		}
		if k.err != nil {
			u.emit(event.BaseDamaged, "base", k.name, "version", fmt.Sprint(k.ref.Version), "error", k.err.Error())
		}
	}
	return list, nil
}

func (u *Updater) check(ctx context.Context, k *kept) error {
	m, err := u.storedManifest(k.name, k.ref)
	if err != nil {
		return fmt.Errorf("its manifest: %w", err)
	}
	r, err := bases.OpenVersion(u.versionDir(k.name, k.ref.Dir), m.Image)
	if err != nil {
		return err
	}
	defer r.Close()
	sum, err := r.Sum(ctx)
	if err != nil {
		return err
	}
	if sum != m.Image.SHA256 {
		return fmt.Errorf("its SHA-256 is %s, signed is %s", sum, m.Image.SHA256)
	}
	return nil
}

// Repair verifies, and fetches again what is damaged: by deltas from versions
// that are whole where that is cheaper, else whole. Files of a tree that are
// still right are not written again. The versions found are as in Verify, with
// an error for what is still damaged. Leftovers of broken runs are removed first.
func (u *Updater) Repair(ctx context.Context, names []string, progress func(Progress)) ([]Verified, error) {
	defer u.closeIdle()
	r := &reporter{to: progress}
	list, err := u.verify(ctx, names, r)
	if err != nil {
		return nil, err
	}
	// What a broken repair left takes the room that this one needs. A disk that
	// cannot even be cleared is told of at the end: some may be mended still.
	cleared := u.clear()
	if err := u.holdOn(list); err != nil {
		return nil, err
	}
	u.damaged = map[string]bool{}
	defer func() { u.damaged = nil }()
	for _, k := range list {
		if k.err != nil {
			u.damaged[u.versionDir(k.name, k.ref.Dir)] = true
		}
	}
	st, err := u.store().Load()
	if err != nil {
		return nil, err
	}
	needed, err := u.needed(st)
	if err != nil {
		return nil, err
	}
	out := []Verified{}
	var changed []string
	for _, k := range list {
		inUse := needed[u.versionDir(k.name, k.ref.Dir)]
		if !inUse && u.gone(k.name, k.ref.Dir) { // given up for a repair before it
			continue
		}
		v := Verified{Name: k.name, Version: k.ref.Version}
		if k.err != nil {
			if err := u.mend(ctx, k, inUse, r); err != nil {
				v.Error = errors.Join(k.err, fmt.Errorf("and could not be repaired: %w", err)).Error()
			} else {
				v.Repaired = true
				changed = append(changed, k.name)
				delete(u.damaged, u.versionDir(k.name, k.ref.Dir))
				u.emit(event.BaseRepaired, "base", k.name, "version", fmt.Sprint(k.ref.Version))
			}
		}
		out = append(out, v)
		if ctx.Err() != nil {
			return out, context.Cause(ctx)
		}
	}
	return out, errors.Join(u.showAgain(ctx, changed), cleared)
}

// mend obtains one version again and puts it in the place of the damaged one,
// in one step. One that is not in use is kept to go back to alone.
func (u *Updater) mend(ctx context.Context, k *kept, inUse bool, r *reporter) error {
	if len(u.Sources) == 0 {
		return errNoSource
	}
	data, err := u.manifestAgain(ctx, k)
	if err != nil {
		return err
	}
	m, err := bases.ParseManifest(k.name, data)
	if err != nil {
		return err
	}
	j := &job{name: k.name, manifest: m, data: data, have: u.atHand(k.name)}
	if err := j.hash.UnmarshalText([]byte(k.ref.Manifest)); err != nil {
		return err
	}
	j.ways, _ = u.explore(ctx, &offer{source: u.Sources[0]}, m, j.have) // without an index, the full image
	j.steps = cheapest(m, j.ways, j.have, nil)
	if len(j.steps) == 0 { // only the manifest was damaged
		return u.keepManifest(j)
	}
	d := u.demand(j)
	d.spare = !inUse
	if err := u.admit(d); err != nil {
		return err
	}
	r.phase(PhaseFetch, k.name)
	if err := u.obtain(ctx, &offer{source: u.Sources[0]}, j, r); err != nil {
		return err
	}
	return errors.Join(u.keepManifest(j), u.dropParts(j))
}

// holdOn makes the names durable of what is whole: a repair that was killed may
// have put it in place just now.
func (u *Updater) holdOn(list []*kept) error {
	dirs := []string{filepath.Join(u.Dir, "manifests")}
	for _, k := range list {
		dirs = append(dirs, filepath.Dir(u.versionDir(k.name, k.ref.Dir)))
	}
	return u.syncDirs(dirs)
}

// syncDirs syncs folders, once each; some may be gone.
func (u *Updater) syncDirs(dirs []string) error {
	slices.Sort(dirs)
	for _, dir := range slices.Compact(dirs) {
		if err := u.Disk.SyncDir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// manifestAgain gives the manifest of an installed version, fetched by its
// hash if the stored one is damaged.
func (u *Updater) manifestAgain(ctx context.Context, k *kept) ([]byte, error) {
	if data, err := u.readManifest(k.ref.Manifest); err == nil {
		return data, nil
	}
	var hash bases.Hash
	if err := hash.UnmarshalText([]byte(k.ref.Manifest)); err != nil {
		return nil, err
	}
	return u.named(ctx, fmt.Sprintf("targets/bases/%s.%s.json", k.ref.Manifest, k.name), hash)
}

// showAgain tells the engines of bases whose files in use were repaired.
func (u *Updater) showAgain(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return nil
	}
	_, gen, err := u.load()
	if err != nil {
		return err
	}
	err = u.show(ctx, gen)
	for _, name := range slices.Compact(names) {
		err = errors.Join(err, u.take(ctx, name, gen, gen))
	}
	return err
}
