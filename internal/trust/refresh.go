package trust

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

const snapshotFile = metadata.SNAPSHOT + ".json"

// marks are the stored timestamp and snapshot. Those that cannot be read are
// nil, and so is, for rollback protection, all that was signed before the
// keys of either were rotated.
type marks struct {
	timestampData, snapshotData []byte
	timestamp                   *metadata.Metadata[metadata.TimestampType]
	snapshot                    *metadata.Metadata[metadata.SnapshotType]
	rotated                     bool
	lastTimestamp               int64 // its version, whether signed with today's keys or not
}

// readMarks reads the high-water mark. Whether keys were rotated is seen from
// the files themselves, so a run killed after storing a new root changes
// nothing: dropping the mark is found again by the next one.
// The error, of kind [Storage], says that the mark is not known.
func (r *refresh) readMarks() (marks, error) { return r.marksBy(r.store.read) }

// marksBy are the marks that the stored files of timestamp and snapshot make.
func (r *refresh) marksBy(read func(role string) ([]byte, error)) (marks, error) {
	var m marks
	ts, data, state, err := readStored[metadata.TimestampType](r, metadata.TIMESTAMP, read)
	if err != nil {
		return m, err
	}
	if state != unusable {
		m.lastTimestamp = ts.Signed.Version
	}
	if state == valid {
		m.timestamp, m.timestampData = ts, data
	}
	m.rotated = state == rotated
	snap, data, state, err := readStored[metadata.SnapshotType](r, metadata.SNAPSHOT, read)
	if state == valid {
		m.snapshot, m.snapshotData = snap, data
	}
	m.rotated = m.rotated || state == rotated
	return m, err
}

// trustState is how far a stored file can be believed.
type trustState int

const (
	unusable trustState = iota // missing or damaged
	rotated                    // valid under an earlier root, not under this one
	valid
)

// readStored says how far a stored role can be believed. The error is of kind
// [Storage].
func readStored[T metadata.Roles](r *refresh, role string, read func(role string) ([]byte, error)) (*metadata.Metadata[T], []byte, trustState, error) {
	data, err := read(role)
	if KindOf(err) == Storage {
		return nil, nil, unusable, err
	}
	if err == nil && data == nil {
		return nil, nil, unusable, nil
	}
	var md *metadata.Metadata[T]
	if err == nil {
		md, err = parse[T](role, data)
	}
	if err == nil {
		err = verify(r.trusted.Root, role, md)
	}
	if err == nil {
		return md, data, valid, nil
	}
	if md != nil {
		earlier, err := r.ofEarlierRoot(role, md)
		if err != nil {
			return nil, nil, unusable, err
		}
		if earlier {
			return md, data, rotated, nil
		}
	}
	r.note(Damaged, role, err)
	return nil, nil, unusable, nil
}

// seenSnapshot is the newest snapshot version seen, 0 if none.
func (m marks) seenSnapshot() int64 {
	var v int64
	if m.timestamp != nil {
		v = m.timestamp.Signed.Meta[snapshotFile].Version
	}
	if m.snapshot != nil {
		v = max(v, m.snapshot.Signed.Version)
	}
	return v
}

// updateTimestamp is section 5.4 of the specification.
func (r *refresh) updateTimestamp(ctx context.Context) error {
	data, err := fetch(ctx, r.f, metadata.TIMESTAMP, "metadata/timestamp.json", MaxTimestamp)
	if err != nil {
		return err
	}
	offered, err := parse[metadata.TimestampType](metadata.TIMESTAMP, data)
	if err != nil {
		return rejected(metadata.TIMESTAMP, err)
	}
	r.stored = r.marks
	if err := r.lower(offered.Signed.Version); err != nil {
		return err
	}
	if r.marks.timestamp != nil && !r.marks.rotated {
		err := guard(func() error { return second(r.trusted.UpdateTimestamp(r.marks.timestampData)) })
		if err != nil && !isExpired(err) { // an expired one still protects from older ones
			return rejected(metadata.TIMESTAMP, err)
		}
	}
	if err := r.checkTimestamp(offered); err != nil {
		return err
	}
	r.raiseFloor(signedAt(offered))
	err = guard(func() error { return second(r.trusted.UpdateTimestamp(data)) })
	if errors.Is(err, &metadata.ErrEqualVersionNumber{}) {
		if !sameSigned(data, r.marks.timestampData) {
			r.noteReused(metadata.TIMESTAMP, offered.Signed.Version)
		}
		if err := r.checkTimestampExpiry(); err != nil { // the one already stored stays in use
			return err
		}
		data, err = r.marks.timestampData, nil
	}
	if err != nil {
		return r.refused(metadata.TIMESTAMP, err, data)
	}
	if err := r.keepFloor(r.kept(offered)); err != nil {
		return err
	}
	r.set.Timestamp = data
	if r.older || bytes.Equal(data, r.stored.timestampData) {
		return nil
	}
	if err := r.begin(); err != nil {
		return err
	}
	return r.store.write(metadata.TIMESTAMP, data)
}

// checkTimestamp tells an old timestamp from a false one. A version below the
// stored one is a mirror that lags; a newer one that names an older snapshot
// was signed so.
func (r *refresh) checkTimestamp(offered *metadata.Metadata[metadata.TimestampType]) error {
	const role = metadata.TIMESTAMP
	if err := verify(r.trusted.Root, role, offered); err != nil {
		if offered.Signed.Version <= r.marks.lastTimestamp {
			switch earlier, err := r.ofEarlierRoot(role, offered); {
			case err != nil:
				return err
			case earlier:
				return fail(Behind, role, "version %d is signed with keys that have been replaced since", offered.Signed.Version)
			}
		}
		return rejected(role, fmt.Errorf("%w (held against root version %d, the newest that this source leads to)", err, r.trusted.Root.Signed.Version))
	}
	if r.marks.rotated {
		return nil
	}
	if seen := r.marks.timestamp; seen != nil && offered.Signed.Version < seen.Signed.Version {
		return fail(Behind, role, "version %d, but version %d was seen", offered.Signed.Version, seen.Signed.Version)
	}
	named, seen := offered.Signed.Meta[snapshotFile].Version, r.marks.seenSnapshot()
	if named >= seen {
		return nil
	}
	kind := Rollback
	if r.marks.timestamp == nil {
		kind = Behind // nothing says that it is newer than what was seen
	}
	return fail(kind, role, "version %d names snapshot %d, but snapshot %d was seen", offered.Signed.Version, named, seen)
}

// refused is rejected, and says since when what is expired is so. An expired
// root shows only at the step after it.
func (r *refresh) refused(role string, err error, data []byte) error {
	if root := r.trusted.Root.Signed; isExpired(err) && root.IsExpired(r.now()) {
		return fail(Expired, metadata.ROOT, "version %d expired at %s%s", root.Version, stamp(root.Expires), r.against(root.Expires))
	}
	return lapsed(role, err, data, r.against)
}

func (r *refresh) checkTimestampExpiry() error {
	ts := r.trusted.Timestamp.Signed
	if ts.IsExpired(r.now()) {
		return fail(Expired, metadata.TIMESTAMP, "version %d expired at %s%s", ts.Version, stamp(ts.Expires), r.against(ts.Expires))
	}
	return nil
}

// updateSnapshot is section 5.5 of the specification.
func (r *refresh) updateSnapshot(ctx context.Context) error {
	const role = metadata.SNAPSHOT
	meta := r.trusted.Timestamp.Signed.Meta[snapshotFile]
	if r.marks.snapshot != nil {
		same := r.marks.snapshot.Signed.Version == meta.Version
		matches := same && meta.VerifyLengthHashes(r.marks.snapshotData) == nil
		if same && !matches && !r.marks.rotated {
			r.noteReused(role, meta.Version)
		}
		var err error
		if matches || !r.marks.rotated {
			err = guard(func() error { return second(r.trusted.UpdateSnapshot(r.marks.snapshotData, true)) })
		}
		if matches && err != nil {
			return r.refused(role, err, r.marks.snapshotData)
		}
		if matches {
			return r.keepSnapshot(r.marks.snapshotData)
		}
	}
	data, err := fetchNamed(ctx, r.f, role, meta, r.trusted.Root.Signed.ConsistentSnapshot)
	if err != nil {
		return err
	}
	offered, err := parse[metadata.SnapshotType](role, data)
	if err != nil {
		return rejected(role, err)
	}
	if offered.Signed.Version != meta.Version {
		return fail(Mismatch, role, "version %d, but the timestamp names %d", offered.Signed.Version, meta.Version)
	}
	if err := verify(r.trusted.Root, role, offered); err != nil {
		return rejected(role, err)
	}
	if err := r.checkSnapshot(offered.Signed.Meta); err != nil {
		return err
	}
	err = guard(func() error { return second(r.trusted.UpdateSnapshot(data, false)) })
	if err != nil {
		return r.refused(role, err, data)
	}
	return r.keepSnapshot(data)
}

func (r *refresh) keepSnapshot(data []byte) error {
	r.set.Snapshot = data
	if r.older || bytes.Equal(data, r.stored.snapshotData) {
		return nil
	}
	return r.store.write(metadata.SNAPSHOT, data)
}

// checkSnapshot refuses a snapshot that lists less than the one before
// (section 5.5.5).
func (r *refresh) checkSnapshot(offered map[string]*metadata.MetaFiles) error {
	if r.trusted.Snapshot == nil {
		return nil
	}
	for name, seen := range r.trusted.Snapshot.Signed.Meta {
		now, ok := offered[name]
		if !ok {
			return fail(Rollback, metadata.SNAPSHOT, "%s was listed at version %d and is left out", name, seen.Version)
		}
		if now.Version < seen.Version {
			return fail(Rollback, metadata.SNAPSHOT, "%s is listed at version %d, but version %d was seen", name, now.Version, seen.Version)
		}
		if is, was := now.Hashes["sha256"], seen.Hashes["sha256"]; now.Version == seen.Version && is != nil && was != nil && !bytes.Equal(is, was) {
			r.noteReused(strings.TrimSuffix(name, ".json"), seen.Version)
		}
	}
	return nil
}

func (r *refresh) noteReused(role string, version int64) {
	r.note(Reused, role, fmt.Errorf("version %d, with another content than was seen under that number", version))
}

// sameSigned says whether two files of metadata sign the same to the byte,
// whatever their signatures.
func sameSigned(a, b []byte) bool {
	signed := func(data []byte) []byte {
		var doc struct {
			Signed json.RawMessage `json:"signed"`
		}
		var text bytes.Buffer
		if json.Unmarshal(data, &doc) != nil || json.Compact(&text, doc.Signed) != nil {
			return data
		}
		return text.Bytes()
	}
	return bytes.Equal(a, b) || bytes.Equal(signed(a), signed(b))
}

func second[T any](_ T, err error) error { return err }

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
