package modules

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/freshet/freshet/internal/durable"
)

// folder is an open folder that others may write to, perhaps with malice:
// everything is done relative to it, and no symbolic link is followed. Each
// change goes by the steps of package durable.
type folder struct{ *os.File }

const (
	tempPrefix = ".freshet-tmp-"
	folderMode = 0o755
)

// openFolder opens a folder by the path that the operator set, see chase.
func openFolder(path string) (*folder, error) {
	f, err := chase(path)
	if err != nil {
		return nil, err
	}
	return &folder{f}, nil
}

func (f *folder) fd() int { return int(f.Fd()) }

func (f *folder) err(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &os.PathError{Op: op, Path: filepath.Join(f.Name(), name), Err: err}
}

func (f *folder) step(d *durable.Disk, op, name string) error {
	if d == nil || d.Step == nil {
		return nil
	}
	return d.Step(op, filepath.Join(f.Name(), name))
}

// did says that a step was done.
func (f *folder) did(d *durable.Disk, op, name string, err error) error {
	if err != nil {
		return err
	}
	return d.Did(op, filepath.Join(f.Name(), name))
}

func (f *folder) open(name string, flags int, mode uint32) (*os.File, error) {
	fd, err := unix.Openat(f.fd(), name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
	if err != nil {
		return nil, f.err("open", name, err)
	}
	return os.NewFile(uintptr(fd), filepath.Join(f.Name(), name)), nil
}

func (f *folder) sub(name string) (*folder, error) {
	file, err := f.open(name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	return &folder{file}, nil
}

// enter opens the folder at a path below f; "." is f again. What is missing
// is made by make or, if that is nil, an error.
func (f *folder) enter(dir string, make func(in *folder, name string) error) (*folder, error) {
	at, err := f.sub(".")
	if err != nil || dir == "." {
		return at, err
	}
	for part := range strings.SplitSeq(dir, "/") {
		next, err := at.sub(part)
		if errors.Is(err, unix.ENOENT) && make != nil {
			if err = make(at, part); err == nil {
				next, err = at.sub(part)
			}
		}
		at.Close()
		if err != nil {
			return nil, err
		}
		at = next
	}
	return at, nil
}

// gone says that a path cannot lead to what was once delivered there.
func gone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
}

// look gives what stands at a path below f, or nil.
func (f *folder) look(name string) (*unix.Stat_t, error) {
	at, err := f.enter(path.Dir(name), nil)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer at.Close()
	var st unix.Stat_t
	err = unix.Fstatat(at.fd(), path.Base(name), &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	return &st, at.err("stat", path.Base(name), err)
}

// place puts the file src at name: it is there whole, or as it was before.
// The caller syncs the folder.
func (f *folder) place(d *durable.Disk, src, name string, st unix.Stat_t, want attributes) (unix.Stat_t, error) {
	var placed unix.Stat_t
	temp := tempPrefix + rand.Text()[:10]
	linked := false
	if attributesOf(st) == want {
		if err := f.step(d, "link", name); err != nil {
			return placed, err
		}
		// Across file systems, and where links are forbidden, it is a copy.
		linked = unix.Linkat(unix.AT_FDCWD, src, f.fd(), temp, 0) == nil
	}
	if !linked {
		if err := f.copy(d, src, temp, want); err != nil {
			unix.Unlinkat(f.fd(), temp, 0)
			return placed, err
		}
	}
	err := f.step(d, "rename", name)
	if err == nil {
		err = f.did(d, "rename", name, f.err("rename", name, unix.Renameat(f.fd(), temp, f.fd(), name)))
	}
	if err != nil {
		unix.Unlinkat(f.fd(), temp, 0)
		return placed, err
	}
	err = unix.Fstatat(f.fd(), name, &placed, unix.AT_SYMLINK_NOFOLLOW)
	return placed, f.err("stat", name, err)
}

func (f *folder) copy(d *durable.Disk, src, temp string, want attributes) error {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := f.step(d, "open", temp); err != nil {
		return err
	}
	out, err := f.open(temp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	if err := f.step(d, "write", temp); err != nil {
		return err
	}
	if err := clone(out, in); err != nil {
		return err
	}
	if err := out.Chown(int(want.uid), int(want.gid)); err != nil {
		return err
	}
	if err := out.Chmod(os.FileMode(want.mode)); err != nil { // after chown, which may clear bits
		return err
	}
	if err := f.step(d, "fsync", temp); err != nil {
		return err
	}
	return f.did(d, "fsync", temp, out.Sync())
}

// clone shares the blocks where the file system can, and copies elsewhere.
func clone(out, in *os.File) error {
	if unix.IoctlFileClone(int(out.Fd()), int(in.Fd())) == nil {
		return nil
	}
	_, err := io.Copy(out, in)
	return err
}

func (f *folder) mkdir(d *durable.Disk, name string, uid, gid int) error {
	if err := f.step(d, "mkdir", name); err != nil {
		return err
	}
	if err := unix.Mkdirat(f.fd(), name, folderMode); err != nil && !errors.Is(err, unix.EEXIST) {
		return f.err("mkdir", name, err)
	}
	sub, err := f.sub(name)
	if err != nil {
		return err
	}
	defer sub.Close()
	if err := errors.Join(sub.Chown(uid, gid), sub.Chmod(folderMode)); err != nil {
		return err
	}
	return f.sync(d)
}

// remove removes a file or, with AT_REMOVEDIR, an empty folder. What is not
// there is no error.
func (f *folder) remove(d *durable.Disk, name string, flags int) error {
	if err := f.step(d, "remove", name); err != nil {
		return err
	}
	err := unix.Unlinkat(f.fd(), name, flags)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return f.did(d, "remove", name, f.err("remove", name, err))
}

func (f *folder) sync(d *durable.Disk) error {
	if err := f.step(d, "syncdir", ""); err != nil {
		return err
	}
	return f.did(d, "syncdir", "", f.Sync())
}

// reap removes what interrupted runs left.
func (f *folder) reap(d *durable.Disk) error {
	names, err := f.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasPrefix(name, tempPrefix) {
			if err := f.remove(d, name, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// equal compares a file below f with another to the byte.
func (f *folder) equal(name, other string) (bool, error) {
	at, err := f.enter(path.Dir(name), nil)
	if err != nil {
		return false, err
	}
	defer at.Close()
	a, err := at.open(path.Base(name), unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return false, err
	}
	defer a.Close()
	b, err := os.Open(other)
	if err != nil {
		return false, err
	}
	defer b.Close()
	return equalReaders(a, b)
}

func equalReaders(a, b io.Reader) (bool, error) {
	bufA, bufB := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, errA := io.ReadFull(a, bufA)
		m, errB := io.ReadFull(b, bufB)
		if !bytes.Equal(bufA[:n], bufB[:m]) {
			return false, nil
		}
		for _, err := range []error{errA, errB} {
			if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
				return false, fmt.Errorf("comparing files: %w", err)
			}
		}
		if errA != nil || errB != nil {
			return errA != nil && errB != nil, nil
		}
	}
}
