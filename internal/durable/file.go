package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// File is a file being written beside its final name. Either Commit or Abort
// ends it.
type File struct {
	disk *Disk
	f    *os.File
	path string
}

// Create begins to write path, with the mode perm whatever the umask. Nothing is
// seen at path before Commit.
func (d *Disk) Create(path string, perm fs.FileMode) (*File, error) {
	if err := d.step("open", path); err != nil {
		return nil, err
	}
	f, err := OpenNew(tempName(path), os.O_RDWR, perm)
	if err != nil {
		return nil, err
	}
	if err := d.after("open", path); err != nil {
		f.Close()
		os.Remove(f.Name())
		return nil, err
	}
	return &File{disk: d, f: f, path: path}, nil
}

func (f *File) Write(p []byte) (int, error) {
	if err := f.disk.step("write", f.path); err != nil {
		return 0, err
	}
	n, err := f.f.Write(p)
	if err != nil {
		return n, err
	}
	return n, f.disk.after("write", f.path)
}

// Name is where the content stands until Commit.
func (f *File) Name() string { return f.f.Name() }

// ReadAt reads back what was written.
func (f *File) ReadAt(p []byte, off int64) (int, error) { return f.f.ReadAt(p, off) }

// Commit gives the file its name. If it returns nil, path holds the new
// content even after power loss. On an error it may hold the old or the new
// content, each whole.
func (f *File) Commit() error {
	if err := f.disk.step("fsync", f.path); err != nil {
		f.Abort()
		return err
	}
	err := errors.Join(f.f.Sync(), f.f.Close())
	if err == nil {
		err = f.disk.after("fsync", f.path)
	}
	if err != nil {
		os.Remove(f.f.Name())
		return err
	}
	if err := f.disk.step("rename", f.path); err != nil {
		os.Remove(f.f.Name())
		return err
	}
	if err := replace(f.f.Name(), f.path); err != nil {
		os.Remove(f.f.Name())
		return err
	}
	if err := f.disk.after("rename", f.path); err != nil {
		return err
	}
	return f.disk.SyncDir(filepath.Dir(f.path))
}

// replace renames old to new, also where somebody put a folder at new: no
// rename does that, but the two can change places.
func replace(old, new string) error {
	err := os.Rename(old, new)
	if err == nil {
		return nil
	}
	st, statErr := os.Lstat(new)
	if statErr != nil || !st.IsDir() {
		return err
	}
	if err := unix.Renameat2(unix.AT_FDCWD, old, unix.AT_FDCWD, new, unix.RENAME_EXCHANGE); err != nil {
		return &os.LinkError{Op: "exchange", Old: old, New: new, Err: err}
	}
	return os.RemoveAll(old)
}

// Abort drops what was written. After Commit it does nothing.
func (f *File) Abort() {
	f.f.Close()
	os.Remove(f.f.Name())
}
