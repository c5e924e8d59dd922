package delta

import (
	"errors"
	"fmt"
	"io"
)

// readError is a failure to read an input, as against what the input says.
type readError struct {
	what string
	err  error
}

func (e *readError) Error() string { return fmt.Sprintf("reading the %s: %v", e.what, e.err) }
func (e *readError) Unwrap() error { return e.err }

// source is an input whose errors are marked as readError. A read that is
// wholly inside it and comes back short is one too: the file shrank.
type source struct {
	what string
	r    io.ReaderAt
	size int64
}

func (s source) ReadAt(b []byte, at int64) (int, error) {
	want := len(b)
	if want == 0 {
		return 0, nil
	}
	if at < 0 || at >= s.size {
		return 0, io.EOF
	}
	if int64(want) > s.size-at {
		want = int(s.size - at)
	}
	n, err := s.r.ReadAt(b[:want], at)
	switch {
	case n == want && want < len(b):
		return n, io.EOF
	case n == want:
		return n, nil
	case err == nil || errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	}
	return n, &readError{s.what, err}
}
