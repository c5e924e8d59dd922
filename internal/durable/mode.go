package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// The functions of this file make what they are asked for with the mode that
// they are given, whatever the umask: a cron job or a unit with umask 077 must
// not close a repository to its web server, or a base to its engine. They sync
// nothing and announce no step: see [Disk.Do].

// Mkdir makes one folder.
func Mkdir(path string, perm fs.FileMode) error {
	if err := os.Mkdir(path, perm); err != nil {
		return err
	}
	return os.Chmod(path, perm)
}

// MkdirAll makes a folder and its missing parents. The mode of those that are
// there already stays as it is.
func MkdirAll(path string, perm fs.FileMode) error {
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		return nil
	}
	if parent := filepath.Dir(path); parent != path {
		if err := MkdirAll(parent, perm); err != nil {
			return err
		}
	}
	err := Mkdir(path, perm)
	if st, e := os.Stat(path); errors.Is(err, fs.ErrExist) && e == nil && st.IsDir() {
		return nil // another process made it just now
	}
	return err
}

// OpenNew makes a file that must not be there yet, and opens it with flag:
// os.O_WRONLY or os.O_RDWR, with os.O_APPEND where that is wanted.
func OpenNew(path string, flag int, perm fs.FileMode) (*os.File, error) {
	f, err := os.OpenFile(path, flag|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return nil, err
	}
	if err := f.Chmod(perm); err != nil {
		f.Close()
		os.Remove(path)
		return nil, err
	}
	return f, nil
}
