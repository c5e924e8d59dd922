package trust

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
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

// read returns the file of a role, nil if there is none.
func (s store) read(role string) ([]byte, error) {
	return readFile(s.path(role), ceiling(role))
}

func (s store) write(role string, data []byte) error {
	return s.writeFile(role, s.path(role), data)
}

// readRoot returns a root of the history, nil if it is not there.
func (s store) readRoot(version int64) ([]byte, error) {
	return readFile(s.rootPath(version), MaxRoot)
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

func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s: %w: more than %d bytes", path, ErrTooLarge, limit)
	}
	return data, nil
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
