package trust

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/freshet/freshet/internal/clock"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// The floor is the newest time of signing that counts: the present is never
// before it (see [clock.Reading.Now]). It is that of the stored timestamp, but for
// two cases, which a file beside it remembers: the timestamp was signed too far
// ahead of a synchronised clock, and does not count; or it was signed before the
// one of before, which raised the present. Like the versions it is void once the
// keys of the timestamp are replaced.

// floorFile is no role's: those end in .json.
const floorFile = "floor"

// exception is what floorFile holds.
type exception struct {
	Until int64     `json:"until"`          // timestamps up to this version have the floor below
	Floor time.Time `json:"floor,omitzero"` // zero: none of them counts
	Keys  string    `json:"keys"`           // of the timestamp then, see timestampKeys
}

// present is what expiry is held against.
type present struct {
	clock clock.Reading
	floor time.Time
}

func (p present) now() time.Time { return p.clock.Now(p.floor) }

// against says of a verdict of expiry that it is the floor's and not the clock's.
func (p present) against(expires time.Time) string {
	now := p.now()
	if !now.After(p.clock.At) || p.clock.At.After(expires) {
		return ""
	}
	why := "is not known to be synchronised"
	if p.clock.Sync == clock.Synchronised {
		why = "is behind that"
	}
	return fmt.Sprintf(", held against %s, the newest time of signing: this machine's clock says %s and %s; "+
		"set the clock by NTP, or have the publisher replace the key of timestamp if it was theirs that was ahead", stamp(now), stamp(p.clock.At), why)
}

// floorBy is the floor once a timestamp is stored beside an exception.
func floorBy(ts *metadata.Metadata[metadata.TimestampType], e *exception) time.Time {
	signed := signedAt(ts)
	switch {
	case e == nil:
		return signed
	case ts == nil || ts.Signed.Version <= e.Until || e.Floor.After(signed):
		return e.Floor
	}
	return signed
}

// storedFloor is what the stored files say. A floorFile that is damaged is none;
// a timestamp that is damaged or lost has that of the last complete set for it.
func (r *refresh) storedFloor() (time.Time, error) {
	e, err := r.exception()
	if err != nil {
		return time.Time{}, err
	}
	ts := r.marks.timestamp
	if ts == nil && !r.marks.rotated {
		last, _, err := r.store.readSet()
		if err != nil {
			return time.Time{}, err
		}
		whole, err := r.marksOf(last)
		if err != nil {
			return time.Time{}, err
		}
		ts = whole.timestamp
	}
	return floorBy(ts, e), nil
}

// exception reads floorFile; nil if there is none that counts. The error is of
// kind [Storage].
func (r *refresh) exception() (*exception, error) {
	var e exception
	there, err := r.store.readJSON(metadata.TIMESTAMP, r.store.floorPath(), maxFloor, &e)
	if KindOf(err) == Storage {
		return nil, err
	}
	if err != nil {
		r.note(Damaged, metadata.TIMESTAMP, fmt.Errorf("the floor of time beside it: %w", err))
	}
	if !there || e.Keys != timestampKeys(r.trusted.Root) {
		return nil, nil
	}
	return &e, nil
}

// setFloor makes floor what the present is held against from here on.
func (r *refresh) setFloor(floor time.Time) {
	r.floor = floor
	r.trusted.RefTime = r.now()
}

// keepFloor remembers the floor where the timestamp that is stored next does not
// say it. It comes first: a run killed between the two leaves the timestamp of
// before, which the file is about as well.
func (r *refresh) keepFloor(ts *metadata.Metadata[metadata.TimestampType]) error {
	e, err := r.exception()
	if err != nil || floorBy(ts, e).Equal(r.floor) {
		return err
	}
	data, err := json.Marshal(exception{Until: ts.Signed.Version, Floor: r.floor.UTC(), Keys: timestampKeys(r.trusted.Root)})
	if err != nil {
		return err
	}
	return r.store.writeFile(metadata.TIMESTAMP, r.store.floorPath(), append(data, '\n'))
}

// timestampKeys names the keys that a root trusts for the timestamp.
func timestampKeys(root *metadata.Metadata[metadata.RootType]) string {
	h := sha256.New()
	if role := root.Signed.Roles[metadata.TIMESTAMP]; role != nil {
		for _, id := range slices.Sorted(slices.Values(role.KeyIDs)) {
			io.WriteString(h, id+"\n")
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// signedAt is when the publisher signed a timestamp, by the publisher's word; zero
// if there is none or it does not say.
func signedAt(ts *metadata.Metadata[metadata.TimestampType]) time.Time {
	if ts == nil {
		return time.Time{}
	}
	text, _ := ts.Signed.UnrecognizedFields[signedAtField].(string)
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}
	}
	return t
}

// Now is the present by the clock and by what is stored, without a source. Where
// nothing usable is stored, or can be read now, it is the clock alone.
func (c *Client) Now() time.Time {
	reading := c.Clock.Read()
	r := &refresh{store: c.store()}
	if r.findRoot(c.Root) != nil {
		return reading.At
	}
	var err error
	if r.marks, err = r.readMarks(); err != nil {
		return reading.At
	}
	floor, err := r.storedFloor()
	if err != nil {
		return reading.At
	}
	return reading.Now(floor)
}
