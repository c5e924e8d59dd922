package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Folder is a source in a folder: a mirror on disk, a share, a stick. What
// stands in it is as little trusted as a web server: links that lead out of
// it, pipes and devices are refused.
type Folder struct {
	Path  string
	Count *Counter // nil counts nothing
}

// Name is the folder.
func (f *Folder) Name() string { return f.Path }

// Fetch reads a small file whole: see [Source].
func (f *Folder) Fetch(ctx context.Context, path string, limit int64) ([]byte, error) {
	file, size, err := f.open(ctx, path)
	if err != nil {
		return nil, f.wrap(path, err)
	}
	defer file.Close()
	if size > limit {
		return nil, f.wrap(path, tooBig(limit))
	}
	data, err := readAtMost(f.Count.body(file), limit)
	if err != nil {
		return nil, f.wrap(path, err)
	}
	return data, nil
}

// Open streams a file: see [Source]. It always begins at offset.
func (f *Folder) Open(ctx context.Context, path string, offset, size int64) (io.ReadCloser, int64, error) {
	if err := checkRange(offset, size); err != nil {
		return nil, 0, f.wrap(path, err)
	}
	file, there, err := f.open(ctx, path)
	if err != nil {
		return nil, 0, f.wrap(path, err)
	}
	if there != size {
		file.Close()
		return nil, 0, f.wrap(path, sizeError(there, size))
	}
	if _, err := file.file.Seek(offset, io.SeekStart); err != nil {
		file.Close()
		return nil, 0, f.wrap(path, err)
	}
	return &exactly{f.Count.body(file), size - offset}, offset, nil
}

func (f *Folder) open(ctx context.Context, path string) (*folderFile, int64, error) {
	if err := checkPath(path); err != nil {
		return nil, 0, err
	}
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	f.Count.request()
	root, err := os.OpenRoot(f.Path)
	if err != nil {
		// Not ErrNotFound: a stick that is not plugged in says nothing about its files.
		return nil, 0, fmt.Errorf("%w (is it mounted?)", err)
	}
	defer root.Close()
	// O_NONBLOCK: opening a pipe would wait for its writer for ever.
	file, err := root.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, ErrNotFound
	}
	if err != nil {
		return nil, 0, err
	}
	st, err := file.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = errors.New("this is no regular file")
	}
	if err != nil {
		file.Close()
		return nil, 0, err
	}
	return &folderFile{ctx, file}, st.Size(), nil
}

func (f *Folder) wrap(path string, err error) error {
	return fmt.Errorf("reading %s in %s: %w", path, f.Path, err)
}

// folderFile obeys its context between reads.
type folderFile struct {
	ctx  context.Context
	file *os.File
}

func (f *folderFile) Read(p []byte) (int, error) {
	if err := f.ctx.Err(); err != nil {
		return 0, err
	}
	return f.file.Read(p)
}

func (f *folderFile) Close() error { return f.file.Close() }

func sizeError(there, size int64) error {
	return fmt.Errorf("%w: %d bytes are offered where %d are signed", ErrWrongFile, there, size)
}
