package crashtest

import (
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
)

// PowerCut writes to the folder to, which it makes, what a power cut now would
// leave. With no random source that is what was synced and nothing else;
// with one, some of the rest too: any name may stand, be gone, or lead to what
// it led to before, and a file may have its new content, a part of it, or
// zeros in its place.
func (m *Model) PowerCut(to string, random *rand.Rand) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &cut{model: m, written: map[*node]string{}, live: map[*node]string{}, random: random}
	if random != nil {
		if err := c.findLive(); err != nil {
			return err
		}
		odds := []float64{0, 0.1, 0.5, 0.9, 1}
		c.nameOdds = odds[1+random.IntN(len(odds)-1)]
		c.contentOdds = odds[random.IntN(len(odds))]
	}
	return c.write(m.root, to)
}

// cut is one power cut.
type cut struct {
	model   *Model
	written map[*node]string // files written, for hard links
	live    map[*node]string // what has a name now, by a path to it

	random      *rand.Rand // nil: the worst case
	nameOdds    float64    // that a change of a name was written
	contentOdds float64    // that a file's new content was
}

func (c *cut) findLive() error {
	return filepath.WalkDir(c.model.Dir, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		n, err := c.model.node(p)
		c.live[n] = p
		return err
	})
}

func (c *cut) write(n *node, to string) error {
	switch {
	case n.mode.IsDir():
		return c.writeFolder(n, to)
	case n.mode&fs.ModeSymlink != 0:
		return os.Symlink(n.target, to)
	}
	if first, ok := c.written[n]; ok {
		return os.Link(first, to)
	}
	c.written[n] = to
	data, err := c.content(n)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, n.mode.Perm())
}

func (c *cut) writeFolder(n *node, to string) error {
	if err := os.Mkdir(to, n.mode.Perm()); err != nil {
		return err
	}
	names, err := c.names(n)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if err := c.write(names[name], filepath.Join(to, name)); err != nil {
			return err
		}
	}
	return nil
}

// names are those kept of a folder, each as synced or as it is now.
func (c *cut) names(n *node) (map[string]*node, error) {
	dir, ok := c.live[n]
	if !ok {
		return n.names, nil
	}
	now, err := c.model.names(dir)
	if err != nil {
		return nil, err
	}
	all := maps.Clone(now)
	maps.Copy(all, n.names)
	kept := map[string]*node{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		from := n.names
		if now[name] != n.names[name] && c.random.Float64() < c.nameOdds {
			from = now
		}
		if at, ok := from[name]; ok {
			kept[name] = at
		}
	}
	return kept, nil
}

// content is what is kept of a file.
func (c *cut) content(n *node) ([]byte, error) {
	path, ok := c.live[n]
	if !ok {
		return n.content, nil
	}
	now, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if string(now) == string(n.content) || c.random.Float64() >= c.contentOdds {
		return n.content, nil
	}
	kept := common(now, n.content) // what was synced and is unchanged stays
	at := kept + c.random.IntN(len(now)-kept+1)
	switch c.random.IntN(4) {
	case 0:
		return now[:at], nil // the rest was not written, nor the length
	case 1:
		clear(now[at:]) // the length was, the rest was not
	case 2:
		clear(now[kept:])
	}
	return now, nil
}

// common is the length of what a and b begin with alike.
func common(a, b []byte) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}
