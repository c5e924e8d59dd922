package updater

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

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
	defer func() { u.need, u.full = used-reserve, false }()
	for _, j := range s.jobs {
		if j.err != nil || j.held != "" {
			continue
		}
		need := j.disk()
		for _, step := range j.steps {
			need += step.Size
		}
		if used+need <= free || len(j.steps) == 0 {
			used += need
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

func freeBytes(path string) int64 {
	var st unix.Statfs_t
	if unix.Statfs(path, &st) != nil {
		return 0
	}
	return int64(st.Bavail) * st.Bsize
}
