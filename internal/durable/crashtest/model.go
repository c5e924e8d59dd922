// Package crashtest tells what a power cut would leave of a folder that is
// changed by way of package durable.
//
// A [Model] watches the steps of a [durable.Disk] over real files. What counts
// as kept is only what POSIX promises: the content that a file had when it was
// fsynced, and the names that a folder had when it was.
//
//	           the files as a process sees them
//	steps ───► Model ─┬─ PowerCut   what was synced, and of the rest nothing or any part
//	                  └─ Kill       everything, and what of it was synced stays known
//
// What is changed beside durable (os.Remove, os.Mkdir, …) is never kept for
// sure. Order is not promised either: of two changes that were not synced the
// second may be kept and the first lost, and a name may be kept without the
// content of its file.
package crashtest

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/freshet/freshet/internal/durable"
)

// Model is a folder and what of it is on the disk for sure.
type Model struct {
	Dir string

	mu    sync.Mutex // guards what follows
	root  *node
	nodes map[uint64]*node // by inode number, of those that pins hold
	pins  []int            // descriptors that keep inode numbers from being given again
	begun func()           // what the step that is being done will have synced
}

// New begins to watch dir. All that is in it counts as synced.
func New(dir string) (*Model, error) {
	m := &Model{Dir: dir, nodes: map[uint64]*node{}}
	var err error
	m.root, err = m.node(dir)
	if err == nil {
		err = m.syncAll(dir)
	}
	if err != nil {
		m.Close()
		return nil, err
	}
	m.done()
	return m, nil
}

// Close gives the inodes free. The folder is left to the caller.
func (m *Model) Close() {
	for _, fd := range m.pins {
		unix.Close(fd)
	}
	m.pins = nil
}

// Hooks are called before a step, and after it was done. An error from them is
// the step's.
type Hooks struct {
	Before, After func(op, path string) error
}

// Disk is a disk that the model watches.
func (m *Model) Disk(h Hooks) *durable.Disk {
	return &durable.Disk{
		Step: func(op, path string) error {
			if h.Before != nil {
				if err := h.Before(op, path); err != nil {
					return err
				}
			}
			return m.begin(op, path)
		},
		After: func(op, path string) error {
			m.mu.Lock()
			m.done()
			m.mu.Unlock()
			if h.After != nil {
				return h.After(op, path)
			}
			return nil
		},
	}
}

// begin notes what a step is about to sync, as it is now: what is changed
// while it syncs is not promised.
func (m *Model) begin(op, path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.begun = nil
	if !m.holds(path) {
		return nil
	}
	var err error
	switch op {
	case "fsync":
		// A file being written is announced by the name that it will have.
		written, _ := filepath.Glob(path + ".tmp-*")
		if len(written) == 0 {
			written = []string{path}
		}
		for _, p := range written {
			err = m.syncFile(p)
		}
	case "syncdir":
		err = m.syncNames(path)
	case "syncfs":
		err = m.syncAll(m.Dir)
	}
	if err != nil {
		return fmt.Errorf("crashtest: %w", err)
	}
	return nil
}

// holds says whether path is the folder or lies in it.
func (m *Model) holds(path string) bool {
	rel, err := filepath.Rel(m.Dir, path)
	return err == nil && filepath.IsLocal(rel)
}

// done keeps what the step has synced.
func (m *Model) done() {
	if m.begun != nil {
		m.begun()
	}
	m.begun = nil
}

func (m *Model) then(f func()) {
	before := m.begun
	m.begun = func() {
		if before != nil {
			before()
		}
		f()
	}
}

func (m *Model) syncFile(path string) error {
	n, err := m.node(path)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	m.then(func() { n.content = data })
	return nil
}

func (m *Model) syncNames(dir string) error {
	n, err := m.node(dir)
	if err != nil {
		return err
	}
	names, err := m.names(dir)
	if err != nil {
		return err
	}
	m.then(func() { n.names = names })
	return nil
}

func (m *Model) syncAll(root string) error {
	return filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir():
			return m.syncNames(p)
		case e.Type().IsRegular():
			return m.syncFile(p)
		}
		return nil
	})
}

// names lists what dir holds now.
func (m *Model) names(dir string) (map[string]*node, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	names := map[string]*node{}
	for _, e := range entries {
		if names[e.Name()], err = m.node(filepath.Join(dir, e.Name())); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// node is a file, folder or link, whatever its names.
type node struct {
	mode    fs.FileMode
	target  string           // of a link; a link is kept with its name
	content []byte           // of a file, as synced last
	names   map[string]*node // of a folder, as synced last
}

// node gives what stands at path, which need not have been seen before.
func (m *Model) node(path string) (*node, error) {
	st, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	ino := st.Sys().(*syscall.Stat_t).Ino
	if n, ok := m.nodes[ino]; ok {
		return n, nil
	}
	n := &node{mode: st.Mode()}
	if n.mode&fs.ModeSymlink != 0 {
		if n.target, err = os.Readlink(path); err != nil {
			return nil, err
		}
	}
	return n, m.pin(path, ino, n)
}

// pin holds the inode, so that its number stands for n as long as m is used.
func (m *Model) pin(path string, ino uint64, n *node) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	m.pins = append(m.pins, fd)
	m.nodes[ino] = n
	return nil
}
