package publish

import (
	"slices"

	"github.com/freshet/freshet/bases"
)

// bundleBlobs lists what a bundle holds of a base. From any version (from 0)
// that is the full image, the deltas to the newest version, and those to
// checkpoints and milestones as far as they are together no larger than the full
// image. From a given version it is what leads from there and later; the full
// image only where it is no larger than that, since agents may prefer it.
func (r *Repository) bundleBlobs(m *bases.Manifest, from int64) ([]bases.Blob, error) {
	if from >= m.Version {
		return nil, nil
	}
	way := &wayOut{from: from, reached: map[int64]bool{m.Version: true}}
	if from == 0 {
		way.blobs = append(way.blobs, m.Full)
		way.room = m.Full.Size
	}
	if m.Index == nil {
		way.deltas(m.Version, m.Deltas)
		return way.done(m)
	}
	h, _, err := r.history(m)
	if err != nil {
		return nil, err
	}
	way.known = h.images
	way.blobs = append(way.blobs, *m.Index)
	way.deltas(m.Version, h.deltas)
	for _, c := range slices.Backward(h.checkpoints) {
		if c.Far == nil || c.Version <= from {
			continue
		}
		far, err := r.far(m.Name, c)
		if err != nil {
			return nil, err
		}
		way.far(c, far)
	}
	return way.done(m)
}

// wayOut gathers the blobs that lead from a version on.
type wayOut struct {
	from    int64
	room    int64 // left for far deltas in bytes, if from is 0
	blobs   []bases.Blob
	reached map[int64]bool // versions from which these blobs lead to the newest
	known   []image        // versions that an endpoint may have, as far as is known
}

// deltas takes those that lead to a version from one that counts.
func (w *wayOut) deltas(to int64, deltas []bases.Delta) {
	for _, d := range deltas {
		if d.From < w.from {
			continue
		}
		if !slices.Contains(w.blobs, d.Blob) { // versions with one image share them
			w.blobs = append(w.blobs, d.Blob)
		}
		if w.reached[to] {
			w.reached[d.From] = true
		}
	}
}

// far takes a far index and its deltas, if there is room.
func (w *wayOut) far(c bases.Checkpoint, x *bases.FarIndex) {
	if w.from == 0 {
		size := c.Far.Size
		if x.On != nil {
			size += x.On.Delta.Size
		}
		for _, d := range x.Deltas {
			size += d.Size
		}
		if size > w.room {
			w.room = 0 // the older ones would leave a gap
			return
		}
		w.room -= size
	}
	w.blobs = append(w.blobs, *c.Far)
	if x.On != nil {
		w.deltas(x.On.Version, []bases.Delta{{From: c.Version, Blob: x.On.Delta}})
	}
	w.deltas(c.Version, x.Deltas)
}

// leavesOut says whether an endpoint at a later version than the one asked for
// may find no way in the blobs, or not look for it: an index that is no smaller
// than the full image is not fetched.
func (w *wayOut) leavesOut(m *bases.Manifest) bool {
	return m.Index != nil && m.Index.Size >= m.Full.Size ||
		slices.ContainsFunc(w.known, func(v image) bool { return v.Version > w.from && !w.reached[v.Version] })
}

// done gives the blobs, and refuses a bundle that the version asked for cannot
// begin at.
func (w *wayOut) done(m *bases.Manifest) ([]bases.Blob, error) {
	if w.from == 0 {
		return w.blobs, nil
	}
	var size int64
	for _, b := range w.blobs {
		size += b.Size
	}
	if m.Whole() <= size || w.reached[w.from] && w.leavesOut(m) {
		w.blobs = append(w.blobs, m.Full)
		if d := m.FromStart(); d != nil && !slices.Contains(w.blobs, d.Blob) {
			w.blobs = append(w.blobs, d.Blob)
		}
		return w.blobs, nil
	}
	if w.reached[w.from] {
		return w.blobs, nil
	}
	return nil, refuse("leave --from away: the bundle then has the full image",
		"no deltas lead from version %d of base %s to version %d", w.from, m.Name, m.Version)
}
