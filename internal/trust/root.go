package trust

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"
)

// openRoot finds the newest root already trusted and stores it if need be.
func (r *refresh) openRoot(pinned []byte) error {
	if err := r.findRoot(pinned); err != nil {
		return err
	}
	version := r.trusted.Root.Signed.Version
	newest, err := r.store.read(metadata.ROOT)
	if KindOf(err) == Storage {
		return err
	}
	kept, err := r.store.readRoot(version)
	if KindOf(err) == Storage {
		return err
	}
	if bytes.Equal(newest, r.rootData) && bytes.Equal(kept, r.rootData) {
		return nil
	}
	return r.store.writeRoot(version, r.rootData)
}

// findRoot loads the stored root, else the pinned one, and follows the stored
// history from there: a run may have ended between the two writes of a root. What
// is damaged is passed over; the error is of kind [NoRoot] or [Storage].
func (r *refresh) findRoot(pinned []byte) error {
	if err := r.startRoot(pinned); err != nil {
		return err
	}
	if err := r.followHistory(); err != nil {
		return err
	}
	return r.newer(pinned)
}

func (r *refresh) followHistory() error {
	for {
		next := r.trusted.Root.Signed.Version + 1
		data, err := r.store.readRoot(next)
		if err == nil && data == nil || KindOf(err) == Storage {
			return err
		}
		if err == nil {
			err = r.updateRoot(data)
		}
		if err != nil {
			r.note(Damaged, metadata.ROOT, err)
			return nil
		}
	}
}

func (r *refresh) startRoot(pinned []byte) error {
	data, err := r.store.read(metadata.ROOT)
	if KindOf(err) == Storage {
		return err
	}
	if err == nil && data != nil {
		err = r.trustRoot(data)
		if err == nil {
			return nil
		}
	}
	if err != nil {
		r.note(Damaged, metadata.ROOT, err)
	}
	if len(pinned) == 0 {
		return fail(NoRoot, metadata.ROOT, "no usable root is stored and none is pinned")
	}
	if err := r.trustRoot(pinned); err != nil {
		return fail(NoRoot, metadata.ROOT, "the pinned root cannot be used: %w", err)
	}
	return nil
}

// trustRoot starts from a root that is taken on faith.
func (r *refresh) trustRoot(data []byte) error {
	if err := checkShape(metadata.ROOT, data); err != nil {
		return err
	}
	return guard(func() error {
		t, err := trustedmetadata.New(data)
		if err == nil {
			r.trusted, r.rootData = t, data
		}
		return err
	})
}

// updateRoot takes one step of the chain: data must be the next version,
// signed by the keys of this root and by its own.
func (r *refresh) updateRoot(data []byte) error {
	if err := checkShape(metadata.ROOT, data); err != nil {
		return &Error{Kind: Malformed, Role: metadata.ROOT, Err: err}
	}
	err := guard(func() error {
		_, err := r.trusted.UpdateRoot(data)
		return err
	})
	if err != nil {
		before := r.trusted.Root.Signed.Version
		return rejected(metadata.ROOT, fmt.Errorf("what comes as version %d does not follow version %d: %w", before+1, before, err))
	}
	r.rootData = data
	return nil
}

// walkRoot fetches new roots one by one until there is none (sections 5.3.2
// to 5.3.9), then refuses to go on if the last is expired (5.3.10).
func (r *refresh) walkRoot(ctx context.Context) error {
	for n := 0; ; n++ {
		next := r.trusted.Root.Signed.Version + 1
		data, err := fetch(ctx, r.f, metadata.ROOT, metadataPath(metadata.ROOT, next, true), MaxRoot)
		if errors.Is(err, ErrNotFound) {
			break
		}
		if err != nil {
			return err
		}
		if n == maxNewRoots {
			return fail(Unavailable, metadata.ROOT, "more than %d new versions at once: the next run goes on from version %d", maxNewRoots, next-1)
		}
		if err := r.updateRoot(data); err != nil {
			return err
		}
		if err := r.store.writeRoot(next, data); err != nil {
			return err
		}
	}
	// Under the newest root: one that replaces the keys of the timestamp voids the
	// floor in this same run.
	var err error
	if r.marks, err = r.readMarks(); err != nil {
		return err
	}
	floor, err := r.storedFloor()
	if err != nil {
		return err
	}
	r.setFloor(floor)
	root := r.trusted.Root.Signed
	if root.IsExpired(r.now()) {
		return fail(Expired, metadata.ROOT, "version %d expired at %s, and there is no version %d%s", root.Version, stamp(root.Expires), root.Version+1, r.against(root.Expires))
	}
	return nil
}

// ofEarlierRoot says whether signed was valid under a root before this one:
// its keys were rotated since. The error is of kind [Storage].
func (r *refresh) ofEarlierRoot(role string, signed any) (bool, error) {
	newest := r.trusted.Root.Signed.Version
	for v := newest - 1; v > max(0, newest-1-maxOldRoots); v-- {
		data, err := r.store.readRoot(v)
		if KindOf(err) == Storage {
			return false, err
		}
		if err != nil || data == nil {
			continue // an operator may have pinned a root versions later
		}
		root, err := parse[metadata.RootType](metadata.ROOT, data)
		if err == nil && verify(root, role, signed) == nil {
			return true, nil
		}
	}
	return false, nil
}
