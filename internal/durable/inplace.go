package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// WriteInto replaces path by data as WriteFile does. A file that is a mount of its
// own, as containers give a program its settings, cannot be replaced by a rename
// (EBUSY, see rename(2)); nor can one be made beside it where the folder alone is
// read-only. Its content is overwritten then, and its mode stays:
//
//	open    PATH              the file itself
//	write   PATH              all of it, room having been reserved before the first byte
//	fsync   PATH
//
// That is not one step: after an error or a power loss path may hold some of
// both. The caller keeps a copy of what matters.
func (d *Disk) WriteInto(path string, data []byte, perm fs.FileMode) error {
	err := d.WriteFile(path, data, perm)
	if !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.EROFS) {
		return err
	}
	f, openErr := d.openInPlace(path)
	switch {
	case errors.Is(openErr, unix.EROFS):
		return err // nothing there can be written to
	case openErr != nil:
		return fmt.Errorf("%w; overwriting it: %w", err, openErr)
	}
	return errors.Join(d.overwrite(f, path, data), f.Close())
}

func (d *Disk) openInPlace(path string) (*os.File, error) {
	if err := d.step("open", path); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = &fs.PathError{Op: "overwrite", Path: path, Err: errors.New("not a regular file")}
	}
	if err == nil {
		err = d.after("open", path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (d *Disk) overwrite(f *os.File, path string, data []byte) error {
	if err := d.step("write", path); err != nil {
		return err
	}
	// A full disk is found before anything is lost; not every file system can tell.
	err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, int64(len(data)))
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return &fs.PathError{Op: "overwrite", Path: path, Err: err}
	}
	if _, err := f.WriteAt(data, 0); err != nil {
		return err
	}
	if err := f.Truncate(int64(len(data))); err != nil {
		return err
	}
	if err := d.after("write", path); err != nil {
		return err
	}
	if err := d.step("fsync", path); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return d.after("fsync", path)
}
