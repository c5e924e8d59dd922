package source

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// maxEntries is the largest number of files in an archive.
const maxEntries = 100_000

// maxDirectory bounds the list of them in bytes, which zip reads whole before it
// can be asked how many they are.
const maxDirectory = 16 << 20

// bounded gives no more than some bytes in all.
type bounded struct {
	io.ReaderAt
	left int64
}

func (b *bounded) ReadAt(p []byte, at int64) (int, error) {
	if b.left -= int64(len(p)); b.left < 0 {
		return 0, fmt.Errorf("its list of files is longer than %d bytes", maxDirectory)
	}
	return b.ReaderAt.ReadAt(p, at)
}

// Archive is a source in one file, as freshet-publish bundle makes it: a zip
// archive whose files are stored, not compressed, so that any of them can be
// read from any offset. Nothing is unpacked. It is as little trusted as any
// source.
type Archive struct {
	Path  string
	Count *Counter // nil counts nothing
}

// Local is the source at path: an [Archive] if that is a file, else a [Folder].
func Local(path string, count *Counter) Source {
	if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() {
		return &Archive{Path: path, Count: count}
	}
	return &Folder{Path: path, Count: count}
}

// Name is the file.
func (a *Archive) Name() string { return a.Path }

// Fetch reads a small file whole: see [Source].
func (a *Archive) Fetch(ctx context.Context, path string, limit int64) ([]byte, error) {
	body, size, err := a.open(ctx, path)
	if err != nil {
		return nil, a.wrap(path, err)
	}
	defer body.Close()
	if size > limit {
		return nil, a.wrap(path, tooBig(limit))
	}
	data, err := readAtMost(a.Count.body(body), limit)
	if err != nil {
		return nil, a.wrap(path, err)
	}
	return data, nil
}

// Open streams a file: see [Source]. It always begins at offset.
func (a *Archive) Open(ctx context.Context, path string, offset, size int64) (io.ReadCloser, int64, error) {
	if err := checkRange(offset, size); err != nil {
		return nil, 0, a.wrap(path, err)
	}
	body, there, err := a.open(ctx, path)
	if err != nil {
		return nil, 0, a.wrap(path, err)
	}
	if there != size {
		err = sizeError(there, size)
	} else {
		_, err = body.part.Seek(offset, io.SeekStart)
	}
	if err != nil {
		body.Close()
		return nil, 0, a.wrap(path, err)
	}
	return &exactly{a.Count.body(body), size - offset}, offset, nil
}

// stored is one file of an archive.
type stored struct {
	folderFile
	part *io.SectionReader
}

func (s *stored) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.part.Read(p)
}

func (a *Archive) open(ctx context.Context, path string) (*stored, int64, error) {
	if err := checkPath(path); err != nil {
		return nil, 0, err
	}
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	a.Count.request()
	file, err := os.OpenFile(a.Path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, fmt.Errorf("%w (is it mounted?)", err)
	}
	part, err := find(file, path)
	if err != nil {
		file.Close()
		return nil, 0, err
	}
	return &stored{folderFile{ctx, file}, part}, part.Size(), nil
}

// find looks path up in the archive's directory.
func find(file *os.File, path string) (*io.SectionReader, error) {
	st, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, errors.New("this is no regular file")
	}
	list := &bounded{file, maxDirectory}
	z, err := zip.NewReader(list, st.Size())
	if err != nil {
		return nil, fmt.Errorf("%w: no zip archive: %w", ErrWrongFile, err)
	}
	list.left = math.MaxInt64
	if len(z.File) > maxEntries {
		return nil, fmt.Errorf("%w: an archive of %d files", ErrWrongFile, len(z.File))
	}
	for _, f := range z.File {
		if f.Name != path {
			continue
		}
		size := int64(f.UncompressedSize64)
		if f.Method != zip.Store || f.CompressedSize64 != f.UncompressedSize64 || size < 0 {
			return nil, fmt.Errorf("%w: the archive holds it compressed", ErrWrongFile)
		}
		off, err := f.DataOffset()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrWrongFile, err)
		}
		return io.NewSectionReader(file, off, size), nil
	}
	return nil, ErrNotFound
}

func (a *Archive) wrap(path string, err error) error {
	return fmt.Errorf("reading %s in %s: %w", path, a.Path, err)
}
