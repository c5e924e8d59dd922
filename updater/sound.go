package updater

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/rollback"
)

// soundState loads the state, and sees that the generations it runs by can be
// read. What is damaged is not "no state": the newest generation that may be in
// use takes its place, and the damaged file is kept. What the disk does not give
// now, or a newer version wrote, is no damage: the error says so, and nothing
// has changed.
func (u *Updater) soundState() (rollback.State, error) {
	st, err := u.store().Load()
	known := err == nil
	for _, n := range []int{st.Current, st.Good} {
		if err == nil {
			_, err = u.store().Generation(n)
		}
	}
	var damaged *rollback.DamagedError
	switch {
	case err == nil:
		return st, u.store().SettleHistory(st)
	case !errors.As(err, &damaged):
		return st, fmt.Errorf("nothing was changed: %w", err)
	}
	u.emit(event.StateDamaged, "error", err.Error())
	if !known {
		if st, err = u.remembered(); err != nil {
			return st, err
		}
	}
	if st, err = u.newestWhole(st); err != nil {
		return st, err
	}
	if err := u.keepDamaged(damaged.Path); err != nil {
		return st, err
	}
	if err := u.store().Save(st); err != nil {
		return st, err
	}
	if lost := st.Lost; lost != nil && !known {
		u.emit(event.HistoryLost, "at", stamp(lost.At))
	}
	return st, nil
}

// keepDamaged puts a copy of a damaged file beside it, for a person to look at.
func (u *Updater) keepDamaged(path string) error {
	data, err := u.Disk.ReadFile(path, maxDamaged)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.As(err, new(*durable.DamagedError)): // it is no file, or a huge one
		if err := u.Disk.RemoveAll(path + ".damaged"); err != nil {
			return err
		}
		return u.Disk.Rename(path, path+".damaged")
	case err != nil:
		return err
	}
	return u.Disk.WriteFile(path+".damaged", data, 0o600)
}

// maxDamaged bounds the copy of a damaged file, in bytes.
const maxDamaged = 16 << 20

// remembered is the state, without generations, that is known where state.json
// is damaged or lost: what was rejected, by its copy. Without that nothing is
// known of it, and the state says so.
func (u *Updater) remembered() (rollback.State, error) {
	h, known, err := u.store().History()
	st := rollback.State{Format: rollback.StateFormat, Quarantine: h.Quarantine, Lost: h.Lost}
	if err == nil && !known {
		st.Lost = &rollback.Loss{At: u.Clock.Now().UTC().Truncate(time.Second)}
	}
	return st, err
}

// newestWhole makes the state anew from the generations on disk; where none of
// them is whole, from what the links that engines read lead to. was says what was
// rejected, and what is known of trials.
func (u *Updater) newestWhole(was rollback.State) (rollback.State, error) {
	st := rollback.State{Format: rollback.StateFormat, Last: was.Last, Quarantine: was.Quarantine, Lost: was.Lost}
	gens, err := u.store().Generations()
	if err != nil {
		return st, err
	}
	var best, second candidate
	found := u.fromLinks()
	for _, g := range gens {
		st.Last = max(st.Last, g.Number)
		whole, err := u.whole(g)
		if err != nil {
			return st, err
		}
		if !whole {
			continue
		}
		c := candidate{g, u.suitability(was, g)}
		if c.suits >= best.suits {
			best, second = c, best
		} else if c.suits >= second.suits {
			second = c
		}
	}
	gen := best.gen
	gen.Bases = found
	// Where the only whole one is rejected, what engines read is better.
	if len(found) == 0 || best.suits > 1 || best.suits == 1 && was.Rejected(gen) != "" {
		st.Current, st.Good, st.Previous = best.gen.Number, best.gen.Number, second.gen.Number
		return st, nil
	}
	gen.Made, gen.Why = u.Clock.Now().UTC(), "recovery"
	st, gen, err = u.store().Make(st, gen)
	if err != nil {
		return st, err
	}
	st, err = st.Switch(gen.Number)
	return st.Confirm(), err
}

// candidate is a whole generation that may be taken as the good one: of those
// that suit best the newest.
type candidate struct {
	gen   rollback.Generation
	suits int // 0: there is none
}

// suitability orders generations whose role is not known any more: first one
// that was shown to engines, then one that nobody rejected, then one that was on
// trial or rejected, which is better than none.
func (u *Updater) suitability(was rollback.State, g rollback.Generation) int {
	onTrial := g.Number == u.trialMark() || was.Trial == g.Number && was.Good != g.Number
	switch {
	case was.Rejected(g) != "" || onTrial:
		return 1
	case !u.shown(g):
		return 2
	}
	return 3
}

// shown says whether the links that engines read lead to just what g holds.
func (u *Updater) shown(g rollback.Generation) bool {
	links, _ := filepath.Glob(filepath.Join(u.Dir, "bases", "*", currentLink))
	return len(links) == len(g.Bases) && len(u.moved(g)) == 0
}

// whole says whether all that g names is there. The error is that the disk does
// not say.
func (u *Updater) whole(g rollback.Generation) (bool, error) {
	for name, ref := range g.Bases {
		if err := u.presence(name, ref); durable.Withheld(err) {
			return false, err
		} else if err != nil {
			return false, nil
		}
	}
	for name, slot := range g.Modules {
		if err := u.slotPresence(name, slot); durable.Withheld(err) {
			return false, err
		} else if err != nil {
			return false, nil
		}
	}
	return true, nil
}

// fromLinks finds the versions that the current links lead to, by the stored
// manifests.
func (u *Updater) fromLinks() map[string]rollback.Ref {
	found := map[string]rollback.Ref{}
	for _, m := range u.storedManifests() {
		target, err := os.Readlink(filepath.Join(u.Dir, "bases", m.Name, currentLink))
		ref := m.ref()
		if err == nil && target == ref.Dir && u.present(m.Name, ref) {
			found[m.Name] = ref
		}
	}
	return found
}

// stored is a manifest that is kept, with its hash.
type stored struct {
	*bases.Manifest
	hash bases.Hash
}

func (s stored) ref() rollback.Ref {
	j := job{manifest: s.Manifest, hash: s.hash}
	return j.ref()
}

func (u *Updater) storedManifests() []stored {
	files, _ := filepath.Glob(filepath.Join(u.Dir, "manifests", "*.json"))
	var all []stored
	for _, path := range files {
		hash := filepath.Base(path[:len(path)-len(".json")])
		data, err := u.readManifest(hash)
		if err != nil {
			continue
		}
		var s stored
		name, _ := bases.NameIn(data)
		m, err := bases.ParseManifest(name, data)
		if err == nil && s.hash.UnmarshalText([]byte(hash)) == nil {
			s.Manifest = m
			all = append(all, s)
		}
	}
	return all
}

// leftBehind says whether versions lie under bases/ although no generation can
// be read: then nothing is pruned, so that a person can look.
func (u *Updater) leftBehind(gens []rollback.Generation) bool {
	if slices.ContainsFunc(gens, func(g rollback.Generation) bool { return len(g.Bases) > 0 }) {
		return false
	}
	_, err := os.Stat(filepath.Join(u.Dir, "state.json.damaged"))
	return !errors.Is(err, fs.ErrNotExist)
}
