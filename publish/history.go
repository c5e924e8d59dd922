package publish

import (
	"slices"
	"time"

	"github.com/freshet/freshet/bases"
)

const (
	lastVersions    = 24 // from as many versions before it a delta leads to a new version
	lastCheckpoints = 30 // as many checkpoints stay beside a new one
	milestone       = 7  // checkpoints from one milestone to the next
	inManifest      = 3  // as many deltas stand in the manifest itself, and that from its start
)

// history is what a publisher knows of a base: the images that it makes the
// next deltas from, and the deltas to the newest version. The zero history has
// no version.
type history struct {
	images      []image       // ascending; the last one is the newest version's
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

// current gives the checkpoints since the last milestone.
func (h history) current() []bases.Checkpoint {
	i := len(h.checkpoints)
	for i > 0 && !h.checkpoints[i-1].Milestone {
		i--
	}
	return h.checkpoints[i:]
}

// start is the newest version that is kept whole, if there is one.
func (h history) start() (image, bool) {
	for _, v := range slices.Backward(h.images) {
		if v.Base == 0 {
			return v, true
		}
	}
	return image{}, false
}

// shortCut says whether a checkpoint is kept without versions in between: whole,
// by a delta back from the next checkpoint, which is to be v, or from one that is.
func (h history) shortCut(c, v image) bool {
	return c.Base == 0 || c.Base == v.Version ||
		slices.ContainsFunc(h.checkpoints, func(o bases.Checkpoint) bool { return o.Version == c.Base })
}

// sources gives the versions from which deltas lead to the next one, newest
// first: the last ones, the checkpoints since the last milestone, and the
// milestones.
func (h history) sources() []image {
	from := slices.Clone(h.last())
	add := func(c bases.Checkpoint) {
		if v, ok := find(h.images, c.Version); ok && !slices.Contains(from, v) {
			from = append(from, v)
		}
	}
	for _, c := range h.checkpoints {
		if c.Milestone {
			add(c)
		}
	}
	for _, c := range h.current() {
		add(c)
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

// become gives the checkpoints with v as a new one. If that is a milestone,
// lead is asked for the far index of each checkpoint since the last one, which
// now names the delta on to v.
func (h history) become(v image, far *bases.Blob, made []bases.Delta, lead func(bases.Checkpoint, bases.On) *bases.Blob) []bases.Checkpoint {
	current := h.current()
	all := slices.Clone(h.kept())
	c := bases.Checkpoint{Version: v.Version, Far: far, Milestone: len(current) >= milestone-1}
	if c.Milestone {
		first := current[0].Version
		for i, old := range all {
			if d, ok := leads(made, old.Version); ok && old.Version >= first && old.Far != nil {
				all[i].Far = lead(old, bases.On{IndexVersion: v.IndexVersion, Delta: d.Blob})
			}
		}
	}
	return append(all, c)
}

// leads finds the delta from a version.
func leads(deltas []bases.Delta, from int64) (bases.Delta, bool) {
	i := slices.IndexFunc(deltas, func(d bases.Delta) bool { return d.From == from })
	if i < 0 {
		return bases.Delta{}, false
	}
	return deltas[i], true
}

// next is h with a new version, the deltas made to it, newest first, and the
// checkpoints that it then has. What no agent needs any more and no delta is made
// from it drops.
func (h history) next(v image, checkpoints []bases.Checkpoint, made []bases.Delta) history {
	n := history{images: append(slices.Clone(h.images), v), deltas: made, checkpoints: checkpoints}
	need := map[int64]bool{}
	keep := func(v image) {
		for _, step := range chain(n.images, v) {
			need[step.Version] = true
		}
	}
	for _, c := range checkpoints {
		if v, ok := find(n.images, c.Version); ok {
			keep(v)
		}
	}
	for _, v := range slices.Concat(h.last(), []image{v}) {
		keep(v)
	}
	n.images = slices.DeleteFunc(n.images, func(v image) bool { return !need[v.Version] })
	return n
}

// nearest gives those deltas that the newest version's manifest carries: from
// the few versions before it, and from its start.
func (h history) nearest() []bases.Delta {
	oldest := int64(0)
	if i := len(h.images) - 1 - inManifest; i >= 0 {
		oldest = h.images[i].Version
	}
	start, _ := h.start()
	var near []bases.Delta
	for _, d := range h.deltas {
		if d.From >= oldest || d.From == start.Version {
			near = append(near, d)
		}
	}
	return near
}

// index is the delta index of the newest version.
func (h history) index(name string, list bases.Blob) *bases.Index {
	near := h.nearest()
	x := &bases.Index{
		Type: "index", Name: name, Version: h.images[len(h.images)-1].Version, Checkpoints: h.checkpoints, Images: &list,
	}
	for _, d := range h.deltas {
		if !slices.Contains(near, d) {
			x.Deltas = append(x.Deltas, d)
		}
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
	h := history{images: []image{imageOf(m)}, deltas: m.Deltas, checkpoints: []bases.Checkpoint{{Version: m.Version}}}
	if m.Start != nil {
		h.images = []image{{IndexVersion: *m.Start, Full: m.Full}, h.images[0]}
	}
	return h
}

// imageOf is the version of m as it is kept.
func imageOf(m *bases.Manifest) image {
	v := image{IndexVersion: bases.IndexVersion{Version: m.Version, Size: m.Image.Size, SHA256: m.Image.SHA256}, Full: m.Full}
	if d := m.FromStart(); d != nil {
		v.Full, v.Base = d.Blob, d.From
	}
	return v
}
