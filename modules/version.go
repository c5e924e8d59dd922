package modules

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// list gives the files below dir by their paths with slashes.
func list(dir string) (map[string]unix.Stat_t, error) {
	files := map[string]unix.Stat_t{}
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			return &os.PathError{Op: "lstat", Path: p, Err: err}
		}
		if !isRegular(st) {
			return fmt.Errorf("%s is no regular file", p)
		}
		name, err := filepath.Rel(dir, p)
		files[name] = st
		return err
	})
	return files, err
}

func isRegular(st unix.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFREG }

// account gives the numbers of owner and group, -1 for those not set.
func (d *Delivery) account() (uid, gid int, err error) {
	uid, err = number(d.Owner, func(name string) (string, error) {
		u, err := user.Lookup(name)
		if err != nil {
			return "", err
		}
		return u.Uid, nil
	})
	if err != nil {
		return 0, 0, err
	}
	gid, err = number(d.Group, func(name string) (string, error) {
		g, err := user.LookupGroup(name)
		if err != nil {
			return "", err
		}
		return g.Gid, nil
	})
	return uid, gid, err
}

func number(name string, look func(string) (string, error)) (int, error) {
	if name == "" {
		return -1, nil
	}
	if n, err := strconv.ParseUint(name, 10, 31); err == nil {
		return int(n), nil
	}
	found, err := look(name)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(found)
}
