package publish

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// pendingFile is in the repository's folder while a new root and the timestamp
// that it goes with are put in place.
const pendingFile = ".pending.json"

// pending is a change of keys that is decided: what the new root says is signed
// already, all but these two files is in its place, and whoever takes the lock
// next puts these there. Of a root without its timestamp nobody could sign on.
type pending struct {
	Root      int64  `json:"root"` // its version
	RootData  []byte `json:"root_data"`
	Timestamp []byte `json:"timestamp"`
}

// decide makes a change of keys durable, and then puts it in place. If it
// returns an error, either the old keys stand or the next run completes it.
func (r *Repository) decide(p pending) error {
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if err := r.Disk.WriteFile(r.path(pendingFile), data, 0o600); err != nil {
		return fmt.Errorf("writing %s: %w", pendingFile, err)
	}
	return r.complete()
}

// complete puts a change that was decided in place; the caller holds the lock.
func (r *Repository) complete() error {
	data, err := r.readFile(r.path(pendingFile), 4*maxMetadata)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading %s: %w", r.path(pendingFile), err)
	}
	// Found in the page cache alone, it must not outlive what it decides; gone
	// in the page cache alone, it must not come back and undo what follows.
	if err := r.Disk.SyncDir(r.Dir); err != nil {
		return err
	}
	if data == nil {
		return nil
	}
	p, err := parsePending(data)
	if err != nil {
		return fmt.Errorf("reading %s: %w", r.path(pendingFile), err)
	}
	if err := r.write(fmt.Sprintf("metadata/%d.root.json", p.Root), p.RootData); err != nil {
		return err
	}
	if err := r.write("metadata/timestamp.json", p.Timestamp); err != nil {
		return err
	}
	return r.Disk.RemoveAll(r.path(pendingFile))
}

// parsePending refuses what no change of keys can have decided: a damaged file
// must not take the place of a timestamp that is whole.
func parsePending(data []byte) (pending, error) {
	var p pending
	if err := json.Unmarshal(data, &p); err != nil {
		return p, err
	}
	root, err := new(metadata.Metadata[metadata.RootType]).FromBytes(p.RootData)
	if err != nil {
		return p, fmt.Errorf("its root: %w", err)
	}
	timestamp, err := new(metadata.Metadata[metadata.TimestampType]).FromBytes(p.Timestamp)
	if err != nil {
		return p, fmt.Errorf("its timestamp: %w", err)
	}
	if p.Root < 2 || root.Signed.Version != p.Root {
		return p, fmt.Errorf("its root has version %d, not %d", root.Signed.Version, p.Root)
	}
	for role, signed := range map[string]any{metadata.ROOT: root, metadata.TIMESTAMP: timestamp} {
		if err := root.VerifyDelegate(role, signed); err != nil {
			return p, fmt.Errorf("its %s: %w", role, err)
		}
	}
	return p, nil
}

// settled refuses to read a repository in which a change of keys is on its way.
func (r *Repository) settled() error {
	if _, err := os.Lstat(r.path(pendingFile)); err == nil {
		return refuse("freshet-publish refresh "+r.Dir+" completes it", "a change of keys was cut short")
	}
	return nil
}
