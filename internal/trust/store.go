package trust

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"

	"github.com/freshet/freshet/internal/durable"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// store is the folder of one repository's metadata.
type store struct {
	dir     string
	history string // the folder of all roots
	disk    *durable.Disk
}

// prepare makes the folders and clears what a killed run left in them.
func (s store) prepare() error {
	err := s.disk.MkdirAll(s.history, 0o755)
	// A file or folder found present may have its name in the page cache only;
	// what builds on it must not outlive it.
	for _, dir := range []string{s.dir, s.history} {
		err = errors.Join(err, s.disk.Reap(dir), s.disk.SyncDir(dir))
	}
	err = errors.Join(err, s.disk.SyncDir(filepath.Dir(s.dir)))
	if err != nil {
		return &Error{Kind: Storage, Err: fmt.Errorf("preparing %s: %w", s.dir, err)}
	}
	return nil
}

// read returns the file of a role, nil if there is none; see readFile.
func (s store) read(role string) ([]byte, error) {
	return s.readFile(role, s.path(role), ceiling(role))
}

func (s store) write(role string, data []byte) error {
	return s.writeFile(role, s.path(role), data)
}

// readRoot returns a root of the history, nil if it is not there; see readFile.
func (s store) readRoot(version int64) ([]byte, error) {
	return s.readFile(metadata.ROOT, s.rootPath(version), MaxRoot)
}

// writeRoot adds a root to the history and makes it the newest. Killed in
// between, the history leads the next run to it.
func (s store) writeRoot(version int64, data []byte) error {
	if err := s.writeFile(metadata.ROOT, s.rootPath(version), data); err != nil {
		return err
	}
	return s.write(metadata.ROOT, data)
}

func (s store) writeFile(role, path string, data []byte) error {
	if err := s.disk.WriteFile(path, data, 0o644); err != nil {
		return &Error{Kind: Storage, Role: role, Err: fmt.Errorf("storing: %w", err)}
	}
	return nil
}

// path is where a role is kept. Escaping keeps a hostile role name in dir.
func (s store) path(role string) string {
	return filepath.Join(s.dir, url.PathEscape(role)+".json")
}

func (s store) floorPath() string    { return filepath.Join(s.dir, floorFile) }
func (s store) completePath() string { return filepath.Join(s.dir, completeFile) }

func (s store) rootPath(version int64) string {
	return filepath.Join(s.history, fmt.Sprintf("%d.root.json", version))
}

// readFile returns what is stored at path, nil if there is nothing. An error of
// kind [Storage] is of a file that the system does not give now: whether it is a
// mark is not known, so that the run ends, and nothing is written in its place.
// Any other error is of a damaged file.
func (s store) readFile(role, path string, limit int64) ([]byte, error) {
	data, err := s.disk.ReadFile(path, limit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, withheld(role, err)
}

// readJSON is readFile for a file of our own format, which is read into v; there
// is false if there is none. One of a newer version is of kind [Storage] too.
func (s store) readJSON(role, path string, limit int64, v any) (there bool, err error) {
	err = s.disk.ReadJSON(path, limit, format, v)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, withheld(role, err)
}

// format is the newest of the files of our own that this version reads.
const format = 1

// withheld makes an error of kind [Storage] of one of a file that must be left as
// it is.
func withheld(role string, err error) error {
	if !durable.Lasting(err) {
		return err
	}
	return &Error{Kind: Storage, Role: role, Err: fmt.Errorf("what is stored stays as it is: %w", err)}
}

// ceiling is the most bytes a role's file may have.
func ceiling(role string) int64 {
	switch role {
	case metadata.ROOT:
		return MaxRoot
	case metadata.TIMESTAMP:
		return MaxTimestamp
	case metadata.SNAPSHOT:
		return MaxSnapshot
	}
	return MaxTargets
}
