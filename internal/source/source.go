// Package source reads a repository's files from one place, none of which is
// trusted: a web server, or a folder such as a mounted stick. Every body has a
// limit and every wait an end; whether the content is right is for the caller
// to check, by hash or signature, before anything parses it.
package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// ErrNotFound says that the source answers and does not have the file.
var ErrNotFound = errors.New("not there")

// ErrWrongFile says that the source answers, and with something else than the
// file: a web page, a file of another length, a part that was not asked for.
// Asking again brings the same.
var ErrWrongFile = errors.New("another file came than was asked for")

// ErrTooLarge says that a small file is longer than the caller allows.
var ErrTooLarge = errors.New("longer than allowed")

// Source is one place to get a repository's files from. Paths are relative to
// the repository, with slashes (see [fs.ValidPath]).
type Source interface {
	// Name is the source as shown to people: its URL without credentials, or
	// the folder.
	Name() string

	// Fetch reads a small file whole. A file of more than limit bytes is an
	// error. errors.Is(err, ErrNotFound) if the source does not have it.
	Fetch(ctx context.Context, path string, limit int64) ([]byte, error)

	// Open streams a file whose signed size is size bytes, from offset on. It
	// returns the offset that the reader really begins at: offset, or 0 where
	// the server cannot resume. The reader gives the bytes up to size and no
	// more; fewer end in io.ErrUnexpectedEOF.
	Open(ctx context.Context, path string, offset, size int64) (io.ReadCloser, int64, error)
}

func checkPath(path string) error {
	if !fs.ValidPath(path) || path == "." {
		return fmt.Errorf("%q is no path within a repository", path)
	}
	return nil
}

func checkRange(offset, size int64) error {
	if offset < 0 || offset > size {
		return fmt.Errorf("offset %d in a file of %d bytes", offset, size)
	}
	return nil
}

// exactly gives the n bytes it was promised: no more, and
// io.ErrUnexpectedEOF after fewer.
type exactly struct {
	io.ReadCloser
	n int64
}

func (r *exactly) Read(p []byte) (int, error) {
	if r.n <= 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > r.n {
		p = p[:r.n]
	}
	n, err := r.ReadCloser.Read(p)
	r.n -= int64(n)
	switch {
	case err == io.EOF && r.n > 0:
		err = io.ErrUnexpectedEOF
	case err == io.EOF && n > 0:
		err = nil
	}
	return n, err
}

func readAtMost(r io.Reader, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, tooBig(limit)
	}
	return data, nil
}

func tooBig(limit int64) error { return fmt.Errorf("%w: more than %d bytes", ErrTooLarge, limit) }
