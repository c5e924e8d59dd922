package trust

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/freshet/freshet/internal/clock"
	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"
)

// signedAtField is the field of the timestamp's signed part that holds the
// time of signing (RFC 3339). TUF does not know it, but it is signed.
const signedAtField = "x-freshet-signed-at"

// View is what is trusted after a Refresh, or what is stored after a Load.
// It is for one goroutine at a time.
type View struct {
	trusted *trustedmetadata.TrustedMetadata
	store   store
	anyHash bool
	offline bool // made by Load: never fetches, reads what is expired
	notes   []error
	present
	loaded map[edge]*targetsMetadata

	set   set  // what Complete stores
	older bool // see Older
}

type targetsMetadata = metadata.Metadata[metadata.TargetsType]

// edge is one delegation. What is trusted over one is not trusted over
// another that leads to the same role.
type edge struct {
	parent *targetsMetadata // nil is the root
	role   string
}

// Notes are things passed over that an operator should know, each an
// [*Error]: stored files that were Damaged, and for a view from Load what is
// Expired or older than the snapshot names (Behind).
func (v *View) Notes() []error { return v.notes }

// SignedAt is when the publisher signed the timestamp, by the publisher's
// word; zero if it does not say.
func (v *View) SignedAt() time.Time { return signedAt(v.trusted.Timestamp) }

// Floor is the newest time of signing that counts: the present is never before
// it, see [clock.Reading.Now]. It may be before SignedAt, where that was too far
// ahead of a synchronised clock, and after it, where the publisher's clock went
// back. Zero if nothing is known.
func (v *View) Floor() time.Time { return v.floor }

// Expires is the earliest expiry among root, timestamp, snapshot, targets and
// those delegated roles that were needed so far.
func (v *View) Expires() time.Time {
	var first time.Time
	v.eachExpiry(func(_ string, _ int64, t time.Time) {
		if first.IsZero() || t.Before(first) {
			first = t
		}
	})
	return first
}

// Versions are the newest versions seen, by role: those of root, timestamp
// and snapshot, and of all roles that the snapshot lists.
func (v *View) Versions() map[string]int64 {
	versions := map[string]int64{}
	v.eachExpiry(func(role string, version int64, _ time.Time) { versions[role] = version })
	if v.trusted.Snapshot != nil {
		for name, meta := range v.trusted.Snapshot.Signed.Meta {
			versions[strings.TrimSuffix(name, ".json")] = meta.Version
		}
	}
	return versions
}

func (v *View) eachExpiry(do func(role string, version int64, expires time.Time)) {
	t := v.trusted
	do(metadata.ROOT, t.Root.Signed.Version, t.Root.Signed.Expires)
	if t.Timestamp != nil {
		do(metadata.TIMESTAMP, t.Timestamp.Signed.Version, t.Timestamp.Signed.Expires)
	}
	if t.Snapshot != nil {
		do(metadata.SNAPSHOT, t.Snapshot.Signed.Version, t.Snapshot.Signed.Expires)
	}
	for edge, md := range v.loaded {
		do(edge.role, md.Signed.Version, md.Signed.Expires)
	}
}

// loadStored fills the view of Load. The error is of kind [Storage].
func (v *View) loadStored(reading clock.Reading) error {
	r := &refresh{store: v.store, trusted: v.trusted}
	var err error
	if r.marks, err = r.readMarks(); err != nil {
		return err
	}
	floor, err := r.storedFloor()
	if err != nil {
		return err
	}
	v.trusted.Timestamp, v.trusted.Snapshot = r.marks.timestamp, r.marks.snapshot
	v.present = present{reading, floor}
	now := v.now()
	v.notes = append(v.notes, r.notes...)
	// Without a snapshot or targets the view is still of use: what lacks them
	// says so.
	if _, err := v.load(context.Background(), nil, metadata.TARGETS, nil); KindOf(err) == Storage {
		return err
	}
	v.eachExpiry(func(role string, version int64, expires time.Time) {
		if now.After(expires) {
			v.notes = append(v.notes, fail(Expired, role, "version %d expired at %s", version, stamp(expires)))
		}
	})
	return nil
}

// load returns the metadata of a targets role that parent (nil: the root)
// delegates to: from memory, else the stored file if it is the one that the
// snapshot names, else from f.
func (v *View) load(ctx context.Context, f Fetcher, role string, parent *targetsMetadata) (*targetsMetadata, error) {
	at := edge{parent, role}
	if md := v.loaded[at]; md != nil {
		return md, nil
	}
	load := v.loadTrusted
	if v.offline {
		load = v.loadOffline
	}
	md, err := load(ctx, f, at)
	if err != nil {
		return nil, err
	}
	if v.loaded == nil {
		v.loaded = map[edge]*targetsMetadata{}
	}
	v.loaded[at] = md
	return md, nil
}

// loadTrusted is section 5.6 of the specification.
func (v *View) loadTrusted(ctx context.Context, f Fetcher, at edge) (*targetsMetadata, error) {
	meta, ok := v.trusted.Snapshot.Signed.Meta[at.role+".json"]
	if !ok {
		return nil, fail(Mismatch, at.role, "the snapshot does not list it")
	}
	stored, err := v.readStored(at.role)
	if err != nil {
		return nil, err
	}
	if stored != nil {
		md, err := v.accept(at, stored)
		if err == nil || KindOf(err) == Expired { // fetched anew it would be the same
			return md, err
		}
	}
	if f == nil {
		return nil, fail(NotStored, at.role, "version %d was not fetched yet", meta.Version)
	}
	data, err := fetchNamed(ctx, f, at.role, meta, v.trusted.Root.Signed.ConsistentSnapshot)
	if err != nil {
		return nil, err
	}
	md, err := v.accept(at, data)
	if IsEmpty(err) { // else it is fetched at each refresh
		if stored := v.store.write(at.role, data); stored != nil {
			return nil, stored
		}
	}
	if err != nil {
		return nil, err
	}
	return md, v.store.write(at.role, data)
}

// readStored returns the stored file of a role if it is metadata at all. The error
// is of kind [Storage].
func (v *View) readStored(role string) ([]byte, error) {
	data, err := v.store.read(role)
	if err == nil && data == nil || KindOf(err) == Storage {
		return nil, err
	}
	if err == nil {
		err = checkShape(role, data)
	}
	if err != nil {
		v.notes = append(v.notes, &Error{Kind: Damaged, Role: role, Err: err})
		return nil, nil
	}
	return data, nil
}

// accept verifies data as the metadata of the role at an edge.
func (v *View) accept(at edge, data []byte) (*targetsMetadata, error) {
	if err := checkShape(at.role, data); err != nil {
		return nil, &Error{Kind: Malformed, Role: at.role, Err: err}
	}
	by := metadata.ROOT
	if at.parent != nil {
		// go-tuf knows a delegator by its name alone; two edges may have led
		// to two different files of that name.
		by = "parent of " + at.role
		v.trusted.Targets[by] = at.parent
		defer delete(v.trusted.Targets, by)
	}
	var md *targetsMetadata
	err := guard(func() (err error) {
		md, err = v.trusted.UpdateDelegatedTargets(data, at.role, by)
		return err
	})
	if err != nil {
		err = lapsed(at.role, err, data, v.against)
		if at.parent != nil {
			err = emptied(err, data)
		}
		return nil, err
	}
	return md, nil
}

// emptied marks the error of expired metadata that names nothing: its expiry is
// the last thing that is checked of it.
func emptied(err error, data []byte) error {
	var e *Error
	if errors.As(err, &e) && e.Kind == Expired {
		md, parsed := parse[metadata.TargetsType](e.Role, data)
		e.Empty = parsed == nil && namesNothing(md)
	}
	return err
}

// loadOffline takes what is stored if it is signed by the right keys, be it
// expired or older than the snapshot names.
func (v *View) loadOffline(_ context.Context, _ Fetcher, at edge) (*targetsMetadata, error) {
	data, err := v.store.read(at.role)
	if KindOf(err) == Storage {
		return nil, err
	}
	if err == nil && data == nil {
		return nil, fail(NotStored, at.role, "it was not fetched yet: update first")
	}
	var md *targetsMetadata
	if err == nil {
		md, err = parse[metadata.TargetsType](at.role, data)
	}
	if err == nil {
		err = verify(at.by(v.trusted), at.role, md)
	}
	if err != nil {
		damaged := &Error{Kind: Damaged, Role: at.role, Err: err}
		v.notes = append(v.notes, damaged)
		return nil, damaged
	}
	if s := v.trusted.Snapshot; s != nil {
		if meta := s.Signed.Meta[at.role+".json"]; meta != nil && meta.Version != md.Signed.Version {
			v.notes = append(v.notes, &Error{Kind: Behind, Role: at.role,
				Err: fmt.Errorf("version %d is stored, the snapshot names %d", md.Signed.Version, meta.Version)})
		}
	}
	return md, nil
}

// by is who delegates over the edge.
func (at edge) by(t *trustedmetadata.TrustedMetadata) delegator {
	if at.parent == nil {
		return t.Root
	}
	return at.parent
}
