package publish

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/freshet/freshet/bases"
)

// A publisher needs the images of the last 24 versions and of the last
// checkpoints to make deltas from. It keeps few of them whole:
//
//	full ──► checkpoint ──► checkpoint ── … 7 at most … ──► checkpoint    full ──► …
//	              └► version  └► version, version, …
//
// The newest version has its full image, which endpoints fetch. Once it is
// superseded, it is the delta from the checkpoint before it that is kept, which
// was made for endpoints anyway; so 720 versions take the room of a few.
const longestChain = 7

// image is a version that can be built from what the repository keeps.
type image struct {
	bases.IndexVersion
	Full bases.Blob `json:"full"`           // leads to it from the image of version Base
	Base int64      `json:"base,omitempty"` // 0: from nothing
}

// chain lists what v is built from, v first, its full image last. It is nil if
// a version is missing or the chain longer than any that is made.
func chain(list []image, v image) []image {
	way := []image{v}
	for v.Base != 0 {
		base, ok := find(list, v.Base)
		if !ok || base.Version >= v.Version || len(way) > longestChain+1 {
			return nil
		}
		v = base
		way = append(way, v)
	}
	return way
}

// supersede returns v, the newest version until now, as it is kept from now on.
func (h history) supersede(v image) image {
	for _, c := range slices.Backward(h.checkpoints) {
		if c.Version >= v.Version {
			continue
		}
		base, ok := find(h.images, c.Version)
		if !ok {
			return v
		}
		way := chain(h.images, base)
		if way == nil || v.Version == h.newestCheckpoint() && len(way) > longestChain {
			return v
		}
		for _, d := range h.deltas {
			if d.From == base.Version {
				v.Full, v.Base = d.Blob, base.Version
			}
		}
		return v
	}
	return v
}

// A builder makes the images of a list from what is kept. It holds on to the
// last one that others are built from: asked from the oldest version to the
// newest it applies one delta an image.
type builder struct {
	repo *Repository
	list []image

	mu    sync.Mutex // guards the fields below
	base  int64      // the version of bytes
	bytes []byte
}

// build makes the image of a version. The caller does not change it.
func (b *builder) build(ctx context.Context, v image) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	way := chain(b.list, v)
	if way == nil {
		return nil, fmt.Errorf("the image of version %d is built from one that is not kept", v.Version)
	}
	var img []byte
	if i := slices.IndexFunc(way, func(w image) bool { return w.Version == b.base }); i >= 0 {
		img, way = b.bytes, way[:i]
	}
	for _, step := range slices.Backward(way) {
		var err error
		if img, err = b.repo.apply(ctx, img, step.Full, step.Size, step.SHA256); err != nil {
			return nil, err
		}
		if slices.ContainsFunc(b.list, func(w image) bool { return w.Base == step.Version }) {
			b.base, b.bytes = step.Version, img
		}
	}
	return img, nil
}
