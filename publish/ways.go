package publish

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/internal/delta"
)

// apart is the part of a full image that the delta on from it may have: one that
// has nothing fetches both.
const apart = 8

// ways makes what leads to the version: deltas, and a full image if it is a
// checkpoint, or if the delta from the start is not worth having. It sets Full
// and Start of m, and the version as it is kept.
func (r *release) ways(ctx context.Context, m *bases.Manifest, checkpoint bool) (made []bases.Delta, err error) {
	start, ok := r.history.start()
	// What is gone for the most part is not to be fetched by who begins.
	fresh := checkpoint || !ok || start.SHA256 == m.Image.SHA256 || m.Image.Size < start.Size/2 || r.repo.checkBlob(start.Full) != nil
	r.most = start.Full.Size
	if !fresh {
		if made, err = r.deltas(ctx, []image{start}); err != nil {
			return nil, err
		}
		if fresh = len(made) == 0 || made[0].Size*apart > start.Full.Size; !fresh {
			m.Full, m.Start = start.Full, &start.IndexVersion
			r.version.Full, r.version.Base = made[0].Blob, start.Version
		}
	}
	if fresh {
		if err := r.full(ctx, m); err != nil {
			return nil, err
		}
	}
	return r.deltas(ctx, r.history.sources())
}

// full stores the full image, or finds that of the same image published before.
func (r *release) full(ctx context.Context, m *bases.Manifest) error {
	if s, ok := r.history.start(); ok && s.SHA256 == m.Image.SHA256 && r.repo.checkBlob(s.Full) == nil {
		m.Full = s.Full
	} else {
		r.repo.report("compressing the full image")
		data, err := makeDelta(ctx, nil, r.image, delta.Options{})
		if err == nil {
			m.Full, err = r.repo.putBlob(data)
		}
		if err != nil {
			return fmt.Errorf("full image: %w", err)
		}
	}
	r.version.Full, r.most = m.Full, m.Full.Size
	return nil
}

// follow gives the history with the version in it, and stores what that takes:
// the delta back to a start that was, and for a checkpoint its far index and the
// delta back to the checkpoint before it.
func (r *release) follow(ctx context.Context, name string, checkpoint bool, made []bases.Delta) (history, error) {
	h := r.history
	if start, ok := h.start(); ok && r.version.Base == 0 {
		was, err := r.back(ctx, start)
		if err != nil {
			return h, err
		}
		h.images = slices.Clone(h.images)
		for i, v := range h.images {
			if v.Base == 0 && v.SHA256 == start.SHA256 { // unchanged versions share it
				h.images[i].Full, h.images[i].Base = was.Full, was.Base
			}
		}
	}
	if !checkpoint {
		return h.next(r.version, h.checkpoints, made), nil
	}
	if last, ok := find(h.images, h.newestCheckpoint()); ok && !h.shortCut(last, r.version) {
		was, err := r.shorten(ctx, last)
		if err != nil {
			return h, err
		}
		h.images[slices.Index(h.images, last)] = was
	}
	far, err := r.repo.putFar(h.farIndex(name, r.version, made))
	if err != nil {
		return h, err
	}
	all := h.become(r.version, far, made, func(c bases.Checkpoint, on bases.On) *bases.Blob {
		b, failed := r.leadOn(name, c, on)
		err = errors.Join(err, failed)
		return b
	})
	return h.next(r.version, all, made), err
}

// back makes and stores the delta from the new version to s, the start until
// now, by which s is kept from now on. It gives s as it was where that is no
// gain, and where its image is lost.
func (r *release) back(ctx context.Context, s image) (image, error) {
	if s.SHA256 == r.version.SHA256 {
		return s, nil // the one full image serves both
	}
	r.repo.report("making the delta back to version %d", s.Version)
	img, err := r.images.build(ctx, s)
	if ctx.Err() != nil {
		return s, ctx.Err()
	}
	if err != nil {
		return s, nil // deltas has warned of it
	}
	patch, err := makeDelta(ctx, r.image, img, r.options(false))
	if err != nil {
		return s, fmt.Errorf("delta back to version %d: %w", s.Version, err)
	}
	if int64(len(patch)) >= s.Full.Size {
		return s, nil
	}
	s.Base = r.version.Version
	s.Full, err = r.repo.putBlob(patch)
	return s, err
}

// shorten makes and stores the delta from the new checkpoint back to s, the
// checkpoint before it, which was kept by way of starts in between: these could
// not be forgotten, and there may be one an hour. Where it is no gain, s has a
// full image of its own again.
func (r *release) shorten(ctx context.Context, s image) (image, error) {
	img, err := r.images.build(ctx, s)
	if ctx.Err() != nil {
		return s, ctx.Err()
	}
	if err != nil {
		return s, nil // no delta is made from it any more, with a warning
	}
	r.repo.report("compressing the image of version %d", s.Version)
	full, err := makeDelta(ctx, nil, img, delta.Options{})
	if err == nil {
		s.Full, s.Base = bases.Blob{Size: int64(len(full))}, 0
		var back image
		if back, err = r.back(ctx, s); err == nil && back.Base != 0 {
			return back, nil
		}
	}
	if err == nil {
		s.Full, err = r.repo.putBlob(full)
	}
	return s, err
}

// leadOn stores the far index of a checkpoint anew, with the delta on to the
// milestone that follows it.
func (r *release) leadOn(name string, c bases.Checkpoint, on bases.On) (*bases.Blob, error) {
	x, err := r.repo.far(name, c)
	if err != nil {
		r.warn("no way on from checkpoint %d: %v", c.Version, err)
		return c.Far, nil
	}
	x.On = &on
	return r.repo.putFar(x)
}
