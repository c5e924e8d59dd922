// Package durable changes files so that what it reported done survives power loss.
//
// A file is written in this order, and no other (see open(2), rename(2), fsync(2)):
//
//	open    PATH.tmp-RANDOM   same folder as PATH
//	write   PATH.tmp-RANDOM
//	fsync   PATH.tmp-RANDOM   content reaches the disk before its name does
//	rename  PATH.tmp-RANDOM → PATH
//	fsync   the folder        the name reaches the disk
//
// Until the rename nothing has changed; after an error from the last step
// either the old or the new content may be found. Leftover .tmp- files are
// never read and are removed by [Disk.Reap].
package durable

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Disk is the way to the disk. Its zero value, and nil, is the real one.
type Disk struct {
	// Step, if set, is called before each step with its name ("open",
	// "write", "fsync", "syncfs", "rename", "syncdir", "mkdir", "link",
	// "symlink", "remove") and path; an error from it is returned in place of doing the
	// step. Tests stop, fail or kill there.
	Step func(op, path string) error

	// After, if set, is called when a step was done; an error from it is
	// returned although the step was done, as a disk may answer. Steps that a
	// caller takes itself (see Do) have none.
	After func(op, path string) error

	// Read, if set, is called before each read of a file; an error from it is
	// returned in place of the content, as a failing disk or a kernel without
	// descriptors may answer.
	Read func(path string) error
}

func (d *Disk) step(op, path string) error {
	if d == nil || d.Step == nil {
		return nil
	}
	return d.Step(op, path)
}

func (d *Disk) after(op, path string) error {
	if d == nil || d.After == nil {
		return nil
	}
	return d.After(op, path)
}

// Do announces a step that the caller takes itself, for content that is
// written first and synced by [Disk.SyncTree] later, or by the caller, who
// then says [Disk.Did].
func (d *Disk) Do(op, path string) error { return d.step(op, path) }

// Did says that a step was done that Do announced. It need not be said of what
// SyncTree syncs later.
func (d *Disk) Did(op, path string) error { return d.after(op, path) }

// WriteFile replaces path by data, whole or not at all. perm is set as given,
// whatever the umask.
func (d *Disk) WriteFile(path string, data []byte, perm fs.FileMode) error {
	f, err := d.Create(path, perm)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		f.Abort()
		return err
	}
	return f.Commit()
}

// Rename moves old to new and syncs both folders. What old holds must have
// been synced before.
func (d *Disk) Rename(old, new string) error {
	if err := d.step("rename", new); err != nil {
		return err
	}
	if err := move(old, new); err != nil {
		return err
	}
	if err := d.after("rename", new); err != nil {
		return err
	}
	if err := d.SyncDir(filepath.Dir(new)); err != nil {
		return err
	}
	if filepath.Dir(old) == filepath.Dir(new) {
		return nil
	}
	return d.SyncDir(filepath.Dir(old))
}

// move renames, also where both are names of one file, as a cut may leave a
// rename that was half written: rename(2) does nothing then, and says that it did.
func move(old, new string) error {
	a, errA := os.Lstat(old)
	b, errB := os.Lstat(new)
	if errA == nil && errB == nil && os.SameFile(a, b) && old != new && !a.IsDir() {
		return os.Remove(old)
	}
	return os.Rename(old, new)
}

// Exchange swaps what stands at a and at b, which are on one file system, in
// one step (renameat2(2)), and syncs both folders.
func (d *Disk) Exchange(a, b string) error {
	if err := d.step("rename", b); err != nil {
		return err
	}
	if err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE); err != nil {
		return &os.LinkError{Op: "exchange", Old: a, New: b, Err: err}
	}
	if err := d.after("rename", b); err != nil {
		return err
	}
	return errors.Join(d.SyncDir(filepath.Dir(b)), d.SyncDir(filepath.Dir(a)))
}

// Link makes new a second name of the file old. The caller syncs the folder.
func (d *Disk) Link(old, new string) error {
	if err := d.step("link", new); err != nil {
		return err
	}
	if err := os.Link(old, new); err != nil {
		return err
	}
	return d.after("link", new)
}

// Symlink makes path a symbolic link to target, replacing what was there in
// one step, and syncs the folder.
func (d *Disk) Symlink(target, path string) error {
	if err := d.step("symlink", path); err != nil {
		return err
	}
	tmp := tempName(path)
	if err := os.Symlink(target, tmp); err != nil {
		return err
	}
	err := d.after("symlink", path)
	if err == nil {
		err = d.Rename(tmp, path)
	}
	if err != nil {
		os.Remove(tmp)
	}
	return err
}

// MkdirAll makes path and its missing parents and syncs each folder that
// gained an entry. The one above a folder that is there already is synced too: a
// process that was killed may have made it just now. A folder that it made has
// the mode perm, whatever the umask; that of one found present stays.
func (d *Disk) MkdirAll(path string, perm fs.FileMode) error {
	parent := filepath.Dir(path)
	if st, err := os.Stat(path); err == nil {
		if !st.IsDir() {
			return fmt.Errorf("%s is there and is no folder", path)
		}
		if err := d.SyncDir(parent); err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
		return nil
	}
	if parent != path {
		if err := d.MkdirAll(parent, perm); err != nil {
			return err
		}
	}
	if err := d.step("mkdir", path); err != nil {
		return err
	}
	if err := Mkdir(path, perm); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := d.after("mkdir", path); err != nil {
		return err
	}
	return d.SyncDir(parent)
}

// RemoveAll removes path and all below it, then syncs its folder. A path that
// is not there is no error.
func (d *Disk) RemoveAll(path string) error {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := d.step("remove", path); err != nil {
		return err
	}
	if err := os.RemoveAll(path); err != nil {
		return err
	}
	if err := d.after("remove", path); err != nil {
		return err
	}
	return d.SyncDir(filepath.Dir(path))
}

// SyncDir makes the names in a folder durable.
func (d *Disk) SyncDir(path string) error {
	return d.sync("syncdir", path)
}

// manySyncs is the number of files from which one sync of the whole file
// system is cheaper than one for each.
const manySyncs = 64

// SyncTree makes all files and folders below and at path durable, whoever
// wrote them. Trees of many files are synced by syncfs(2), which reports lost
// writes since Linux 5.8.
func (d *Disk) SyncTree(path string) error {
	var files, dirs []string
	err := filepath.WalkDir(path, func(p string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir():
			dirs = append(dirs, p)
		case e.Type().IsRegular():
			files = append(files, p)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(files)+len(dirs) > manySyncs {
		return d.syncFS(path)
	}
	for _, p := range files {
		if err := d.sync("fsync", p); err != nil {
			return err
		}
	}
	for _, p := range dirs {
		if err := d.SyncDir(p); err != nil {
			return err
		}
	}
	return nil
}

func (d *Disk) syncFS(path string) error {
	if err := d.step("syncfs", path); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	if err := errors.Join(unix.Syncfs(int(f.Fd())), f.Close()); err != nil {
		return err
	}
	return d.after("syncfs", path)
}

// Reap removes what an interrupted write left in the folder dir. Only the
// holder of the lock over dir may call it.
func (d *Disk) Reap(dir string) error {
	return d.reap(dir, func(name string) bool { return strings.Contains(name, tempMark) })
}

// ReapFile removes what interrupted writes of the file at path left beside it.
// Only who alone writes that file may call it.
func (d *Disk) ReapFile(path string) error {
	prefix := filepath.Base(path) + tempMark
	return d.reap(filepath.Dir(path), func(name string) bool { return strings.HasPrefix(name, prefix) })
}

func (d *Disk) reap(dir string, left func(name string) bool) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if left(e.Name()) {
			if err := d.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

const tempMark = ".tmp-"

func tempName(path string) string { return path + tempMark + rand.Text()[:10] }

// sync takes the step op, which is to sync path.
func (d *Disk) sync(op, path string) error {
	if err := d.step(op, path); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return d.after(op, path)
}
