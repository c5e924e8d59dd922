package updater

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/rollback"
)

// Lock takes the lock over the state folder, which is made if needed.
func (u *Updater) Lock() (*durable.Lock, error) {
	if err := u.Disk.MkdirAll(u.Dir, 0o755); err != nil {
		return nil, err
	}
	return u.Disk.Lock(filepath.Join(u.Dir, "lock"))
}

// Start brings everything in order after whatever ended the last run: the good
// generation is current, what engines read is that generation's, leftovers are
// gone. resume says that a trial was broken off and wants an update soon. It
// may be called again at any time, and is, before each run.
func (u *Updater) Start(ctx context.Context) (resume bool, err error) {
	for _, dir := range []string{"bases", "generations", "manifests", "tmp"} {
		if err := u.Disk.MkdirAll(filepath.Join(u.Dir, dir), 0o755); err != nil {
			return false, err
		}
	}
	st, err := u.soundState()
	if err != nil {
		return false, err
	}
	// A run killed before its last sync may have left this state in the page
	// cache alone; what the one on the disk names must not be pruned by it.
	if err := u.Disk.SyncDir(u.Dir); err != nil {
		return false, err
	}
	u.startLicence(st)
	if st.OnTrial() {
		if st, err = u.endBroken(st); err != nil {
			return false, err
		}
	}
	_, _, ofModules, err := u.trialOf(st)
	if err != nil {
		return false, err
	}
	resume = st.Trial > 0 && !ofModules
	gen, err := u.store().Generation(st.Current)
	if err != nil {
		return false, err
	}
	moved := u.moved(gen)
	if err := u.show(ctx, gen); err != nil {
		return resume, err
	}
	u.catchUp(ctx, moved, gen)
	u.TakeBackDelivered(ctx)
	return resume, u.prune(st)
}

// endBroken returns to the good generation from a trial of bases that nobody
// watches any more. A boot or an orderly stop took the mark in the runtime
// folder away; where it still stands the agent died, and after MaxBadEnds deaths
// the trial's versions are taken to be the cause.
//
// A trial of modules is left to who judges it. One of bases beside it is broken
// off: why the agent died there cannot be known, and the modules are asked first.
func (u *Updater) endBroken(st rollback.State) (rollback.State, error) {
	_, _, ofModules, err := u.trialOf(st)
	if err != nil || ofModules && st.Layer == 0 {
		return st, err
	}
	mark := u.trialMark()
	st, err = u.change(func(st rollback.State) (rollback.State, error) {
		if ofModules {
			return st.EndBases(), nil
		}
		if mark == st.Current {
			st = st.BadEnd()
		}
		if st.BadEnds < rollback.MaxBadEnds {
			return st.Suspend(), nil
		}
		gone, err := u.allNew(st)
		return st.Revert(gone...), err
	})
	if err != nil {
		return st, err
	}
	u.endTrial()
	return st, nil
}

// allNew lists what the trial brought, as withdrawn.
func (u *Updater) allNew(st rollback.State) ([]rollback.Withdrawn, error) {
	trial, err := u.store().Generation(st.Current)
	if err != nil {
		return nil, err
	}
	good, err := u.store().Generation(st.Good)
	if err != nil {
		return nil, err
	}
	var gone []rollback.Withdrawn
	for _, name := range trial.Changed(good) {
		w := rollback.Withdrawn{
			Base: name, Version: trial.Bases[name].Version, Keys: trial.Bases[name].Keys, At: u.Clock.Now().UTC(),
			Reason: fmt.Sprintf("the agent died %d times while it was on trial", st.BadEnds),
		}
		gone = append(gone, w)
		u.emit(event.BaseRolledBack, "base", name, "from", fmt.Sprint(w.Version),
			"to", fmt.Sprint(good.Bases[name].Version), "error", w.Reason)
	}
	return gone, nil
}

// load gives the state and its current generation.
func (u *Updater) load() (rollback.State, rollback.Generation, error) {
	st, err := u.store().Load()
	if err != nil {
		return st, rollback.Generation{}, err
	}
	gen, err := u.store().Generation(st.Current)
	return st, gen, err
}

func (u *Updater) store() rollback.Store { return rollback.Store{Dir: u.Dir, Disk: u.Disk} }

func (u *Updater) tmp() string { return filepath.Join(u.Dir, "tmp") }

// The mark of a running trial lies in the runtime folder, which a boot
// empties, on purpose: see endBroken.
type trialMark struct {
	Generation int `json:"generation"`
}

func (u *Updater) markPath() string { return filepath.Join(u.Runtime, "trial.json") }

func (u *Updater) beginTrial(n int) error {
	if err := u.Disk.MkdirAll(u.Runtime, 0o755); err != nil {
		return err
	}
	data, err := json.Marshal(trialMark{n})
	if err != nil {
		return err
	}
	return u.Disk.WriteFile(u.markPath(), data, 0o644)
}

func (u *Updater) trialMark() int {
	data, err := os.ReadFile(u.markPath())
	var m trialMark
	if err != nil || json.Unmarshal(data, &m) != nil {
		return 0
	}
	return m.Generation
}

func (u *Updater) endTrial() { os.Remove(u.markPath()) }

// Orderly says that the process ends on purpose: a running trial is broken
// off, and that is no fault of what it tried.
func (u *Updater) Orderly() error {
	err := os.Remove(u.markPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// keepManifest stores the manifest of a version that is about to be used.
func (u *Updater) keepManifest(j *job) error {
	return u.storeManifest(j.hash, j.data)
}

// storeManifest keeps a manifest by its hash.
func (u *Updater) storeManifest(hash bases.Hash, data []byte) error {
	if _, err := u.readManifest(hash.String()); err == nil {
		return nil
	}
	return u.Disk.WriteFile(u.manifestPath(hash.String()), data, 0o644)
}
