// Package trust is a client of The Update Framework (TUF, specification
// 1.0.x): it decides what a repository's metadata may be believed, and keeps
// what it believes on disk so that no source can turn it back.
//
//	root ──► timestamp ──► snapshot ──► targets ──► bases, modules, …
//	 signs       names        names        delegates to
//	 the keys    the newest   the newest   roles that name targets
//	 of all      snapshot     of each role by length and SHA-256
//
// The verifying itself is go-tuf's trustedmetadata; this package adds the
// order of the steps, the limits, the search through delegations and the
// storing. On disk, below [Client.Dir]:
//
//	root.json                   the newest trusted root
//	root_history/N.root.json    each root that was ever trusted
//	timestamp.json snapshot.json targets.json
//	ROLE.json                   a delegated role, its name URL-escaped
//	floor                       the newest time of signing, where the timestamp's is not it
//	last-complete               timestamp and snapshot of the last complete set
//
// All but the last two of it is the bytes the publisher signed. The stored timestamp and
// snapshot are a high-water mark: only new keys in a newer root lower it
// (fast-forward recovery, section 5.3.11 of the specification).
package trust

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/freshet/freshet/internal/clock"
	"github.com/freshet/freshet/internal/durable"
	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"
)

// Most bytes that are read of each role, and most steps taken.
const (
	MaxRoot      = 512 << 10
	MaxTimestamp = 16 << 10
	MaxSnapshot  = 2 << 20
	MaxTargets   = 5 << 20

	maxNewRoots   = 256  // in one Refresh
	maxOldRoots   = 1024 // searched for the keys of what is stored
	maxRoles      = 32   // visited in one search
	maxSignatures = 256  // on one file
	maxRoleName   = 64   // bytes of a delegated role's name
	maxFloor      = 4096 // bytes of floorFile
)

// ErrNotFound is what a [Fetcher] wraps when the source says that a file is
// not there: HTTP 404 or 410, and 403, with which buckets that may not be
// listed answer; for a folder, no such file.
var ErrNotFound = errors.New("not found at the source")

// ErrTooLarge is what a [Fetcher] wraps when a file is longer than its limit.
var ErrTooLarge = errors.New("longer than allowed")

// Fetcher reads files of one repository from one source.
type Fetcher interface {
	// Fetch returns the whole file at path, at most limit bytes of it; a
	// longer one is [ErrTooLarge], one that is not there [ErrNotFound]. path
	// is relative to the repository and URL-escaped, as in
	// "metadata/2.root.json".
	Fetch(ctx context.Context, path string, limit int64) ([]byte, error)
}

// NamedFetcher is a [Fetcher] that knows other sources of the same repository.
type NamedFetcher interface {
	Fetcher
	// FetchNamed is Fetch for a file that verified metadata names, from whichever
	// source: it returns the first for which right returns nil, else an error
	// as Fetch or right gave it for this source.
	FetchNamed(ctx context.Context, path string, limit int64, right func([]byte) error) ([]byte, error)
}

// Client keeps the metadata of one repository. Whoever calls Refresh must
// hold the lock over Dir.
type Client struct {
	Dir   string        // where metadata is kept; made when missing
	Root  []byte        // pinned root of trust, used when Dir holds no usable root
	Clock *clock.Clock  // expiry is checked against the later of it and the floor; nil is the system's
	Disk  *durable.Disk // nil is the real disk

	// Sets has [View.Complete] say which sets of metadata are complete. What was
	// seen of a set that no source gave whole is then no reason to refuse an
	// older one, as long as that is not below the last complete one. Without it
	// all that was seen is.
	Sets bool

	// AnyHash accepts targets that have a SHA-512 hash and no SHA-256. It is
	// for conformance tests: Freshet names content by its SHA-256.
	AnyHash bool
}

// Refresh brings the metadata up to date from one source and returns what is
// then trusted: root, timestamp, snapshot and targets. Delegated roles are
// fetched when a target is asked for. Each file is stored, durably, as soon
// as it is verified, and what is stored and still matches is not fetched:
// when there is nothing new, two requests are made, for the next root and the
// timestamp.
//
// An error is an [*Error]. After one, what was trusted before, or a newer
// part of it, is still stored, and the same call may be repeated. A stored file
// that is damaged is passed over; one that the disk does not give, or that a newer
// version wrote, ends the run ([Storage]): it may be the high-water mark.
func (c *Client) Refresh(ctx context.Context, f Fetcher) (*View, error) {
	r := &refresh{store: c.store(), f: f, present: present{clock: c.Clock.Read()}, sets: c.Sets}
	steps := []func(context.Context) error{
		func(context.Context) error { return r.store.prepare() },
		func(context.Context) error { return r.openRoot(c.Root) },
		r.walkRoot,
		r.updateTimestamp,
		r.updateSnapshot,
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	v := &View{trusted: r.trusted, store: r.store, anyHash: c.AnyHash, notes: r.notes, present: r.present, older: r.older}
	if c.Sets {
		v.set = r.set
	}
	if _, err := v.load(ctx, f, metadata.TARGETS, nil); err != nil {
		return nil, err
	}
	return v, nil
}

// Load gives a view of what is stored, without a source. What is expired can
// still be read, as can a part whose newer version an interrupted Refresh did
// not get; both, and files that are damaged and were passed over, are told by
// [View.Notes]. Before the first Refresh the view holds the pinned root alone.
// The error, an [*Error], is [NoRoot] when there is not even that, and [Storage]
// where the disk does not give what is stored.
func (c *Client) Load() (*View, error) {
	r := &refresh{store: c.store()}
	if err := r.findRoot(c.Root); err != nil {
		return nil, err
	}
	v := &View{trusted: r.trusted, store: r.store, anyHash: c.AnyHash, offline: true, notes: r.notes}
	if err := v.loadStored(c.Clock.Read()); err != nil {
		return nil, err
	}
	return v, nil
}

func (c *Client) store() store {
	return store{dir: c.Dir, history: filepath.Join(c.Dir, "root_history"), disk: c.Disk}
}

// refresh is one run over one source.
type refresh struct {
	store store
	f     Fetcher
	present
	trusted *trustedmetadata.TrustedMetadata
	notes   []error

	rootData []byte // the bytes of trusted.Root
	marks    marks  // what is refused below
	stored   marks  // as they are stored

	sets  bool // see Client.Sets
	set   set  // the bytes of the trusted timestamp and snapshot
	older bool // it is older than what was seen: it becomes no mark before it is complete
}

func (r *refresh) note(kind Kind, role string, err error) {
	r.notes = append(r.notes, &Error{Kind: kind, Role: role, Err: err})
}
