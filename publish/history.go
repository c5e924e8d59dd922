package publish

import (
	"slices"
	"time"

	"github.com/freshet/freshet/bases"
)

const (
	lastVersions    = 24 // from as many versions before it a delta leads to a new version
	lastCheckpoints = 30 // and, if it is a checkpoint, from as many checkpoints
	inManifest      = 4  // as many deltas stand in the manifest itself
)

// history is what a publisher knows of a base: the images that it makes the
// next deltas from, and the deltas to the newest version and to the newest
// checkpoint. The zero history has no version.
type history struct {
	images      []image       // ascending; the last one is the newest version's, with its full image
	deltas      []bases.Delta // to the newest version, newest first, those in the manifest too
	checkpoints []bases.Checkpoint
}

// checkpoint says whether the version published at now is to be a checkpoint:
// the first one of a UTC day, or the 24th since the last checkpoint.
func (h history) checkpoint(before, now time.Time) bool {
	if len(h.images) == 0 || before.UTC().Format(time.DateOnly) != now.UTC().Format(time.DateOnly) {
		return true
	}
	since := 1
	for _, v := range slices.Backward(h.images) {
		if v.Version <= h.newestCheckpoint() {
			break
		}
		since++
	}
	return since >= lastVersions
}

// newestCheckpoint is its version, or 0.
func (h history) newestCheckpoint() int64 {
	if len(h.checkpoints) == 0 {
		return 0
	}
	return h.checkpoints[len(h.checkpoints)-1].Version
}

// last gives the versions from which a delta leads to the next one in any case.
func (h history) last() []image { return h.images[max(0, len(h.images)-lastVersions):] }

// kept gives the checkpoints that stay beside a new one.
func (h history) kept() []bases.Checkpoint {
	return h.checkpoints[max(0, len(h.checkpoints)-lastCheckpoints):]
}

// sources gives the versions from which deltas lead to the next one, newest first.
func (h history) sources(checkpoint bool) []image {
	from := slices.Clone(h.last())
	if checkpoint {
		for _, c := range h.kept() {
			if v, ok := find(h.images, c.Version); ok && !slices.Contains(from, v) {
				from = append(from, v)
			}
		}
	}
	slices.SortFunc(from, func(a, b image) int { return int(b.Version - a.Version) })
	return from
}

func find(list []image, version int64) (image, bool) {
	for _, v := range list {
		if v.Version == version {
			return v, true
		}
	}
	return image{}, false
}

// between gives those of made, newest first, that lead from one of the last versions.
func (h history) between(made []bases.Delta) []bases.Delta {
	var near []bases.Delta
	for _, d := range made {
		if _, ok := find(h.last(), d.From); ok {
			near = append(near, d)
		}
	}
	return near
}

// next is h with a new version and the deltas made to it, newest first. For a
// checkpoint far is its far index, if it has one. It drops what no agent needs
// any more and no delta is made from.
func (h history) next(v image, checkpoint bool, made []bases.Delta, far *bases.Blob) history {
	n := history{deltas: h.between(made), checkpoints: h.checkpoints}
	if checkpoint {
		n.checkpoints = nil
		for _, c := range h.kept() {
			c.Delta = nil
			for _, d := range made {
				if d.From == c.Version {
					c.Delta = &d.Blob
				}
			}
			n.checkpoints = append(n.checkpoints, c)
		}
		n.checkpoints = append(n.checkpoints, bases.Checkpoint{Version: v.Version, Far: far})
	}
	n.images = append(h.stay(n.checkpoints), v)
	return n
}

// stay gives the images that stay beside a new version: the last ones, those of
// the checkpoints, and what these are built from.
func (h history) stay(checkpoints []bases.Checkpoint) []image {
	if len(h.images) == 0 {
		return nil
	}
	all := slices.Clone(h.images)
	newest := len(all) - 1
	all[newest] = h.supersede(all[newest])
	need := map[int64]bool{}
	for _, c := range checkpoints {
		need[c.Version] = true
	}
	first := h.last()[0].Version
	var kept []image
	for _, v := range slices.Backward(all) {
		if v.Version >= first || need[v.Version] {
			need[v.Base] = true
			kept = append(kept, v)
		}
	}
	slices.Reverse(kept)
	return kept
}

// nearest gives those deltas that the newest version's manifest carries.
func (h history) nearest() []bases.Delta {
	oldest := int64(0)
	if i := len(h.images) - 1 - inManifest; i >= 0 {
		oldest = h.images[i].Version
	}
	i := 0
	for i < len(h.deltas) && h.deltas[i].From >= oldest {
		i++
	}
	return h.deltas[:i]
}

// index is the delta index of the newest version.
func (h history) index(name string, list bases.Blob) *bases.Index {
	newest := h.images[len(h.images)-1]
	x := &bases.Index{
		Type: "index", Name: name, Version: newest.Version, Deltas: h.deltas[len(h.nearest()):],
		Checkpoints: h.checkpoints, Images: &list,
	}
	if v, ok := find(h.images, h.newestCheckpoint()); ok {
		x.Checkpoint = &v.IndexVersion
	}
	return x
}

// farIndex is that of a new checkpoint, given the deltas made to it; nil if
// none leads to it from the last versions.
func (h history) farIndex(name string, v image, made []bases.Delta) *bases.FarIndex {
	near := h.between(made)
	if len(near) == 0 {
		return nil
	}
	return &bases.FarIndex{Type: "far-index", Name: name, IndexVersion: v.IndexVersion, Deltas: near}
}

// began is the history of a base of which only the manifest is known.
func began(m *bases.Manifest) history {
	return history{images: []image{imageOf(m)}, checkpoints: []bases.Checkpoint{{Version: m.Version}}}
}

func imageOf(m *bases.Manifest) image {
	return image{IndexVersion: bases.IndexVersion{Version: m.Version, Size: m.Image.Size, SHA256: m.Image.SHA256}, Full: m.Full}
}
