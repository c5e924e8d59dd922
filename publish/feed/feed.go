// Package feed makes ready what a publisher was given: a pipe is read to its end,
// an archive is unpacked, a list is sorted. What comes out is a file or a folder
// that stands still.
//
//	pipe ─► file ┐
//	file ────────┼─► unpack ─► file or folder ─► sort
//	folder ──────┘
//
// Archives come from outside: their names stay within the folder, links and
// devices are refused, and what they unpack to is bounded.
package feed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// MaxBytes is the most that is read from a pipe, or that an archive unpacks to.
const MaxBytes = 4 << 30

// Source says where a feed comes from.
type Source struct {
	Path   string
	Stdin  io.Reader // what the path "-" stands for
	Unpack bool
	Sort   bool
	Max    int64 // bytes; 0: MaxBytes
}

// Feed is a source made ready.
type Feed struct {
	Path string // a file or a folder
	Name string // for a file at the endpoint; "": a pipe has none
	dir  string // that Close removes
}

// Close removes what Open made.
func (f *Feed) Close() error {
	if f.dir == "" {
		return nil
	}
	return os.RemoveAll(f.dir)
}

// An Error is one that whoever gave the source can do something about.
type Error struct{ Reason, Hint string }

func (e *Error) Error() string { return e.Reason }

func refuse(hint, format string, args ...any) error {
	return &Error{fmt.Sprintf(format, args...), hint}
}

// Open makes a source ready. A file or folder that needs nothing stays where it
// is; all else goes into a folder of its own in TMPDIR, which Close removes.
func Open(ctx context.Context, src Source) (f *Feed, err error) {
	if src.Max == 0 {
		src.Max = MaxBytes
	}
	f = &Feed{Path: src.Path, Name: filepath.Base(src.Path)}
	defer func() {
		if err != nil {
			f.Close()
			f = nil
		}
	}()
	if err := f.read(ctx, src); err != nil {
		return f, err
	}
	if src.Unpack {
		if err := f.unpack(ctx, src.Max); err != nil {
			return f, err
		}
	}
	if src.Sort {
		return f, f.sort()
	}
	return f, nil
}

// temp gives a path in the feed's own folder.
func (f *Feed) temp(name string) (string, error) {
	if f.dir == "" {
		dir, err := os.MkdirTemp("", "freshet-publish-")
		if err != nil {
			return "", fmt.Errorf("making a folder for what is published: %w", err)
		}
		f.dir = dir
	}
	return filepath.Join(f.dir, name), nil
}

// read copies a pipe, or what else has no end that can be known, to a file.
func (f *Feed) read(ctx context.Context, src Source) error {
	from := src.Stdin
	if src.Path != "-" {
		st, err := os.Stat(src.Path)
		if err != nil || st.Mode().IsRegular() || st.IsDir() {
			return nil // the caller says what is wrong with a path
		}
		pipe, err := openPipe(ctx, src.Path)
		if err != nil {
			return err
		}
		defer pipe.Close()
		from = pipe
	}
	f.Name = ""
	path, err := f.temp("piped")
	if err != nil {
		return err
	}
	f.Path = path
	n, err := store(ctx, path, from, src.Max, 0o600)
	if err == nil && n == 0 {
		err = refuse("check what writes to it", "nothing came from %s", src.Path)
	}
	return err
}

// openPipe opens a pipe, and waits for who writes to it until ctx ends.
func openPipe(ctx context.Context, path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("opening what is published: %w", err)
	}
	for {
		poll := []unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLIN}}
		n, err := unix.Poll(poll, 100)
		switch {
		case ctx.Err() != nil:
			f.Close()
			return nil, ctx.Err()
		case err != nil && !errors.Is(err, unix.EINTR):
			f.Close()
			return nil, fmt.Errorf("waiting for %s: %w", path, err)
		case n > 0:
			return f, unix.SetNonblock(int(f.Fd()), false)
		}
	}
}

// store writes all of from, at most limit bytes, to a new file.
func store(ctx context.Context, path string, from io.Reader, limit int64, perm os.FileMode) (int64, error) {
	to, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return 0, err
	}
	return fill(ctx, to, from, limit)
}

// fill is store into an open file, which it closes.
func fill(ctx context.Context, to *os.File, from io.Reader, limit int64) (int64, error) {
	n, err := io.Copy(to, io.LimitReader(reader{ctx, from}, limit+1))
	if err == nil && n > limit {
		err = tooMuch
	}
	return n, errors.Join(err, to.Close())
}

var tooMuch = refuse("a base may have as much; larger ones are several bases", "it has more than the %d MiB that are left of what a base may have", MaxBytes>>20)

// reader ends with ctx.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// sort puts the lines of a file in the order of their bytes.
func (f *Feed) sort() error {
	st, err := os.Stat(f.Path)
	if err != nil {
		return nil // the caller says so
	}
	if st.IsDir() {
		return refuse("sort its files where they are made", "%s is a folder, and a list alone can be sorted", f.Path)
	}
	data, err := os.ReadFile(f.Path)
	if err != nil {
		return err
	}
	if bytes.IndexByte(data, 0) >= 0 {
		return refuse("leave --sort away", "%s is binary, and a list alone can be sorted", f.Path)
	}
	lines := bytes.SplitAfter(data, []byte("\n"))
	if last := len(lines) - 1; len(lines[last]) == 0 {
		lines = lines[:last]
	} else {
		lines[last] = append(bytes.Clone(lines[last]), '\n')
	}
	slices.SortStableFunc(lines, bytes.Compare)
	path, err := f.temp("sorted")
	if err != nil {
		return err
	}
	f.Path = path
	return os.WriteFile(path, bytes.Join(lines, nil), 0o600)
}
