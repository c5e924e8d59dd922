package bases

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/freshet/freshet/internal/durable"
)

// Builder takes an image, written to it in order, apart into the files of a
// version, in a folder of its own. Files that are the same in an older version
// become hard links to it. Nothing is synced before Finish.
type Builder struct {
	disk    *durable.Disk
	dir     string
	img     Image
	old     *Reader // nil: no older version
	oldDir  string
	counter *counter
	written int64

	// ReadOnly makes files that nobody is to write to, as programs are. It is
	// set before the first Write.
	ReadOnly bool

	index   []byte // of a tree, until it is whole
	entries []treeEntry
	next    int // entries before it are done
	cur     *partFile
	made    map[string]bool
}

// NewBuilder begins version m in the folder dir, which must be empty. old, if
// not nil, is the opened older version in oldDir.
func NewBuilder(disk *durable.Disk, dir string, m *Manifest, old *Reader, oldDir string) *Builder {
	b := &Builder{
		disk: disk, dir: dir, img: m.Image, old: old, oldDir: oldDir,
		counter: newCounter(m.Checks), made: map[string]bool{".": true},
	}
	if m.Image.Kind == KindFile {
		b.entries = []treeEntry{{path: m.Image.File, size: m.Image.Size}}
	}
	return b
}

// Write takes the next bytes of the image. An image that is not well formed
// or would leave the folder is an error.
func (b *Builder) Write(p []byte) (int, error) {
	n := len(p)
	b.written += int64(n)
	if b.written > b.img.Size {
		return 0, fmt.Errorf("the image is longer than the %d bytes signed for it", b.img.Size)
	}
	if b.img.Kind == KindTree && b.entries == nil {
		rest, err := b.takeIndex(p)
		if err != nil {
			return 0, err
		}
		p = rest
	}
	for len(p) > 0 {
		if ok, err := b.openNext(); err != nil {
			return 0, err
		} else if !ok {
			return 0, errors.New("bytes behind the last file of the image")
		}
		k := int(min(int64(len(p)), b.cur.left))
		b.counter.Write(p[:k])
		if err := b.cur.write(p[:k]); err != nil {
			return 0, err
		}
		p = p[k:]
		if b.cur.left == 0 {
			if err := b.endFile(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

// takeIndex collects the index of a tree and gives what follows it in p.
func (b *Builder) takeIndex(p []byte) ([]byte, error) {
	from := max(0, len(b.index)-1)
	b.index = append(b.index, p...)
	end := bytes.Index(b.index[from:], []byte("\n\n"))
	if end < 0 {
		if len(b.index) > maxTreeIndex {
			return nil, fmt.Errorf("the index of the tree has no end within %d bytes", maxTreeIndex)
		}
		return nil, nil
	}
	end += from + 2
	entries, err := parseTree(b.index[:end])
	if err != nil {
		return nil, err
	}
	rest := p[len(p)-(len(b.index)-end):]
	size := int64(end)
	for _, e := range entries {
		if e.size > b.img.Size-size {
			return nil, fmt.Errorf("tree: %q is longer than the image", e.path)
		}
		size += e.size
	}
	if size != b.img.Size {
		return nil, fmt.Errorf("tree: its files make %d bytes, signed are %d", size, b.img.Size)
	}
	b.entries, b.index = entries, nil
	return rest, nil
}

// openNext makes the next file with content the current one, making empty
// files on the way. It says whether there is one.
func (b *Builder) openNext() (bool, error) {
	for b.cur == nil && b.next < len(b.entries) {
		e := b.entries[b.next]
		if err := b.mkdir(filepath.Dir(e.path)); err != nil {
			return false, err
		}
		b.cur = b.newPart(e)
		if e.size > 0 {
			break
		}
		if err := b.endFile(); err != nil {
			return false, err
		}
	}
	return b.cur != nil, nil
}

func (b *Builder) mkdir(dir string) error {
	if b.made[dir] {
		return nil
	}
	b.made[dir] = true
	if err := b.disk.Do("mkdir", filepath.Join(b.dir, dir)); err != nil {
		return err
	}
	return durable.MkdirAll(filepath.Join(b.dir, dir), 0o755)
}

func (b *Builder) endFile() error {
	b.counter.endFile()
	err := b.cur.end()
	b.cur = nil
	b.next++
	return err
}

// Finish ends the version and makes it durable. It gives what was counted.
// The caller has checked the image's hash, or does before the version is used.
func (b *Builder) Finish() (Count, error) {
	if b.written != b.img.Size {
		return Count{}, fmt.Errorf("the image ends after %d bytes, signed are %d", b.written, b.img.Size)
	}
	if len(b.entries) == 0 {
		return Count{}, errors.New("the index of the tree is cut off")
	}
	if _, err := b.openNext(); err != nil { // empty files at the end
		return Count{}, err
	}
	if err := b.disk.SyncTree(b.dir); err != nil {
		return Count{}, fmt.Errorf("syncing the new version: %w", err)
	}
	return b.counter.count, nil
}

// Abort closes what is open. The folder is left to the caller.
func (b *Builder) Abort() {
	if b.cur != nil && b.cur.f != nil {
		b.cur.f.Close()
	}
}

// partFile is one file of the image. As long as its bytes equal the older
// version's file it writes nothing; if they do to the end it becomes a link.
type partFile struct {
	b    *Builder
	e    treeEntry
	left int64
	same int  // index of the older file in b.old.parts, while equal
	eq   bool // still equal
	f    *os.File
	buf  []byte
}

func (b *Builder) newPart(e treeEntry) *partFile {
	p := &partFile{b: b, e: e, left: e.size}
	if b.old != nil && b.img.Kind == KindTree {
		if i, ok := b.old.find(e.path); ok && b.old.parts[i].size == e.size && b.old.parts[i].exec == e.exec {
			p.same, p.eq = i, true
		}
	}
	return p
}

func (p *partFile) write(data []byte) error {
	if p.eq {
		if cap(p.buf) < len(data) {
			p.buf = make([]byte, len(data))
		}
		was := p.buf[:len(data)]
		_, err := p.b.old.ReadAt(was, p.b.old.parts[p.same].off+p.e.size-p.left)
		if err == nil && bytes.Equal(was, data) {
			p.left -= int64(len(data))
			return nil
		}
		if err := p.diverge(); err != nil {
			return err
		}
	}
	if p.f == nil {
		if err := p.create(); err != nil {
			return err
		}
	}
	if err := p.b.disk.Do("write", p.f.Name()); err != nil {
		return err
	}
	p.left -= int64(len(data))
	_, err := p.f.Write(data)
	return err
}

// diverge writes the bytes that were equal so far and goes on as a new file.
func (p *partFile) diverge() error {
	p.eq = false
	if err := p.create(); err != nil {
		return err
	}
	start := p.b.old.parts[p.same].off
	buf := make([]byte, 64<<10)
	for at := int64(0); at < p.e.size-p.left; {
		n := min(int64(len(buf)), p.e.size-p.left-at)
		if _, err := p.b.old.ReadAt(buf[:n], start+at); err != nil {
			return err
		}
		if _, err := p.f.Write(buf[:n]); err != nil {
			return err
		}
		at += n
	}
	return nil
}

func (p *partFile) path() string { return filepath.Join(p.b.dir, filepath.FromSlash(p.e.path)) }

func (p *partFile) create() (err error) {
	if err := p.b.disk.Do("open", p.path()); err != nil {
		return err
	}
	perm := fs.FileMode(0o644)
	if p.e.exec {
		perm = 0o755
	}
	if p.b.ReadOnly {
		perm &^= 0o222
	}
	p.f, err = durable.OpenNew(p.path(), os.O_WRONLY, perm)
	return err
}

func (p *partFile) end() error {
	if p.eq && p.e.size > 0 {
		err := p.b.disk.Link(filepath.Join(p.b.oldDir, filepath.FromSlash(p.e.path)), p.path())
		if err == nil {
			return nil
		}
		// Too many links, or another file system; or it is there all the same.
		if err := p.b.disk.RemoveAll(p.path()); err != nil {
			return err
		}
		if err := p.diverge(); err != nil {
			return err
		}
	}
	if p.f == nil {
		if err := p.create(); err != nil {
			return err
		}
	}
	return p.f.Close()
}
