package updater

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/modules"
)

// moduleStep is a way to a release, of one step: a delta, or the full image.
type moduleStep struct {
	bases.Blob
	old string // folder of the slot that it starts from; "": the full image
}

// slotDir is the folder of a slot.
func (u *Updater) slotDir(name, dir string) string {
	return filepath.Join(u.Dir, "modules", name, dir)
}

// fetchModule brings a release into its slot, whole and synced, with its
// manifest. Nothing refers to the slot yet.
func (u *Updater) fetchModule(ctx context.Context, o *offer, j *moduleJob, r *reporter) error {
	m := j.manifest
	if err := u.storeManifest(j.hash, j.data); err != nil {
		return err
	}
	if u.checkSlot(ctx, m) == nil {
		return u.dropModuleParts(m) // a run that was killed may have left them
	}
	ways := u.moduleWays(m)
	for i, step := range ways {
		if err := u.thriftyModule(j, step, i); err != nil {
			return err
		}
		if err := u.admit(u.moduleDemand(m, step)); err != nil {
			return err
		}
		r.phase(PhaseFetch, m.Name)
		err := u.takeStep(ctx, o, m, step, r)
		if wrong := errors.Is(err, errNotSigned); step.old == "" && (wrong || i > 0 && err == nil) {
			u.fullSpent(moduleSpending(m.Name), wrong)
		}
		var content *contentError
		var refused *refusedError
		if err == nil || errors.As(err, &refused) {
			return errors.Join(err, u.dropModuleParts(m))
		}
		if !errors.As(err, &content) || i == len(ways)-1 {
			return err
		}
		u.note(fmt.Sprintf("module %s: a delta to %s failed, the next best way is taken: %v", m.Name, m.Version, err))
	}
	return nil
}

// moduleWays are the ways to a release in the order to try: the cheapest
// deltas from slots at hand, then the full image.
func (u *Updater) moduleWays(m *modules.Manifest) []moduleStep {
	have := u.slotsAtHand(m.Name)
	var ways []moduleStep
	for _, d := range m.Deltas {
		if dir, ok := have[d.Image.String()]; ok && d.Size < m.Full.Size {
			ways = append(ways, moduleStep{d.Blob, dir})
		}
	}
	slices.SortStableFunc(ways, func(a, b moduleStep) int { return cmp.Compare(a.Size, b.Size) })
	return append(ways[:min(len(ways), maxWays-1)], moduleStep{Blob: m.Full})
}

// slotsAtHand maps the images of a module that are on disk to their folders.
func (u *Updater) slotsAtHand(name string) map[string]string {
	have := map[string]string{}
	all, _ := u.store().Generations() // without them a delta is not found: that costs a download
	for _, g := range all {
		slot, ok := g.Modules[name]
		dir := u.slotDir(name, slot.Dir)
		if ok && slot.Image != "" && !u.damaged[dir] {
			have[slot.Image] = dir
		}
	}
	for _, m := range u.availableManifests() {
		if m.Name == name && !u.damaged[u.slotDir(name, m.Dir())] {
			have[m.Image.SHA256.String()] = u.slotDir(name, m.Dir())
		}
	}
	for image, dir := range have {
		if _, err := os.Stat(dir); err != nil {
			delete(have, image)
		}
	}
	return have
}

// takeStep fetches a step and makes the slot by it: built under a temporary
// name, its hash checked, synced, and only then given its name.
func (u *Updater) takeStep(ctx context.Context, o *offer, m *modules.Manifest, step moduleStep, r *reporter) (err error) {
	blob, err := u.blob(ctx, o.source, step.Blob, func(int64) {})
	if err != nil {
		return err
	}
	r.phase(PhaseAssemble, m.Name)
	old, err := openSlot(step.old)
	if err != nil {
		return &contentError{err}
	}
	defer old.close()
	tmp := filepath.Join(u.tmp(), m.Name+"-"+m.Dir()+".slot")
	if err := u.makeEmpty(tmp); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			u.Disk.RemoveAll(tmp)
		}
	}()
	if err := u.buildSlot(ctx, tmp, m, blob, old); err != nil {
		return err
	}
	final := u.slotDir(m.Name, m.Dir())
	if err := u.Disk.MkdirAll(filepath.Dir(final), 0o755); err != nil {
		return err
	}
	if _, err := os.Lstat(final); err == nil { // there, but not whole: programs may run from it all the same
		if err := u.Disk.Exchange(tmp, final); err != nil {
			return err
		}
		return u.Disk.RemoveAll(tmp)
	}
	return u.Disk.Rename(tmp, final)
}

func openSlot(dir string) (*oldImage, error) {
	if dir == "" {
		return &oldImage{ReaderAt: empty{}, close: func() {}}, nil
	}
	r, err := bases.NewImage(dir)
	if err != nil {
		return nil, err
	}
	return &oldImage{ReaderAt: r, size: r.Size(), close: func() { r.Close() }, tree: r, dir: dir}, nil
}

func (u *Updater) buildSlot(ctx context.Context, tmp string, m *modules.Manifest, blob string, old *oldImage) error {
	disk, failed := watched(u.Disk)
	b := bases.NewBuilder(disk, tmp, &bases.Manifest{Image: m.Image}, old.tree, old.dir)
	b.ReadOnly = true
	if err := u.patch(ctx, &building{b, failed}, old, blob, m.Image.Size, m.Image.SHA256); err != nil {
		b.Abort()
		return err
	}
	if _, err := b.Finish(); err != nil {
		if *failed == nil && !isLocal(err) {
			return &refusedError{err} // the image is the one signed, and is not well formed
		}
		return err
	}
	for _, p := range m.Programs {
		st, err := os.Lstat(filepath.Join(tmp, filepath.FromSlash(p)))
		if err != nil || !st.Mode().IsRegular() || st.Mode().Perm()&0o100 == 0 {
			return refuse("its program %s is not there, or cannot be executed", p)
		}
	}
	return nil
}

// checkSlot reads a slot back and holds it against its signed hash.
func (u *Updater) checkSlot(ctx context.Context, m *modules.Manifest) error {
	r, err := bases.OpenVersion(u.slotDir(m.Name, m.Dir()), m.Image)
	if err != nil {
		return err
	}
	defer r.Close()
	sum, err := r.Sum(ctx)
	if err == nil && sum != m.Image.SHA256 {
		err = fmt.Errorf("its SHA-256 is %s, signed is %s", sum, m.Image.SHA256)
	}
	return err
}

// syncSlots makes the names of slots durable: a run that was killed may have
// left them in the page cache alone.
func (u *Updater) syncSlots(names []string) error {
	for _, name := range names {
		if err := u.Disk.SyncDir(filepath.Join(u.Dir, "modules", name)); err != nil {
			return err
		}
	}
	return errors.Join(u.Disk.SyncDir(filepath.Join(u.Dir, "modules")), u.Disk.SyncDir(filepath.Join(u.Dir, "manifests")))
}

// moduleDemand is what a release adds to the disk by a step.
func (u *Updater) moduleDemand(m *modules.Manifest, step moduleStep) demand {
	return demand{kind: "module", name: m.Name, need: m.Image.Size + max(0, step.Size-size(u.partPath(step.Blob)))}
}

func moduleSpending(name string) string { return "module." + name }

// thriftyModule is thrifty for modules.
func (u *Updater) thriftyModule(j *moduleJob, step moduleStep, failed int) error {
	if !j.thrifty || step.old != "" || checkBlob(u.partPath(step.Blob), step.Blob) == nil {
		return nil
	}
	return u.spentLately(moduleSpending(j.manifest.Name), failed+1)
}

func (u *Updater) dropModuleParts(m *modules.Manifest) error {
	for _, b := range moduleBlobs(m) {
		if err := u.Disk.RemoveAll(u.partPath(b)); err != nil {
			return err
		}
	}
	return nil
}

// moduleBlobs lists all that may be fetched for a release.
func moduleBlobs(m *modules.Manifest) []bases.Blob {
	blobs := []bases.Blob{m.Full}
	for _, d := range m.Deltas {
		blobs = append(blobs, d.Blob)
	}
	return blobs
}
