package updater

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/internal/event"
)

// reserve is the disk space in bytes that an update leaves free.
const reserve = 64 << 20

// disk is what building the new version may take, its downloads aside: images
// on the way lie beside it, two at a time.
func (j *job) disk() int64 {
	var most, before int64
	for i := range len(j.steps) - 1 {
		size := j.ways.images[j.steps[i].To].Size
		most = max(most, before+size)
		before = size
	}
	return j.manifest.Image.Size + most
}

// room sees that the plan fits the disk, before the first byte is fetched. A
// base that does not fit is left out, and does not hold up the others.
func (u *Updater) room(s *survey) {
	free, used := freeBytes(u.Dir), int64(reserve)
	inodes, counted := freeInodes(u.Dir)
	taken, elsewhere := int64(reserveInodes), map[uint64]int64{}
	defer func() { u.need, u.full = used-reserve, false }()
	for _, j := range s.jobs {
		if j.err != nil || j.held != "" {
			continue
		}
		need := u.demand(j).need + u.besides(j)
		files := u.inodes(j)
		if counted && taken+files > inodes && len(j.steps) > 0 {
			u.emit(event.DiskFull, "need", fmt.Sprint(used+need), "free", fmt.Sprint(free), "path", u.Dir)
			j.err = fmt.Errorf("not enough inodes at %s: %d are needed, %d are free", u.Dir, taken+files, inodes)
			continue
		}
		if len(j.steps) > 0 {
			if j.err = u.roomElsewhere(j, elsewhere); j.err != nil {
				continue
			}
		}
		if used+need <= free || len(j.steps) == 0 {
			used += need
			taken += files
			continue
		}
		u.emit(event.DiskFull, "need", fmt.Sprint(used+need), "free", fmt.Sprint(free), "path", u.Dir)
		j.err = fmt.Errorf("not enough disk at %s: %d bytes are needed, %d are free", u.Dir, used+need, free)
	}
}

// tellFull tells, once in a run, of a disk that proves full, or of a quota that
// is used up, though the plan had room.
func (u *Updater) tellFull(err error) {
	if u.full || !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EDQUOT) {
		return
	}
	u.full = true
	u.emit(event.DiskFull, "need", fmt.Sprint(u.need+reserve), "free", fmt.Sprint(freeBytes(u.Dir)), "path", u.Dir)
}

// reserveInodes is how many inodes an update leaves free.
const reserveInodes = 64

// inodes is how many files and folders the new version may take at most, as far
// as can be told before it is fetched: a file and what goes with it, or for a
// tree as many as the installed version has.
func (u *Updater) inodes(j *job) int64 {
	const aside = 8 // its folders, manifest, downloads
	if j.manifest.Image.Kind != bases.KindTree {
		return aside + 1
	}
	count := int64(aside)
	filepath.WalkDir(u.versionDir(j.name, currentLink)+string(filepath.Separator), func(_ string, _ fs.DirEntry, err error) error {
		count++
		return err
	})
	return count
}

// freeInodes is how many files can be made at path; false where the file system
// does not count them.
func freeInodes(path string) (int64, bool) {
	var st unix.Statfs_t
	if unix.Statfs(path, &st) != nil || st.Files == 0 {
		return 0, false
	}
	return int64(st.Ffree), true
}

func freeBytes(path string) int64 {
	var st unix.Statfs_t
	if unix.Statfs(path, &st) != nil {
		return 0
	}
	return int64(st.Bavail) * st.Bsize
}
