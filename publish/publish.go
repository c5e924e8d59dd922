// Package publish makes and keeps the repository that agents update from: a
// folder of static files that any web server can serve and none is trusted with.
//
//	REPO/
//	  metadata/N.root.json  N.targets.json  N.bases.json  N.modules.json  N.snapshot.json
//	  metadata/timestamp.json           the only file that is ever replaced
//	  targets/bases/SHA256.NAME.json    manifests, see bases.Manifest
//	  blobs/SHA256                      full images, deltas, delta indexes
//	  .publish.json  .lock              the publisher's own, not served
//
// A release is written in this order, each file synced with its folder before
// the next is begun: blobs, manifest, N.bases.json, N.snapshot.json,
// timestamp.json. What counts is what timestamp.json reaches; until it is
// replaced nothing has changed, so a run may be killed anywhere and the same
// command given again.
package publish

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/freshet/freshet/internal/clock"
	"github.com/freshet/freshet/internal/durable"
)

// Repository is a repository in a folder, seen by its publisher.
type Repository struct {
	Dir    string
	Keys   []string            // folders with keys; none: the one that Init was given
	Disk   *durable.Disk       // nil is the real one
	Clock  *clock.Clock        // nil is the system's
	Report func(step Progress) // nil is silent; called by one goroutine at a time
	Stdin  io.Reader           // what the path "-" stands for
	Warn   func(text string)   // of what a person should look after; nil is silent
	Force  bool                // sign by this clock, whatever checkClock says
}

// Progress says what is being done: step Done of Total, both 0 where steps are
// not counted.
type Progress struct {
	Text  string
	Done  int
	Total int
}

// Error is an error that a person can do something about.
type Error struct {
	Reason string
	Hint   string // what to do
}

func (e *Error) Error() string { return e.Reason }

func refuse(hint, format string, args ...any) error {
	return &Error{Reason: fmt.Sprintf(format, args...), Hint: hint}
}

// config is what a publisher remembers of a repository, in .publish.json. It
// holds no secret.
type config struct {
	Keys string `json:"keys"` // absolute path of the folder with the online keys
}

const (
	configFile = ".publish.json"
	lockFile   = ".lock"
)

func (r *Repository) path(parts ...string) string {
	return filepath.Join(append([]string{r.Dir}, parts...)...)
}

func (r *Repository) metadata(name string) string { return r.path("metadata", name) }

// now is the clock in UTC and whole seconds, as TUF metadata writes time.
func (r *Repository) now() time.Time { return r.Clock.Now().UTC().Truncate(time.Second) }

func (r *Repository) report(format string, args ...any) {
	if r.Report != nil {
		r.Report(Progress{Text: fmt.Sprintf(format, args...)})
	}
}

func (r *Repository) warn(format string, args ...any) {
	if r.Warn != nil {
		r.Warn(fmt.Sprintf(format, args...))
	}
}

// begin takes the lock of a repository that is there, see lock.
func (r *Repository) begin(ctx context.Context) (*durable.Lock, error) {
	if err := r.exists(); err != nil {
		return nil, err
	}
	return r.lock(ctx)
}

// lock takes the lock, waiting for it until ctx ends, and removes what an
// interrupted run left half written.
func (r *Repository) lock(ctx context.Context) (*durable.Lock, error) {
	lock, err := r.Disk.Lock(r.path(lockFile))
	if errors.Is(err, durable.ErrLocked) {
		r.report("waiting for another freshet-publish that works on %s", r.Dir)
		lock, err = r.Disk.LockWait(ctx, r.path(lockFile))
	}
	if err != nil {
		return nil, fmt.Errorf("locking %s: %w", r.Dir, err)
	}
	for _, dir := range []string{".", "metadata", "targets/bases", "targets/modules", "blobs"} {
		if err := r.Disk.Reap(r.path(dir)); err != nil {
			lock.Unlock()
			return nil, fmt.Errorf("removing leftovers: %w", err)
		}
	}
	if err := r.complete(); err != nil {
		lock.Unlock()
		return nil, fmt.Errorf("completing a change of keys that was cut short: %w", err)
	}
	return lock, nil
}

// beginSigning is begin, and reads the state and the keys at hand: all that
// work which signs starts from. The caller unlocks.
func (r *Repository) beginSigning(ctx context.Context) (*durable.Lock, *state, keyring, error) {
	lock, err := r.begin(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	st, err := r.load(time.Time{})
	if err != nil {
		lock.Unlock()
		return nil, nil, nil, err
	}
	ring, err := r.keyring()
	if err != nil {
		lock.Unlock()
		return nil, nil, nil, err
	}
	if err := r.checkClock(st); err != nil {
		lock.Unlock()
		return nil, nil, nil, err
	}
	r.tellClosed()
	return lock, st, ring, nil
}

// readFile reads a file of the repository of at most limit bytes.
func (r *Repository) readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s is longer than %d bytes", path, limit)
	}
	return data, nil
}

func (r *Repository) readConfig() (config, error) {
	var c config
	data, err := r.readFile(r.path(configFile), 64<<10)
	if err != nil {
		return c, err
	}
	if err := durable.CheckFormat(r.path(configFile), data, 1); err != nil {
		return c, err
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return c, fmt.Errorf("reading %s: %w", r.path(configFile), err)
	}
	return c, nil
}
