package trust

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// completeFile holds a set. No role has its name, since theirs end in .json.
const completeFile = "last-complete"

// maxSet bounds completeFile: two roles, in base64.
const maxSet = 2 * (MaxTimestamp + MaxSnapshot)

// set is the bytes of a timestamp and of the snapshot that it names, as signed;
// both nil: none.
type set struct {
	Timestamp []byte `json:"timestamp,omitempty"`
	Snapshot  []byte `json:"snapshot,omitempty"`
}

func (s set) equal(o set) bool {
	return bytes.Equal(s.Timestamp, o.Timestamp) && bytes.Equal(s.Snapshot, o.Snapshot)
}

// readSet reads the last complete set. known is false where nothing is stored of
// it, or what is is damaged: all that was seen counts then. The error is of kind
// [Storage].
func (s store) readSet() (last set, known bool, err error) {
	known, err = s.readJSON("", s.completePath(), maxSet, &last)
	if KindOf(err) == Storage {
		return set{}, false, err
	}
	if !known {
		return set{}, false, nil
	}
	return last, true, nil
}

// writeSet stores the last complete set in one step.
func (s store) writeSet(last set) error {
	old, known, err := s.readSet()
	if err != nil || known && old.equal(last) {
		return err
	}
	data, err := json.Marshal(last)
	if err != nil {
		return &Error{Kind: Storage, Err: err}
	}
	return s.writeFile("", s.completePath(), data)
}

// begin notes that no set is complete yet, before the first timestamp is
// stored. An endpoint that has one already, of a version without sets, has
// none of it: all that was seen counts until a set is complete.
func (r *refresh) begin() error {
	if _, known, err := r.store.readSet(); err != nil || known || !r.sets {
		return err
	}
	for _, role := range []string{metadata.TIMESTAMP, metadata.SNAPSHOT} {
		data, err := r.store.read(role)
		if KindOf(err) == Storage {
			return err
		}
		if err != nil || data != nil {
			return nil
		}
	}
	return r.store.writeSet(set{})
}

// lower has an older timestamp than was seen be held against the last complete
// set in place of what was seen, which no source gave whole: that would starve
// whoever met a mirror that relays the newest timestamp and withholds the rest.
// Below the last complete set nothing is accepted, and a source that could give
// a newer one could have given this at any time before.
func (r *refresh) lower(offered int64) error {
	seen := r.marks
	last, known, err := r.store.readSet()
	if err != nil || !r.sets || !known || seen.rotated {
		return err
	}
	whole, err := r.marksOf(last)
	if err != nil || whole.rotated || len(last.Timestamp) > 0 && whole.timestamp == nil {
		return err
	}
	if seen.timestamp != nil && offered < seen.timestamp.Signed.Version &&
		(whole.timestamp == nil || offered >= whole.timestamp.Signed.Version) {
		whole.lastTimestamp = seen.lastTimestamp
		r.marks, r.older = whole, true
		return nil
	}
	// What was complete protects also where what was seen is lost or came back from
	// a backup, or a newer set was seen without its snapshot.
	if whole.timestamp != nil && (seen.timestamp == nil || whole.timestamp.Signed.Version > seen.timestamp.Signed.Version) {
		r.marks.timestamp, r.marks.timestampData = whole.timestamp, whole.timestampData
		r.marks.lastTimestamp = whole.timestamp.Signed.Version
	}
	if whole.snapshot != nil && (seen.snapshot == nil || whole.snapshot.Signed.Version > seen.snapshot.Signed.Version) {
		r.marks.snapshot, r.marks.snapshotData = whole.snapshot, whole.snapshotData
	}
	return nil
}

// kept is the timestamp that is stored once offered is trusted.
func (r *refresh) kept(offered *metadata.Metadata[metadata.TimestampType]) *metadata.Metadata[metadata.TimestampType] {
	if r.older {
		return r.stored.timestamp
	}
	return offered
}

// raiseFloor has the floor follow what was verified. A signature that is older
// than one that was seen is no reason to lower it.
func (r *refresh) raiseFloor(signed time.Time) {
	if floor := r.clock.Floor(r.floor, signed); !r.older || floor.After(r.floor) {
		r.setFloor(floor)
	}
}

// marksOf are the marks that a stored set makes. The error is of kind [Storage].
func (r *refresh) marksOf(s set) (marks, error) {
	return r.marksBy(func(role string) ([]byte, error) {
		if role == metadata.TIMESTAMP {
			return s.Timestamp, nil
		}
		return s.Snapshot, nil
	})
}

// Older says that the view is of an older set than was seen: of the newer one
// some could not be had.
func (v *View) Older() bool { return v.older }

// Complete says that all was had that this set names and is wanted: nothing
// older is accepted from now on. An error, of kind [Storage], leaves that as it
// was. Without [Client.Sets] it does nothing.
func (v *View) Complete() error {
	if v.set.Timestamp == nil || v.set.Snapshot == nil {
		return nil
	}
	return v.store.writeSet(v.set)
}
