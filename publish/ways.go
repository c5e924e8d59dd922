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
	fresh := checkpoint || !ok || start.SHA256 == m.Image.SHA256 || r.repo.checkBlob(start.Full) != nil
	r.most = start.Full.Size
	if fresh {
		if err := r.full(ctx, m); err != nil {
			return nil, err
		}
	}
	if made, err = r.deltas(ctx, r.history.sources()); err != nil || fresh {
		return made, err
	}
	if d, ok := leads(made, start.Version); ok && d.Size*apart <= start.Full.Size {
		m.Full, m.Start = start.Full, &start.IndexVersion
		r.version.Full, r.version.Base = d.Blob, start.Version
		return made, nil
	}
	if err := r.full(ctx, m); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(made, func(d bases.Delta) bool { return d.Size >= r.most }), nil
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
// the far indexes of a checkpoint, and the delta back to a start that was.
func (r *release) follow(ctx context.Context, name string, checkpoint bool, made []bases.Delta) (history, error) {
	h := r.history
	if start, ok := h.start(); ok && r.version.Base == 0 {
		was, err := r.back(ctx, start)
		if err != nil {
			return h, err
		}
		h.images = slices.Clone(h.images)
		h.images[slices.Index(h.images, start)] = was
	}
	if !checkpoint {
		return h.next(r.version, h.checkpoints, made), nil
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
