package modules

import (
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// DeliveredTo is what of a base is in one folder.
type DeliveredTo struct {
	Base, To string
	Files    []DeliveredFile // those that are as they were delivered
	Adopted  []string        // those that were there before
	Folders  []string        // made for them, the deepest first
}

// DeliveredFile is a file in an engine's folder, with what tells it from another
// that comes to its place.
type DeliveredFile struct {
	Path     string // absolute
	Inode    uint64
	Size     int64
	Modified int64 // ns
}

// Deliveries lists what was delivered by the agent of a state folder. What cannot
// be read is left out.
func Deliveries(stateDir string) []DeliveredTo {
	dir := filepath.Join(stateDir, "delivered")
	entries, _ := os.ReadDir(dir)
	var all []DeliveredTo
	for _, e := range entries {
		parts := recordForm.FindStringSubmatch(e.Name())
		if parts == nil {
			continue
		}
		rec, err := loadRecord(filepath.Join(dir, e.Name()))
		if err != nil || rec.To == "" {
			continue
		}
		d := DeliveredTo{Base: parts[1], To: rec.To}
		if top, err := openFolder(rec.To); err == nil {
			d.list(top, rec)
			top.Close()
		}
		all = append(all, d)
	}
	return all
}

func (d *DeliveredTo) list(top *folder, rec record) {
	for _, name := range slices.Sorted(maps.Keys(rec.Files)) {
		e := rec.Files[name]
		var there unix.Stat_t
		at, err := top.enter(path.Dir(name), nil)
		if err == nil {
			err = unix.Fstatat(at.fd(), path.Base(name), &there, unix.AT_SYMLINK_NOFOLLOW)
			at.Close()
		}
		switch {
		case e.Adopted:
			d.Adopted = append(d.Adopted, name)
		case err == nil && isRegular(there) && e.As.same(identity(there)):
			d.Files = append(d.Files, DeliveredFile{filepath.Join(d.To, name), there.Ino, there.Size, there.Mtim.Nano()})
		}
	}
	for _, name := range slices.Backward(slices.Sorted(maps.Keys(rec.Folders))) {
		d.Folders = append(d.Folders, filepath.Join(d.To, name))
	}
}

// PurgeList is a plain list of what was delivered, for a script that removes it
// when the agent is gone: one a line,
//
//	f INODE SIZE SECONDS.NANOSECONDS PATH    a file that is as it was delivered
//	d PATH                                   a folder made for such files
//
// A path that a line cannot hold is left out.
func PurgeList(all []DeliveredTo) string {
	var b strings.Builder
	for _, d := range all {
		for _, f := range d.Files {
			if !strings.ContainsAny(f.Path, "\n\\") {
				fmt.Fprintf(&b, "f %d %d %d.%09d %s\n", f.Inode, f.Size, f.Modified/1e9, f.Modified%1e9, f.Path)
			}
		}
	}
	for _, d := range all {
		for _, folder := range d.Folders {
			if !strings.ContainsAny(folder, "\n\\") {
				fmt.Fprintf(&b, "d %s\n", folder)
			}
		}
	}
	return b.String()
}
