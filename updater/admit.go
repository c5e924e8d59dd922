package updater

import (
	"fmt"

	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/rollback"
)

// demand is what one download, and what is made of it, adds to the disk at its
// peak.
type demand struct {
	kind, name string // "base" or "module"
	need       int64
	starts     map[string]int64 // versions, by base, that a delta starts from
	spare      bool             // it is kept only to go back to: nothing else is given up for it
}

func (d demand) String() string { return d.kind + " " + d.name }

// admit sees that a demand fits below the ceiling and on the disk, before the
// first byte of it is fetched. Versions that are kept only to go back to make
// room below the ceiling. It is for what a survey has not counted: repairs,
// modules, and the ways that are gone when a first one fails.
func (u *Updater) admit(d demand) error {
	if err := u.below(d); err != nil {
		return err
	}
	free := freeBytes(u.Dir)
	u.need, u.full = d.need, false
	if d.need+reserve <= free {
		return nil
	}
	u.full = true
	u.emit(event.DiskFull, "need", fmt.Sprint(d.need+reserve), "free", fmt.Sprint(free), "path", u.Dir)
	return fmt.Errorf("not enough disk at %s: %d bytes are needed, %d are free", u.Dir, d.need+reserve, free)
}

func (u *Updater) below(d demand) error {
	if u.Ceiling <= 0 {
		return nil
	}
	used := diskUsage(u.Dir)
	if used+d.need > u.Ceiling && !d.spare {
		st, err := u.store().Load()
		if err != nil {
			return err
		}
		freed, err := u.giveUp(st, d.starts, used+d.need-u.Ceiling)
		if used -= freed; err != nil {
			return err
		}
	}
	if used+d.need <= u.Ceiling {
		return nil
	}
	return u.overCeiling(d, used)
}

// overCeiling tells that a demand does not fit below the ceiling.
func (u *Updater) overCeiling(d demand, used int64) error {
	u.emit(event.DiskCeiling, "what", d.String(), d.kind, d.name, "need", fmt.Sprint(d.need), "used", fmt.Sprint(used),
		"ceiling", fmt.Sprint(u.Ceiling), "path", u.Dir)
	return fmt.Errorf("the disk ceiling of %d bytes: %s takes %d, and %d more are needed: raise disk.ceiling in the settings, or name fewer bases",
		u.Ceiling, u.Dir, used, d.need)
}

// demand is what the job adds, as its steps are now. What an earlier run
// fetched is there already.
func (u *Updater) demand(j *job) demand {
	d := demand{kind: "base", name: j.name, need: j.disk()}
	for _, step := range j.steps {
		d.need += max(0, step.Size-size(u.partPath(step.Blob)))
	}
	if len(j.steps) > 0 {
		d.starts = map[string]int64{j.name: j.steps[0].From}
	}
	return d
}

// needed lists the folders of versions that a state cannot do without. Of a
// damaged generation nothing can be said; one that is only not read is an error.
func (u *Updater) needed(st rollback.State) (map[string]bool, error) {
	needed := map[string]bool{}
	for _, n := range []int{st.Current, st.Good, st.Trial} {
		gen, err := u.store().Generation(n)
		if durable.Lasting(err) {
			return nil, err
		}
		for name, ref := range gen.Bases {
			needed[u.versionDir(name, ref.Dir)] = true
		}
	}
	return needed, nil
}
