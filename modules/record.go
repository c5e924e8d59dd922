package modules

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"reflect"

	"golang.org/x/sys/unix"

	"github.com/freshet/freshet/internal/durable"
)

// record remembers what was delivered into one folder. It is kept among the
// agent's own state: in the engine's folder, whoever may write there could
// have the agent remove files of others.
type record struct {
	To      string           `json:"to"`
	Files   map[string]entry `json:"files"`
	Folders map[string]bool  `json:"folders,omitempty"` // those made for it

	// First says that no version of the base has proved itself here: the folder
	// is to be as it was before when the one delivered is given up.
	First bool `json:"first,omitempty"`
}

// recordFormat is the newest format of records that is known here. They name
// none yet.
const recordFormat = 1

// entry is a delivered file.
type entry struct {
	From ident `json:"from"` // in the version
	As   ident `json:"as"`   // in the engine's folder

	// Adopted says that a file of others stood there before, the same to the
	// byte: it is kept at the version, and never removed.
	Adopted bool `json:"adopted,omitempty"`
}

// pending says that the file was about to be put.
func (e entry) pending() bool { return e.As == ident{} }

// ident tells a file from another that has come to its place.
type ident struct {
	Inode    uint64 `json:"inode"`
	Size     int64  `json:"size"`
	Modified int64  `json:"modified"` // ns
	Changed  int64  `json:"changed"`  // ns; also by a change of owner, mode or links
}

func identity(st unix.Stat_t) ident {
	return ident{Inode: st.Ino, Size: st.Size, Modified: st.Mtim.Nano(), Changed: st.Ctim.Nano()}
}

// same compares what is in the files, not whom they belong to.
func (i ident) same(j ident) bool {
	i.Changed, j.Changed = 0, 0
	return i == j
}

func (r record) clone() record {
	c := record{To: r.To, First: r.First, Files: maps.Clone(r.Files), Folders: maps.Clone(r.Folders)}
	if c.Files == nil {
		c.Files = map[string]entry{}
	}
	if c.Folders == nil {
		c.Folders = map[string]bool{}
	}
	return c
}

// recordPath names the record by base and folder: when the operator changes
// the folder, what was delivered into the old one is taken back, see TakeBack.
func (r *reconciler) recordPath() string {
	sum := sha256.Sum256([]byte(filepath.Clean(r.To)))
	return filepath.Join(r.StateDir, "delivered", fmt.Sprintf("%s-%x.json", r.base, sum[:4]))
}

func (r *reconciler) save(next record) error {
	if next.First == r.saved.First && reflect.DeepEqual(next.Files, r.saved.Files) && reflect.DeepEqual(next.Folders, r.saved.Folders) {
		return nil
	}
	next.To = r.To
	data, err := json.Marshal(next)
	if err != nil {
		return err
	}
	path := r.recordPath()
	if err := r.disk.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("remembering what is delivered: %w", err)
	}
	if err := r.disk.WriteFile(path, data, 0o600); err != nil {
		return fmt.Errorf("remembering what is delivered: %w", err)
	}
	r.saved = next.clone()
	return nil
}

// loadRecord reads a record; none is an empty one. After an error nothing is
// delivered or removed: what is ours is not known.
func loadRecord(path string) (record, error) {
	const most = 64 << 20
	var r record
	err := (&durable.Disk{}).ReadJSON(path, most, recordFormat, &r)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return record{}, nil
	case errors.As(err, new(*durable.DamagedError)):
		return record{}, fmt.Errorf("%w (remove it, and move away what was delivered)", err)
	case err != nil:
		return record{}, err
	}
	for name := range r.Files {
		if !fs.ValidPath(name) {
			return record{}, fmt.Errorf("%s is damaged: it names %q", path, name)
		}
	}
	for name := range r.Folders {
		if !fs.ValidPath(name) {
			return record{}, fmt.Errorf("%s is damaged: it names %q", path, name)
		}
	}
	return r, nil
}
