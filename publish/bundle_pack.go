package publish

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/internal/durable"
)

// packer makes a bundle beside its name, and gives it the name when it is whole.
type packer interface {
	// create begins a file; its end comes with the next call of any method.
	create(name string, size int64) (io.Writer, error)
	put(name string, data []byte) error
	commit() error
	abort() error // removes what there is
	totals() (files int, bytes int64)
}

// packed counts what went into a bundle.
type packed struct {
	files int
	bytes int64
}

func (p *packed) totals() (int, int64) { return p.files, p.bytes }

func (p *packed) add(size int64) {
	p.files++
	p.bytes += size
}

// newPacker begins a bundle: a zip archive if its name ends so, else a folder.
func (r *Repository) newPacker(out string) (packer, error) {
	tmp := out + ".tmp"
	if err := r.Disk.RemoveAll(tmp); err != nil { // of a run that was killed
		return nil, fmt.Errorf("removing a leftover: %w", err)
	}
	if filepath.Ext(out) != ".zip" {
		return &folderPacker{r: r, tmp: tmp, out: out}, nil
	}
	if err := r.Disk.Do("create", tmp); err != nil {
		return nil, err
	}
	f, err := durable.OpenNew(tmp, os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	return &zipPacker{r: r, tmp: tmp, out: out, file: f, zip: zip.NewWriter(f)}, nil
}

// packFile copies a file of the repository, and checks it on the way.
func (r *Repository) packFile(out packer, f bundleFile) error {
	in, err := os.Open(r.path(f.name))
	if err != nil {
		return err
	}
	defer in.Close()
	w, err := out.create(f.name, f.size)
	if err != nil {
		return err
	}
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, h), io.LimitReader(in, f.size+1))
	if err != nil {
		return fmt.Errorf("copying %s: %w", f.name, err)
	}
	if n != f.size || bases.Hash(h.Sum(nil)) != f.sum {
		return fmt.Errorf("%s is damaged: it has not the content that it is named after", f.name)
	}
	return nil
}

// zipPacker stores files in a zip archive as they are: agents read them where
// they lie, from any offset.
type zipPacker struct {
	packed
	r        *Repository
	tmp, out string
	file     *os.File
	zip      *zip.Writer
}

func (z *zipPacker) create(name string, size int64) (io.Writer, error) {
	z.add(size)
	h := &zip.FileHeader{Name: name, Method: zip.Store, Modified: z.r.now()}
	return z.zip.CreateHeader(h)
}

func (z *zipPacker) put(name string, data []byte) error {
	w, err := z.create(name, int64(len(data)))
	if err == nil {
		_, err = io.Copy(w, bytes.NewReader(data))
	}
	return err
}

func (z *zipPacker) commit() error {
	if err := errors.Join(z.zip.Close(), z.file.Close()); err != nil {
		return err
	}
	st, err := os.Stat(z.tmp)
	if err != nil {
		return err
	}
	z.bytes = st.Size()
	if err := z.r.Disk.SyncTree(z.tmp); err != nil {
		return err
	}
	return z.r.Disk.Rename(z.tmp, z.out)
}

func (z *zipPacker) abort() error {
	z.file.Close()
	return z.r.Disk.RemoveAll(z.tmp)
}

type folderPacker struct {
	packed
	r        *Repository
	tmp, out string
	last     *os.File // being written
}

func (p *folderPacker) create(name string, size int64) (io.Writer, error) {
	if err := p.end(); err != nil {
		return nil, err
	}
	path := filepath.Join(p.tmp, filepath.FromSlash(name))
	if err := p.r.Disk.Do("create", path); err != nil {
		return nil, err
	}
	// Synced as a tree before it gets its name.
	err := durable.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		p.last, err = durable.OpenNew(path, os.O_WRONLY, 0o644)
	}
	if err != nil {
		return nil, err
	}
	p.add(size)
	return p.last, nil
}

func (p *folderPacker) end() error {
	if p.last == nil {
		return nil
	}
	err := p.last.Close()
	p.last = nil
	return err
}

func (p *folderPacker) put(name string, data []byte) error {
	w, err := p.create(name, int64(len(data)))
	if err == nil {
		_, err = w.Write(data)
	}
	return errors.Join(err, p.end())
}

func (p *folderPacker) commit() error {
	if err := p.end(); err != nil {
		return err
	}
	if err := p.r.Disk.SyncTree(p.tmp); err != nil {
		return err
	}
	return p.r.Disk.Rename(p.tmp, p.out)
}

func (p *folderPacker) abort() error {
	p.end()
	return p.r.Disk.RemoveAll(p.tmp)
}
