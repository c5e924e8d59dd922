package publish

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/freshet/freshet/bases"
)

// A publisher needs the images of the last 24 versions and of the checkpoints to
// make deltas from. It keeps one of them whole, the start, which endpoints fetch
// that have nothing. The versions after it are the deltas from it, which were
// made for endpoints anyway; those before it are built from it backward:
//
//	                  full
//	                    │
//	checkpoint ◄── checkpoint ◄── start ──► version, version, … newest
//	    └──► version    └──► version
//
// A new version whose delta from the start is worth having is kept as that. Any
// other is the next start, and the one before it becomes the delta back to it.

// image is a version that can be built from what the repository keeps.
type image struct {
	bases.IndexVersion
	Full bases.Blob `json:"full"`           // leads to it from the image of version Base
	Base int64      `json:"base,omitempty"` // 0: from nothing
}

// chain lists what v is built from, v first, its full image last. It is nil if
// a version is missing or built from itself.
func chain(list []image, v image) []image {
	way := []image{v}
	for v.Base != 0 {
		base, ok := find(list, v.Base)
		if !ok || len(way) > len(list) {
			return nil
		}
		v = base
		way = append(way, v)
	}
	return way
}

// A builder makes the images of a list from what is kept. It holds on to the
// last one that others are built from: asked from the newest version to the
// oldest it applies one delta an image.
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
