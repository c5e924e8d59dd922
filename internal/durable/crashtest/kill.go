package crashtest

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Kill copies the folder to the folder to, which it makes, and gives a model
// of the copy: what a process leaves that is killed now. Its files are whole,
// and what of them is on the disk for sure is as before.
func (m *Model) Kill(to string) (*Model, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := &kill{from: m, to: &Model{Dir: to, nodes: map[uint64]*node{}}, twins: map[*node]*node{}, copied: map[*node]string{}}
	k.to.root = k.twin(m.root)
	err := filepath.WalkDir(m.Dir, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(m.Dir, p)
		if err != nil {
			return err
		}
		return k.copy(p, filepath.Join(to, rel))
	})
	if err != nil {
		k.to.Close()
		return nil, err
	}
	return k.to, nil
}

type kill struct {
	from, to *Model
	twins    map[*node]*node
	copied   map[*node]string
}

// twin copies what is known of n and of all that it leads to.
func (k *kill) twin(n *node) *node {
	if t, ok := k.twins[n]; ok {
		return t
	}
	t := &node{mode: n.mode, target: n.target, content: n.content}
	k.twins[n] = t
	if n.names != nil {
		t.names = map[string]*node{}
	}
	for name, child := range n.names {
		t.names[name] = k.twin(child)
	}
	return t
}

func (k *kill) copy(path, to string) error {
	n, err := k.from.node(path)
	if err != nil {
		return err
	}
	if first, ok := k.copied[n]; ok {
		return os.Link(first, to)
	}
	switch {
	case n.mode.IsDir():
		err = os.Mkdir(to, n.mode.Perm())
	case n.mode&fs.ModeSymlink != 0:
		err = os.Symlink(n.target, to)
	default:
		var data []byte
		if data, err = os.ReadFile(path); err == nil {
			err = os.WriteFile(to, data, n.mode.Perm())
		}
		k.copied[n] = to
	}
	if err != nil {
		return err
	}
	st, err := os.Lstat(to)
	if err != nil {
		return err
	}
	return k.to.pin(to, st.Sys().(*syscall.Stat_t).Ino, k.twin(n))
}
