package modules

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Room is what delivering a version takes in the engine's folder.
type Room struct {
	To   string // the folder
	Need int64  // bytes, at the peak
	Free int64  // bytes there now, for who may write
	Dev  uint64 // its file system
}

// Room foresees what delivering a version takes whose files have size bytes: it
// is not there yet. One file lies whole beside the one that it replaces. Of a
// tree the files are replaced one by one: that is what it grows by, and twice its
// largest file as delivered now. False where nothing is delivered, where links
// will do, and where the folder cannot be looked at, of which delivering tells.
func (e *Engine) Room(size int64, tree bool) (Room, bool) {
	if e.Delivery == nil {
		return Room{}, false
	}
	r := &reconciler{Delivery: *e.Delivery, base: e.Base}
	var err error
	if r.uid, r.gid, err = r.account(); err != nil {
		return Room{}, false
	}
	var there, own unix.Stat_t
	var fs unix.Statfs_t
	if unix.Stat(r.To, &there) != nil || unix.Statfs(r.To, &fs) != nil || unix.Stat(r.StateDir, &own) != nil {
		return Room{}, false
	}
	// As files of a version are made.
	src := unix.Stat_t{Uid: uint32(os.Geteuid()), Gid: uint32(os.Getegid()), Mode: unix.S_IFREG | 0o644}
	if there.Dev == own.Dev && r.wanted(src) == attributesOf(src) {
		return Room{}, false
	}
	room := Room{To: filepath.Clean(r.To), Need: size, Free: int64(fs.Bavail) * fs.Bsize, Dev: there.Dev}
	if old, err := loadRecord(r.recordPath()); tree && err == nil && len(old.Files) > 0 {
		var sum, largest int64
		for _, f := range old.Files {
			sum += f.As.Size
			largest = max(largest, f.As.Size)
		}
		room.Need = min(size, max(size-sum, 0)+2*largest)
	}
	return room, true
}
