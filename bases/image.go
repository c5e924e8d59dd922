package bases

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"sync"
)

// Reader reads an image by way of the files that it is made of; a tree is not
// stored twice. It may be used by several goroutines at once.
type Reader struct {
	kind, file string
	root       *os.Root
	index      []byte // of a tree
	parts      []part
	size       int64

	mu      sync.Mutex // guards the fields below
	open    *os.File   // the part read last
	openIdx int
}

type part struct {
	treeEntry
	off int64 // of its first byte in the image
}

// NewImage opens the file or folder at path as an image.
func NewImage(path string) (*Reader, error) { return NewImageOf(path, nil) }

// NewImageOf is NewImage, and leaves out of a folder what skip, if it is not nil,
// says of paths within it; of a folder, all that is in it.
func NewImageOf(path string, skip func(path string, folder bool) bool) (*Reader, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if st.IsDir() {
		return openImage(path, KindTree, "", skip)
	}
	return openImage(filepath.Dir(path), KindFile, filepath.Base(path), nil)
}

// OpenVersion opens the installed version in the folder dir.
func OpenVersion(dir string, img Image) (*Reader, error) {
	r, err := openImage(dir, img.Kind, img.File, nil)
	if err != nil {
		return nil, err
	}
	if r.size != img.Size {
		r.Close()
		return nil, fmt.Errorf("%s has %d bytes as an image, not %d", dir, r.size, img.Size)
	}
	return r, nil
}

func openImage(dir, kind, file string, skip func(path string, folder bool) bool) (*Reader, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	r := &Reader{kind: kind, file: file, root: root}
	if kind == KindTree {
		err = r.readTree(skip)
	} else {
		err = r.statFile()
	}
	if err != nil {
		root.Close()
		return nil, fmt.Errorf("reading %s as an image: %w", dir, err)
	}
	return r, nil
}

func (r *Reader) statFile() error {
	if err := CheckFileName(r.file); err != nil {
		return err
	}
	st, err := r.root.Lstat(r.file)
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file", r.file)
	}
	r.size = st.Size()
	r.parts = []part{{treeEntry: treeEntry{path: r.file, size: r.size}}}
	return nil
}

func (r *Reader) readTree(skip func(path string, folder bool) bool) error {
	var entries []treeEntry
	err := fs.WalkDir(r.root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case skip != nil && p != "." && skip(p, d.IsDir()):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir():
			return nil
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		if !st.Mode().IsRegular() {
			return fmt.Errorf("%s is a %s: a tree holds plain files and folders alone", p, typeName(st.Mode()))
		}
		entries = append(entries, treeEntry{path: p, exec: st.Mode()&0o100 != 0, size: st.Size()})
		return nil
	})
	if err != nil {
		return err
	}
	if r.index, err = formatTree(entries); err != nil {
		return err
	}
	r.size = int64(len(r.index))
	for _, e := range entries {
		r.parts = append(r.parts, part{e, r.size})
		r.size += e.size
	}
	return nil
}

func typeName(m fs.FileMode) string {
	switch {
	case m&fs.ModeSymlink != 0:
		return "symbolic link"
	case m&fs.ModeDevice != 0:
		return "device"
	case m&fs.ModeNamedPipe != 0:
		return "named pipe"
	case m&fs.ModeSocket != 0:
		return "socket"
	}
	return "special file"
}

// Size is the image's length in bytes.
func (r *Reader) Size() int64 { return r.size }

// Kind is [KindFile] or [KindTree].
func (r *Reader) Kind() string { return r.kind }

// File is the file's name for [KindFile], else "".
func (r *Reader) File() string { return r.file }

// ReadAt implements io.ReaderAt. A file that became shorter since the image
// was opened gives io.ErrUnexpectedEOF.
func (r *Reader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("image: negative offset")
	}
	n := 0
	if off < int64(len(r.index)) {
		n = copy(p, r.index[off:])
	}
	i := sort.Search(len(r.parts), func(i int) bool { return r.parts[i].off+r.parts[i].size > off+int64(n) })
	for ; n < len(p) && i < len(r.parts); i++ {
		pt := r.parts[i]
		at := off + int64(n) - pt.off
		want := min(int64(len(p)-n), pt.size-at)
		got, err := r.readPart(i, p[n:n+int(want)], at)
		n += got
		if err != nil {
			return n, err
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (r *Reader) readPart(i int, p []byte, at int64) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open == nil || r.openIdx != i {
		if r.open != nil {
			r.open.Close()
			r.open = nil
		}
		f, err := r.root.Open(r.parts[i].path)
		if err != nil {
			return 0, err
		}
		r.open, r.openIdx = f, i
	}
	n, err := r.open.ReadAt(p, at)
	if n == len(p) {
		return n, nil
	}
	if err == io.EOF {
		err = fmt.Errorf("%s: %w", r.parts[i].path, io.ErrUnexpectedEOF)
	}
	return n, err
}

// Sum reads the image through and gives its SHA-256. It ends when ctx does.
func (r *Reader) Sum(ctx context.Context) (Hash, error) {
	h := sha256.New()
	buf := make([]byte, 256<<10)
	for off := int64(0); off < r.size; off += int64(len(buf)) {
		if ctx.Err() != nil {
			return Hash{}, context.Cause(ctx)
		}
		buf = buf[:min(int64(len(buf)), r.size-off)]
		if _, err := r.ReadAt(buf, off); err != nil {
			return Hash{}, err
		}
		h.Write(buf)
	}
	return Hash(h.Sum(nil)), nil
}

// Count reads the image through and counts its records.
func (r *Reader) Count() (Count, error) { return r.CountFor(Checks{}) }

// CountFor is Count, and looks for the records that checks name.
func (r *Reader) CountFor(checks Checks) (Count, error) {
	c := newCounter(checks)
	buf := make([]byte, 256<<10)
	for _, p := range r.parts {
		if _, err := io.CopyBuffer(c, io.NewSectionReader(r, p.off, p.size), buf); err != nil {
			return Count{}, err
		}
		c.endFile()
	}
	return c.count, nil
}

// find gives the part at path.
func (r *Reader) find(path string) (int, bool) {
	return slices.BinarySearchFunc(r.parts, path, func(p part, s string) int {
		switch {
		case p.path < s:
			return -1
		case p.path > s:
			return 1
		}
		return 0
	})
}

// Close closes the files. The Reader must not be used after it.
func (r *Reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var err error
	if r.open != nil {
		err = r.open.Close()
		r.open = nil
	}
	return errors.Join(err, r.root.Close())
}
