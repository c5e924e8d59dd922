package publish

import (
	"crypto/sha256"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/freshet/freshet/internal/clock"
)

// SignedAtField is the field of the timestamp's signed part with the time of
// signing, RFC 3339 in UTC.
const SignedAtField = "x-freshet-signed-at"

// holders are the keys that may sign for a role.
type holders struct {
	ids       []string
	threshold int
}

func (st *state) holders(name string) (holders, error) {
	if ro, ok := st.Root.Signed.Roles[name]; ok {
		return holders{ro.KeyIDs, ro.Threshold}, nil
	}
	if targets := st.Targets[metadata.TARGETS]; targets != nil && targets.Signed.Delegations != nil {
		for _, ro := range targets.Signed.Delegations.Roles {
			if ro.Name == name {
				return holders{ro.KeyIDs, ro.Threshold}, nil
			}
		}
	}
	return holders{}, fmt.Errorf("no role %q in the metadata", name)
}

// check says whether ring has enough keys to sign for the roles.
func (ring keyring) check(st *state, names ...string) error {
	for _, name := range names {
		h, err := st.holders(name)
		if err != nil {
			return err
		}
		have := len(ring.of(h))
		if have < h.threshold {
			return refuse("give the folder that has them with --keys; it may be given more than once",
				"signing %s takes %d of its %d keys, of which %d are at hand", name, h.threshold, len(h.ids), have)
		}
	}
	return nil
}

// of gives the IDs at hand, as many as are needed at most.
func (ring keyring) of(h holders) []string {
	var have []string
	for _, id := range h.ids {
		if _, ok := ring[id]; ok && len(have) < h.threshold {
			have = append(have, id)
		}
	}
	return have
}

// sign puts the signatures of a role's keys on m and gives m's bytes.
func sign[T metadata.Roles](st *state, ring keyring, name string, m *metadata.Metadata[T]) ([]byte, error) {
	if err := ring.check(st, name); err != nil {
		return nil, err
	}
	h, err := st.holders(name)
	if err != nil {
		return nil, err
	}
	m.ClearSignatures()
	for _, id := range ring.of(h) {
		if _, err := m.Sign(ring[id]); err != nil {
			return nil, fmt.Errorf("signing %s: %w", name, err)
		}
	}
	if name == roleBases || name == roleModules {
		err = st.Targets[metadata.TARGETS].VerifyDelegate(name, m)
	} else {
		err = st.Root.VerifyDelegate(name, m)
	}
	if err != nil {
		return nil, fmt.Errorf("checking the signature of %s: %w", name, err)
	}
	return m.ToBytes(false)
}

// nextFree is the number above version under which no file of the role is
// found. A killed run may have left one that a mirror has copied since, and
// what has a name never changes. Its time does: what it would have superseded is
// superseded now.
func (r *Repository) nextFree(version int64, role string) int64 {
	for {
		version++
		path := r.metadata(fmt.Sprintf("%d.%s.json", version, role))
		if _, err := os.Lstat(path); err != nil { // not there; or writing there will say what is wrong
			return version
		}
		now := r.now()
		_ = os.Chtimes(path, now, now) // else prune keeps less, for those in the middle of an update
	}
}

// sinceSigning is how long ago by a clock the newest timestamp was signed; below 0:
// the clock is behind it. text is that time, "" where a repository of other tools
// does not say.
func (st *state) sinceSigning(now time.Time) (jump time.Duration, text string) {
	text, _ = st.Timestamp.Signed.UnrecognizedFields[SignedAtField].(string)
	signed, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return 0, ""
	}
	return now.Sub(signed).Truncate(time.Second), text
}

// checkClock refuses to sign by a clock that jumped: endpoints take the newest
// time of signing for a lower bound of the present, so that a clock that is far
// ahead, and signs once, stops those that cannot tell. That is where it is past
// the last signing by more than a timestamp lives, and nothing keeps it right.
func (r *Repository) checkClock(st *state) error {
	reading := r.Clock.Read()
	jump, _ := st.sinceSigning(reading.At)
	if jump <= life(metadata.TIMESTAMP) || reading.Sync != clock.Unsynchronised || r.Force {
		return nil
	}
	return refuse("set the clock, by NTP if possible; if it is right, as after a pause, give --force",
		"the clock says %s, which is %s after the last signing, and nothing keeps it right: what a clock that is ahead signs stops endpoints",
		reading.At.UTC().Format(time.RFC3339), days(jump))
}

// tellClock warns of a clock that went far ahead of the last signing, or behind
// it: nothing is refused then, since it may be the last signing that was wrong.
func (r *Repository) tellClock(st *state) {
	switch jump, text := st.sinceSigning(r.Clock.Now()); {
	case jump > life(metadata.TIMESTAMP):
		r.warn("the last signing was %s ago, at %s: if it is this clock that is ahead, endpoints whose clocks are not synchronised take nothing that is signed by the right time", days(jump), text)
	case -jump > maxAhead:
		r.warn("the newest timestamp was signed at %s, which is %s ahead of the clock: endpoints with a synchronised clock follow what is signed now, "+
			"others that saw it take that for expired; set the clock right, or, if it was wrong then, have them forget it: freshet-publish key replace %s timestamp", text, -jump, r.Dir)
	}
}

// days is a long time for people.
func days(d time.Duration) string {
	if n := d / (24 * time.Hour); n > 1 {
		return fmt.Sprintf("%d days", n)
	}
	return d.String()
}

// mostVersion is above any version that a publisher comes to by counting.
const mostVersion = 1 << 40

func usedUp(role string, version int64) error {
	return refuse("somebody else signed it: replace the stolen keys, freshet-publish key replace REPO snapshot timestamp bases --keys MEDIUM --keys MEDIUM",
		"%s is at version %d, which no publisher comes to by counting", role, version)
}

// issue is where signed metadata goes, and how long it lives.
type issue struct {
	write func(name string, data []byte) error // called in the order of publishing, timestamp.json last
	life  func(role string) time.Duration      // from signing to expiry
}

// commit publishes new versions of the named targets roles (targets, bases,
// modules), the snapshot and the timestamp. If it returns nil the new state is
// published even after power loss; on an error the old or the new state is.
func (r *Repository) commit(st *state, ring keyring, changed ...string) error {
	return r.issue(st, ring, issue{r.write, life}, changed...)
}

// issue signs new versions of the named targets roles, then of the snapshot,
// then of the timestamp.
func (r *Repository) issue(st *state, ring keyring, to issue, changed ...string) error {
	now := r.now()
	for _, name := range []string{metadata.TARGETS, roleModules, roleBases} {
		if !slices.Contains(changed, name) {
			continue
		}
		m := st.Targets[name]
		if m.Signed.Version > mostVersion {
			return usedUp(name, m.Signed.Version)
		}
		m.Signed.Version = r.nextFree(m.Signed.Version, name)
		m.Signed.Expires = now.Add(to.life(name))
		meta, err := writeSigned(to, st, ring, name, m, m.Signed.Version)
		if err != nil {
			return err
		}
		st.Snapshot.Signed.Meta[name+".json"] = meta
	}
	if len(changed) > 0 {
		s := st.Snapshot
		if s.Signed.Version > mostVersion {
			return usedUp(metadata.SNAPSHOT, s.Signed.Version)
		}
		s.Signed.Version = r.nextFree(s.Signed.Version, metadata.SNAPSHOT)
		s.Signed.Expires = now.Add(to.life(metadata.SNAPSHOT))
		meta, err := writeSigned(to, st, ring, metadata.SNAPSHOT, s, s.Signed.Version)
		if err != nil {
			return err
		}
		st.Timestamp.Signed.Meta["snapshot.json"] = meta
	}
	t := st.Timestamp
	if t.Signed.Version > mostVersion {
		return usedUp(metadata.TIMESTAMP, t.Signed.Version)
	}
	t.Signed.Version++
	t.Signed.Expires = now.Add(to.life(metadata.TIMESTAMP))
	t.Signed.UnrecognizedFields = map[string]any{SignedAtField: now.Format(time.RFC3339)}
	data, err := sign(st, ring, metadata.TIMESTAMP, t)
	if err != nil {
		return err
	}
	return to.write("metadata/timestamp.json", data)
}

// writeSigned signs and writes metadata/VERSION.NAME.json and says how the
// metadata above names it.
func writeSigned[T metadata.Roles](to issue, st *state, ring keyring, name string, m *metadata.Metadata[T], version int64) (*metadata.MetaFiles, error) {
	data, err := sign(st, ring, name, m)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	meta := &metadata.MetaFiles{Version: version, Length: int64(len(data)), Hashes: metadata.Hashes{"sha256": sum[:]}}
	return meta, to.write(fmt.Sprintf("metadata/%d.%s.json", version, name), data)
}

func (r *Repository) write(name string, data []byte) error {
	if err := r.Disk.WriteFile(r.path(name), data, 0o644); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return nil
}
