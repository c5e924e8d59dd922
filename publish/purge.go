package publish

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/internal/delta"
)

// Purged is what Purge did, or would.
type Purged struct {
	Name     string  `json:"name"`
	Versions []int64 `json:"versions"` // those asked for, and those with the same content
	Images   int     `json:"images"`   // of other versions that are kept another way now
	Signed   bool    `json:"signed"`   // the metadata was signed anew; false: it named none of them
	Pruned
}

// Purge takes versions of a base out of the repository at once: their images, and
// each delta to or from them. If it returns nil, no file here leads to their
// content, even after power loss. On an error, or killed, it may have done a
// part; the same call completes it. Everything superseded goes with it,
// whatever its age: agents in the middle of an update begin again. The newest
// version cannot be purged. With dry nothing is changed, and no files are listed.
func (r *Repository) Purge(ctx context.Context, name string, versions []int64, dry bool) (*Purged, error) {
	lock, st, ring, err := r.beginSigning(ctx)
	if err != nil {
		return nil, err
	}
	defer lock.Unlock()
	r.tellClock(st)
	if err := ring.check(st, roleBases, "snapshot", "timestamp"); err != nil {
		return nil, err
	}
	m, err := r.manifest(st, name)
	if err != nil {
		return nil, err
	}
	if m == nil {
		return nil, refuse("freshet-publish show "+r.Dir+" lists them", "there is no base %s", name)
	}
	h, lost, err := r.past(m)
	if err != nil {
		return nil, err
	}
	for _, text := range lost {
		r.warn("%s", text)
	}
	p := &purge{base: name, release: &release{repo: r, history: h, version: imageOf(m), images: &builder{repo: r, list: h.images}}}
	if err := p.choose(m, versions); err != nil {
		return nil, err
	}
	done := &Purged{Name: name, Versions: p.gone, Pruned: Pruned{Files: []string{}}}
	for _, v := range h.images {
		if !p.isGone(v.Version) && p.builtThrough(v) {
			done.Images++
		}
	}
	if done.Signed, err = p.named(); err != nil || dry {
		return done, err
	}
	if done.Signed {
		if err := p.sign(ctx, st, ring, m); err != nil {
			return nil, err
		}
	}
	if st, err = r.load(time.Time{}); err != nil { // what counts is what was signed
		return nil, err
	}
	files, err := r.sweep(ctx, st, 0, false)
	if err != nil {
		return nil, err
	}
	done.Pruned = *files
	return done, nil
}

// purge is one call of Purge.
type purge struct {
	*release
	base string
	gone []int64 // ascending
}

// choose fills gone.
func (p *purge) choose(m *bases.Manifest, versions []int64) error {
	var sums []bases.Hash
	for _, v := range p.history.images {
		if slices.Contains(versions, v.Version) {
			sums = append(sums, v.SHA256)
		}
	}
	p.gone = slices.Clone(versions)
	for _, v := range p.history.images {
		if slices.Contains(sums, v.SHA256) {
			p.gone = append(p.gone, v.Version)
		}
	}
	slices.Sort(p.gone)
	p.gone = slices.Compact(p.gone)
	switch {
	case len(versions) == 0 || p.gone[0] < 1:
		return refuse("", "versions begin with 1")
	case slices.Max(versions) > m.Version:
		return refuse("", "base %s is at version %d, there is no %d", m.Name, m.Version, slices.Max(versions))
	case p.isGone(m.Version):
		return refuse("publish one without what must go, freshet-publish base "+p.repo.Dir+" "+m.Name+" PATH, then purge again",
			"the content to purge is that of version %d, the newest", m.Version)
	}
	return nil
}

func (p *purge) isGone(version int64) bool {
	_, ok := slices.BinarySearch(p.gone, version)
	return ok
}

// builtThrough says whether the image of v is made from one that goes.
func (p *purge) builtThrough(v image) bool {
	return slices.ContainsFunc(chain(p.history.images, v), func(s image) bool { return p.isGone(s.Version) })
}

// named says whether anything that is signed leads to or from what goes.
func (p *purge) named() (bool, error) {
	h := p.history
	if slices.ContainsFunc(h.images, func(v image) bool { return p.isGone(v.Version) }) ||
		slices.ContainsFunc(h.deltas, func(d bases.Delta) bool { return p.isGone(d.From) }) {
		return true, nil
	}
	for _, c := range h.checkpoints {
		_, changed, err := p.far(c)
		if err != nil || changed || p.isGone(c.Version) {
			return true, err
		}
	}
	return false, nil
}

// far gives the far index of a checkpoint without what goes, and whether that
// changed it.
func (p *purge) far(c bases.Checkpoint) (*bases.FarIndex, bool, error) {
	x, err := p.repo.far(p.base, c)
	if x == nil || err != nil {
		return nil, false, err
	}
	n := len(x.Deltas)
	x.Deltas = slices.DeleteFunc(x.Deltas, func(d bases.Delta) bool { return p.isGone(d.From) })
	changed := len(x.Deltas) != n
	if x.On != nil && p.isGone(x.On.Version) {
		x.On, changed = nil, true
	}
	return x, changed, nil
}

// sign has the newest version, which stays what it is, lead to nothing that goes.
func (p *purge) sign(ctx context.Context, st *state, ring keyring, before *bases.Manifest) error {
	m := *before
	h := history{deltas: slices.DeleteFunc(slices.Clone(p.history.deltas), func(d bases.Delta) bool { return p.isGone(d.From) })}
	var err error
	if h.images, err = p.rebuild(ctx); err != nil {
		return err
	}
	if h.checkpoints, err = p.checkpoints(h.images); err != nil {
		return err
	}
	if newest := h.images[len(h.images)-1]; newest.Base == 0 {
		m.Full, m.Start = newest.Full, nil
	}
	m.Deltas = h.nearest()
	if err := p.repo.putHistory(h, &m); err != nil {
		return err
	}
	// A blob found in place may have been renamed by a run that was killed.
	if err := p.repo.Disk.SyncDir(p.repo.path("blobs")); err != nil {
		return err
	}
	if err := p.repo.putManifest(st, &m); err != nil {
		return err
	}
	return p.repo.commit(st, ring, roleBases)
}

// rebuild gives the images that stay. One that is built from what goes is kept as
// the delta back from the newest, and the newest as a full image.
func (p *purge) rebuild(ctx context.Context) ([]image, error) {
	all := p.history.images
	newest := all[len(all)-1]
	data, err := p.images.build(ctx, newest)
	if err != nil {
		return nil, fmt.Errorf("building the image of version %d: %w", newest.Version, err)
	}
	p.image, p.version = data, newest
	if p.builtThrough(newest) {
		p.repo.report("compressing the full image")
		full, err := makeDelta(ctx, nil, data, delta.Options{})
		if err == nil {
			p.version.Full, err = p.repo.putBlob(full)
		}
		if err != nil {
			return nil, fmt.Errorf("full image: %w", err)
		}
		p.version.Base = 0
	}
	var kept []image
	for _, v := range all[:len(all)-1] {
		switch {
		case p.isGone(v.Version):
			continue
		case !p.builtThrough(v):
		case v.SHA256 == newest.SHA256:
			v.Full, v.Base = p.version.Full, p.version.Base
		default:
			if v, err = p.fromNewest(ctx, v); err != nil {
				return nil, err
			}
		}
		if v.Full.Size > 0 {
			kept = append(kept, v)
		}
	}
	return append(kept, p.version), nil
}

// fromNewest gives v as the delta back from the newest version; without a blob
// where its image is lost, with a warning.
func (p *purge) fromNewest(ctx context.Context, v image) (image, error) {
	img, err := p.images.build(ctx, v)
	if ctx.Err() != nil {
		return v, ctx.Err()
	}
	if err != nil {
		p.repo.warn("no delta will lead on from version %d: its image is lost: %v", v.Version, err)
		v.Full = bases.Blob{}
		return v, nil
	}
	p.repo.report("making the delta back to version %d", v.Version)
	patch, err := makeDelta(ctx, p.image, img, p.options(false))
	if err != nil {
		return v, fmt.Errorf("delta back to version %d: %w", v.Version, err)
	}
	v.Base = p.version.Version
	v.Full, err = p.repo.putBlob(patch)
	return v, err
}

// checkpoints gives those that stay, of which the images are kept.
func (p *purge) checkpoints(kept []image) ([]bases.Checkpoint, error) {
	var all []bases.Checkpoint
	for _, c := range p.history.checkpoints {
		if _, ok := find(kept, c.Version); !ok {
			continue
		}
		x, changed, err := p.far(c)
		if err != nil {
			return nil, err
		}
		if changed {
			c.Far = nil
			if len(x.Deltas) > 0 || x.On != nil {
				c.Far, err = p.repo.putFar(x)
			}
		}
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}
