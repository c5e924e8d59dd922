package durable

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// A file that we keep can be missing, withheld, damaged, or newer than the
// program that reads it. Only one of the four is a reason to make it again:
//
//	fs.ErrNotExist   there is no such file
//	*UnreadError     the system did not give it: leave it, end, try again
//	*NewerError      a newer version wrote it: leave it, say which version reads it
//	*DamagedError    it is not as anybody wrote it: recover

// UnreadError says that the system did not give a file, as for want of
// permission, of descriptors, or by a failing disk. Nothing is known of its
// content: whoever gets it neither replaces nor removes the file.
type UnreadError struct {
	Path string
	Err  error
}

func (e *UnreadError) Error() string {
	return fmt.Sprintf("%s cannot be read: %v", e.Path, cause(e.Err))
}
func (e *UnreadError) Unwrap() error { return e.Err }

// cause leaves out the path that the caller names already.
func cause(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return fmt.Errorf("%s: %w", path.Op, path.Err)
	}
	return err
}

// DamagedError says that a file is there and its content is not as it was
// written: cut, altered, too large, or no regular file at all.
type DamagedError struct {
	Path string
	Err  error
}

func (e *DamagedError) Error() string { return fmt.Sprintf("%s is damaged: %v", e.Path, e.Err) }
func (e *DamagedError) Unwrap() error { return e.Err }

// NewerError says that a file was written in a format that this program must
// not touch: it neither rewrites, removes nor moves it.
type NewerError struct {
	Path    string
	Needs   int    // the least format that a reader must know
	Reads   int    // the newest that this program knows
	Version string // of Freshet that reads it; "": the file does not say
}

func (e *NewerError) Error() string {
	install := "the version that wrote it, or a newer one"
	if e.Version != "" {
		install = "freshet " + e.Version + " or newer"
	}
	return fmt.Sprintf("%s was written by a newer version (it needs a reader of format %d, this one reads up to %d) and is left untouched: install %s",
		e.Path, e.Needs, e.Reads, install)
}

// Lasting says whether err is of a file that is to be left as it is: it could
// not be read, or is not for this version.
func Lasting(err error) bool {
	return errors.As(err, new(*UnreadError)) || errors.As(err, new(*NewerError))
}

// Withheld says whether err, of any call to the system, is of a disk or a
// kernel that gives nothing now, and not of what is there.
func Withheld(err error) bool {
	return errors.As(err, new(*UnreadError)) || slices.ContainsFunc(withheld, func(e unix.Errno) bool { return errors.Is(err, e) })
}

var withheld = []unix.Errno{
	unix.EACCES, unix.EPERM, unix.EIO, unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.EINTR,
	unix.ESTALE, unix.ETIMEDOUT, unix.ENODEV, unix.EHOSTDOWN, unix.EAGAIN,
}

// Format is how a file that we keep says who may read it. A file without it is
// of format 1.
type Format struct {
	Format int `json:"format"`
	// MinReader is the least format whose readers may read and rewrite the file:
	// what they do not know of it is not needed. 0: Format itself.
	MinReader int `json:"min_reader,omitempty"`
	// MinVersion is the least version of Freshet that knows MinReader.
	MinVersion string `json:"min_version,omitempty"`
}

// CheckFormat gives a *NewerError if data, which was read from path, says that
// readers of format reads must not read it. What is no JSON is left to the
// caller to judge.
func CheckFormat(path string, data []byte, reads int) error {
	var f Format
	if json.Unmarshal(data, &f) != nil {
		return nil
	}
	needs := f.MinReader
	if needs == 0 {
		needs = f.Format
	}
	if needs <= reads {
		return nil
	}
	return &NewerError{Path: path, Needs: needs, Reads: reads, Version: f.MinVersion}
}

// ReadFile reads the regular file at path, which has at most limit bytes; see
// [UnreadError] for its errors.
func (d *Disk) ReadFile(path string, limit int64) ([]byte, error) {
	data, err := d.read(path, limit)
	switch {
	case err == nil, errors.Is(err, fs.ErrNotExist), errors.As(err, new(*DamagedError)):
		return data, err
	}
	return nil, &UnreadError{path, err}
}

func (d *Disk) read(path string, limit int64) ([]byte, error) {
	if d != nil && d.Read != nil {
		if err := d.Read(path); err != nil {
			return nil, err
		}
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a pipe in its place must not stop us
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENXIO) {
		return nil, &DamagedError{path, errors.New("it is no regular file")}
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, &DamagedError{path, errors.New("it is no regular file")}
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, &DamagedError{path, fmt.Errorf("it has more than %d bytes", limit)}
	}
	return data, nil
}

// ReadJSON reads the file at path, of at most limit bytes and of a format that
// readers of format reads may read, into v; see [UnreadError] for its errors.
func (d *Disk) ReadJSON(path string, limit int64, reads int, v any) error {
	data, err := d.ReadFile(path, limit)
	if err != nil {
		return err
	}
	if err := CheckFormat(path, data, reads); err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return &DamagedError{path, err}
	}
	return nil
}
