package updater

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/modules"
)

// foresee notes what delivering the job's version takes, if it is delivered.
func (j *job) foresee(e *modules.Engine) {
	if j.err != nil {
		return
	}
	if room, ok := e.Room(j.manifest.Image.Size, j.manifest.Image.Kind == bases.KindTree); ok {
		j.delivery = &room
	}
}

// shares says whether a folder is on the file system of the state folder.
func (u *Updater) shares(r *modules.Room) bool {
	var st unix.Stat_t
	return unix.Stat(u.Dir, &st) == nil && st.Dev == r.Dev
}

// besides is what the job's delivery adds to what the state folder's file system
// must hold.
func (u *Updater) besides(j *job) int64 {
	if j.delivery == nil || !u.shares(j.delivery) {
		return 0
	}
	return j.delivery.Need
}

// roomElsewhere sees that the job's delivery fits the engine's file system, if
// that is another; taken is what those before it take, by file system.
func (u *Updater) roomElsewhere(j *job, taken map[uint64]int64) error {
	d := j.delivery
	if d == nil || u.shares(d) {
		return nil
	}
	need := taken[d.Dev] + d.Need
	if need+reserve > d.Free {
		u.emit(event.DiskFull, "need", fmt.Sprint(need+reserve), "free", fmt.Sprint(d.Free), "path", d.To)
		return fmt.Errorf("not enough disk at %s, where its engine reads it: %d bytes are needed, %d are free", d.To, need+reserve, d.Free)
	}
	taken[d.Dev] = need
	return nil
}
