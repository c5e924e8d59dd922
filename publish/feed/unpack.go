package feed

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"compress/bzip2"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/freshet/freshet/publish/form"
)

// Bounds of what is unpacked. A base has at most so many files.
const (
	maxFiles  = 1 << 17
	maxWindow = 128 << 20 // memory in bytes that a decoder may take
	tarMark   = 257       // where a tar archive has "ustar"
	cvdHeader = 512       // bytes before the archive of a CVD or CLD
)

// unpack puts what is in the file in its place: a folder for an archive, else a
// file. A zip archive of one file is that file.
func (f *Feed) unpack(ctx context.Context, limit int64) error {
	st, err := os.Stat(f.Path)
	if err != nil {
		return nil // the caller says so
	}
	if st.IsDir() {
		return refuse("publish each of its archives as a base of its own, or unpack them before", "%s is a folder, and one archive alone can be unpacked", f.Path)
	}
	file, err := os.Open(f.Path)
	if err != nil {
		return err
	}
	defer file.Close()
	x := &extraction{ctx: ctx, left: limit, feed: f}
	return x.file(file, st.Size())
}

// extraction is one archive on its way.
type extraction struct {
	ctx   context.Context
	feed  *Feed
	left  int64 // bytes that may still come
	files int
	root  *os.Root // of an archive
}

func (x *extraction) file(file *os.File, size int64) error {
	in := bufio.NewReaderSize(file, 64<<10)
	head, _ := in.Peek(8000)
	kind := form.Sniff(head)
	switch {
	case kind == form.Zip:
		return x.zip(file, size)
	case bytes.HasPrefix(head, []byte("ClamAV-VDB:")):
		if _, err := in.Discard(cvdHeader); err != nil {
			return x.broken(err)
		}
		head, _ = in.Peek(8000)
		kind = form.Sniff(head)
	case !kind.Compressed() && !isTar(head):
		return refuse("leave --unpack away, or give gzip, bzip2, xz, zstd, zip, tar or CVD", "%s is no archive that can be unpacked", x.feed.Path)
	}
	plain, err := decoder(x.ctx, kind, in)
	if err != nil {
		return x.broken(err)
	}
	defer plain.Close()
	unpacked := bufio.NewReaderSize(plain, 64<<10)
	head, err = unpacked.Peek(tarMark + 5)
	if err != nil && err != io.EOF {
		return x.broken(err)
	}
	if isTar(head) {
		return x.tar(tar.NewReader(unpacked))
	}
	return x.single(unpacked)
}

func isTar(head []byte) bool {
	return len(head) >= tarMark+5 && string(head[tarMark:tarMark+5]) == "ustar"
}

// decoder undoes a compression; none is none.
func decoder(ctx context.Context, kind form.Content, in io.Reader) (io.ReadCloser, error) {
	switch kind {
	case form.Gzip:
		return gzip.NewReader(in)
	case form.Bzip2:
		return io.NopCloser(bzip2.NewReader(in)), nil
	case form.XZ:
		return newXZ(ctx, in)
	case form.Zstd:
		r, err := zstd.NewReader(in, zstd.WithDecoderMaxMemory(maxWindow), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		return r.IOReadCloser(), nil
	case form.SevenZ:
		return nil, refuse("unpack it before, with 7z x", "7z cannot be unpacked here")
	}
	return io.NopCloser(in), nil
}

// broken says what is wrong with the archive.
func (x *extraction) broken(err error) error {
	var known *Error
	if errors.As(err, &known) || x.ctx.Err() != nil {
		return err
	}
	var disk *fs.PathError
	if errors.As(err, &disk) {
		return fmt.Errorf("unpacking %s: %w", x.feed.Path, err)
	}
	return refuse("check what wrote it: it may be cut short", "unpacking %s: %v", x.feed.Path, err)
}

// single writes the one file that was compressed.
func (x *extraction) single(in io.Reader) error {
	to, err := x.feed.temp("unpacked")
	if err != nil {
		return err
	}
	if _, err := store(x.ctx, to, in, x.left, 0o600); err != nil {
		return x.broken(err)
	}
	x.feed.Path = to
	if name := x.feed.Name; filepath.Ext(name) != "" {
		x.feed.Name = strings.TrimSuffix(name, filepath.Ext(name))
	}
	return nil
}

// begin makes the folder of an archive.
func (x *extraction) begin() error {
	dir, err := x.feed.temp("tree")
	if err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	x.root, err = os.OpenRoot(dir)
	return err
}

func (x *extraction) tar(in *tar.Reader) error {
	if err := x.begin(); err != nil {
		return err
	}
	defer x.root.Close()
	for {
		h, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return x.broken(err)
		}
		switch h.Typeflag {
		case tar.TypeDir, tar.TypeXGlobalHeader:
			if err := x.count(); err != nil {
				return err
			}
		case tar.TypeReg:
			if err := x.put(h.Name, in, h.Mode&0o100 != 0); err != nil {
				return err
			}
		default:
			return refuse("unpack it by hand, and publish the folder", "%s holds %q, which is no plain file (type %q)", x.feed.Path, h.Name, h.Typeflag)
		}
	}
	x.feed.Path = x.root.Name()
	return nil
}

func (x *extraction) zip(file *os.File, size int64) error {
	z, err := zip.NewReader(file, size)
	if err != nil {
		return x.broken(err)
	}
	if err := x.begin(); err != nil {
		return err
	}
	defer x.root.Close()
	last := ""
	for _, f := range z.File {
		mode := f.Mode()
		if mode.IsDir() {
			if err := x.count(); err != nil {
				return err
			}
			continue
		}
		if !mode.IsRegular() {
			return refuse("unpack it by hand, and publish the folder", "%s holds %q, which is no plain file (%s)", x.feed.Path, f.Name, mode.Type())
		}
		in, err := f.Open()
		if err != nil {
			return x.broken(err)
		}
		err = errors.Join(x.put(f.Name, in, mode&0o100 != 0), in.Close())
		if err != nil {
			return err
		}
		last = path.Clean(f.Name)
	}
	x.feed.Path = x.root.Name()
	if len(z.File) == 1 && last != "" {
		x.feed.Path, x.feed.Name = filepath.Join(x.root.Name(), filepath.FromSlash(last)), path.Base(last)
	}
	return nil
}

// count counts an entry.
func (x *extraction) count() error {
	if x.files++; x.files > maxFiles {
		return refuse("publish it as several bases", "%s holds more than %d files", x.feed.Path, maxFiles)
	}
	return x.ctx.Err()
}

// put writes a file of the archive. Its name is not trusted: os.Root keeps it
// within the folder, whatever links there might be.
func (x *extraction) put(name string, in io.Reader, exec bool) error {
	if err := x.count(); err != nil {
		return err
	}
	local := filepath.FromSlash(path.Clean(name))
	if !filepath.IsLocal(local) {
		return refuse("do not use this archive", "%s holds %q, which leads out of its folder", x.feed.Path, name)
	}
	perm := os.FileMode(0o600)
	if exec {
		perm = 0o700
	}
	if err := x.root.MkdirAll(filepath.Dir(local), 0o700); err != nil {
		return fmt.Errorf("unpacking %s: %w", x.feed.Path, err)
	}
	to, err := x.root.OpenFile(local, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if errors.Is(err, fs.ErrExist) {
		return refuse("check what wrote it", "%s holds %q twice", x.feed.Path, name)
	}
	if err != nil {
		return fmt.Errorf("unpacking %s: %w", x.feed.Path, err)
	}
	n, err := fill(x.ctx, to, in, x.left)
	if err != nil {
		return x.broken(err)
	}
	x.left -= n
	return nil
}
