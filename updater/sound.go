package updater

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/rollback"
)

// soundState loads the state, and sees that the generations it runs by can be
// read. What cannot be read is not "no state": the newest generation whose
// bases are all there takes its place, and the damaged file is kept.
func (u *Updater) soundState() (rollback.State, error) {
	st, err := u.store().Load()
	if err == nil {
		_, err = u.store().Generation(st.Current)
	}
	if err == nil {
		_, err = u.store().Generation(st.Good)
	}
	var damaged *rollback.DamagedError
	if !errors.As(err, &damaged) {
		return st, err
	}
	u.emit(event.StateDamaged, "error", err.Error())
	if data, err := os.ReadFile(damaged.Path); err == nil {
		if err := u.Disk.WriteFile(damaged.Path+".damaged", data, 0o600); err != nil {
			return st, err
		}
	}
	return u.newestWhole(st.Quarantine)
}

// newestWhole makes the state anew from the generations on disk; where none of
// them is whole, from what the links that engines read lead to.
func (u *Updater) newestWhole(held []rollback.Withdrawn) (rollback.State, error) {
	st := rollback.State{Format: rollback.StateFormat, Quarantine: held}
	for _, g := range u.store().Generations() {
		st.Last = max(st.Last, g.Number)
		if u.whole(g) {
			st.Previous, st.Good, st.Current = st.Good, g.Number, g.Number
		}
	}
	if st.Current > 0 {
		return st, u.store().Save(st)
	}
	found := u.fromLinks()
	if len(found) == 0 {
		return st, u.store().Save(st)
	}
	st, gen, err := u.store().Make(st, rollback.Generation{Made: u.Clock.Now().UTC(), Why: "recovery", Bases: found})
	if err != nil {
		return st, err
	}
	if st, err = st.Switch(gen.Number); err != nil {
		return st, err
	}
	st = st.Confirm()
	return st, u.store().Save(st)
}

func (u *Updater) whole(g rollback.Generation) bool {
	for name, ref := range g.Bases {
		if !u.present(name, ref) {
			return false
		}
	}
	for name, slot := range g.Modules {
		if !u.slotThere(name, slot) {
			return false
		}
	}
	return true
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
