package updater

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/rollback"
)

// ceiling sees that the state folder stays within u.Ceiling during the update,
// before the first byte is fetched: what is there (installed, kept, temporary)
// and what is to come. Versions that are kept only to go back to make room; then
// a base that does not fit is left out, and does not hold up the others.
func (u *Updater) ceiling(s *survey) error {
	if u.Ceiling <= 0 || !slices.ContainsFunc(s.jobs, (*job).fetches) {
		return nil
	}
	starts := map[string]int64{}
	for _, j := range s.jobs {
		if j.fetches() {
			starts[j.name] = j.steps[0].From
		}
	}
	used := diskUsage(u.Dir)
	var coming int64
	for _, j := range s.jobs {
		if !j.fetches() {
			continue
		}
		d := u.demand(j)
		if used+coming+d.need > u.Ceiling {
			freed, err := u.giveUp(s.state, starts, used+coming+d.need-u.Ceiling)
			if used -= freed; err != nil {
				return err
			}
		}
		if used+coming+d.need <= u.Ceiling {
			coming += d.need
			continue
		}
		j.err = u.overCeiling(d, used+coming)
	}
	return nil
}

// fetches says whether the job will fetch anything.
func (j *job) fetches() bool { return j.err == nil && j.held == "" && len(j.steps) > 0 }

// giveUp removes versions that are kept only to go back to, the largest first,
// until want bytes are free; those that deltas start from stay. It gives the
// bytes that came free.
func (u *Updater) giveUp(st rollback.State, starts map[string]int64, want int64) (freed int64, err error) {
	type old struct {
		name, path string
		version    int64
		size       int64
	}
	needed, err := u.needed(st)
	if err != nil {
		return 0, err
	}
	gens, err := u.store().Generations()
	if err != nil {
		return 0, err
	}
	var all []old
	for _, g := range gens {
		for name, ref := range g.Bases {
			path := u.versionDir(name, ref.Dir)
			if needed[path] || starts[name] == ref.Version {
				continue
			}
			needed[path] = true // once
			if n := diskUsage(path); n > 0 {
				all = append(all, old{name, path, ref.Version, n})
			}
		}
	}
	slices.SortFunc(all, func(a, b old) int { return int(min(max(b.size-a.size, -1), 1)) })
	for _, v := range all {
		if freed >= want {
			break
		}
		if err := u.Disk.RemoveAll(v.path); err != nil {
			return freed, err
		}
		freed += v.size
		u.emit(event.VersionGivenUp, "base", v.name, "version", fmt.Sprint(v.version), "bytes", fmt.Sprint(v.size))
	}
	return freed, nil
}

// diskUsage is what a folder takes on the disk, in bytes; a file with several
// names under it counts once. What cannot be read is passed over.
func diskUsage(dir string) int64 {
	var sum int64
	seen := map[uint64]bool{}
	filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		info, err := e.Info()
		if err != nil {
			return nil
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		if !ok || st.Nlink > 1 && !info.IsDir() && seen[st.Ino] {
			return nil
		}
		if st.Nlink > 1 {
			seen[st.Ino] = true
		}
		sum += st.Blocks * 512
		return nil
	})
	return sum
}

// gone says whether a version's folder was removed, to make room or by others.
func (u *Updater) gone(name, dir string) bool {
	_, err := os.Lstat(u.versionDir(name, dir))
	return os.IsNotExist(err)
}
