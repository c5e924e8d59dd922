package updater

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/modules"
	"github.com/freshet/freshet/rollback"
)

// currentLink is the name under bases/NAME/ that engines read.
const currentLink = "current"

// show makes what engines read that of generation g: the links, and the files
// delivered to their folders. It may be repeated.
func (u *Updater) show(ctx context.Context, g rollback.Generation) error {
	var errs []error
	for name, ref := range g.Bases {
		link := filepath.Join(u.Dir, "bases", name, currentLink)
		errs = append(errs, u.point(link, ref.Dir))
		if e, ok := u.Engines[name]; ok {
			adopted, err := e.DeliverFiles(ctx, modules.Delivered{Dir: u.versionDir(name, ref.Dir), First: u.isFirst(name)})
			u.engineFailed(name, "deliver", err)
			u.noteUndelivered(name, err != nil)
			if len(adopted) > 0 {
				u.emit(event.DeliveryAdopted, "base", name, "folder", e.Delivery.To, "files", fewOf(adopted))
			}
		}
	}
	links, _ := filepath.Glob(filepath.Join(u.Dir, "bases", "*", currentLink))
	for _, link := range links {
		if _, ok := g.Bases[filepath.Base(filepath.Dir(link))]; !ok {
			errs = append(errs, u.Disk.RemoveAll(link))
		}
	}
	u.takeBackFirst(ctx, g)
	return errors.Join(errs...)
}

// isFirst says whether no good generation has had a version of the base.
func (u *Updater) isFirst(name string) bool {
	st, err := u.store().Load()
	if err != nil {
		return false
	}
	good, err := u.store().Generation(st.Good)
	_, had := good.Bases[name]
	return err == nil && !had
}

// errUndelivered is why an engine was asked in vain.
var errUndelivered = errors.New("its files could not be put into the engine's folder")

// noteUndelivered notes whether a base's files are in its engine's folder.
func (u *Updater) noteUndelivered(name string, failed bool) {
	if u.undelivered == nil {
		u.undelivered = map[string]bool{}
	}
	u.undelivered[name] = failed
}

// moved lists the bases whose link does not lead to their version in g: their
// engines still use another.
func (u *Updater) moved(g rollback.Generation) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(g.Bases)) {
		target, err := os.Readlink(u.versionDir(name, currentLink))
		if err != nil || target != g.Bases[name].Dir {
			names = append(names, name)
		}
	}
	return names
}

// point makes link lead to dir, whatever stands there.
func (u *Updater) point(link, dir string) error {
	if target, err := os.Readlink(link); err == nil && target == dir {
		return nil
	}
	if st, err := os.Lstat(link); err == nil && st.IsDir() { // somebody put a folder there; no rename replaces it
		if err := u.Disk.RemoveAll(link); err != nil {
			return err
		}
	}
	return u.Disk.Symlink(dir, link)
}

// version is what an engine is told of.
func (u *Updater) version(name string, ref rollback.Ref, before rollback.Generation) modules.Version {
	v := modules.Version{Number: fmt.Sprint(ref.Version), Dir: u.versionDir(name, ref.Dir)}
	if old, ok := before.Bases[name]; ok {
		v.PreviousDir = u.versionDir(name, old.Dir)
	}
	return v
}

func (u *Updater) engineFailed(name, step string, err error) {
	if err != nil {
		u.emit(event.EngineFailed, "base", name, "step", step, "error", err.Error())
	}
}

// take tells a base's engine of the version in g. One that could not be told, or
// does not accept it, is asked again by askAgain.
func (u *Updater) take(ctx context.Context, name string, g, before rollback.Generation) error {
	e, ok := u.Engines[name]
	ref, has := g.Bases[name]
	if !ok || !has {
		return nil
	}
	err := e.Take(ctx, u.version(name, ref, before))
	if err == nil && u.undelivered[name] {
		err = errUndelivered // what it has read is not this version
	} else {
		u.engineFailed(name, "took", err)
	}
	if ctx.Err() == nil {
		u.settleTook(name, ref, err)
	}
	if !modules.IsVeto(err) {
		// It does not run, or the settings are wrong: that is no judgement of
		// the version, which it reads when it starts.
		return nil
	}
	return err
}

// prune removes what no kept generation refers to.
func (u *Updater) prune(st rollback.State) error {
	if err := u.store().Prune(st); err != nil {
		return err
	}
	keepDirs := map[string]bool{}
	keepManifests := map[string]bool{}
	gens, err := u.store().Generations()
	if err != nil || u.leftBehind(gens) {
		return err
	}
	for _, g := range gens {
		for name, ref := range g.Bases {
			keepDirs[filepath.Join(name, ref.Dir)] = true
			keepManifests[ref.Manifest+".json"] = true
		}
	}
	keepSlots := map[string]bool{}
	if err := u.keepsModules(gens, keepSlots, keepManifests); err != nil {
		return err
	}
	return errors.Join(
		u.pruneVersions(keepDirs),
		u.pruneSlots(keepSlots),
		u.pruneManifests(st, keepManifests),
		u.pruneEngines(st),
		u.clear(),
	)
}

// clear removes what broken runs left half done. In the state folder others
// write their files while an update runs: it looks for its own alone.
func (u *Updater) clear() error {
	err := errors.Join(
		u.pruneTemporary(),
		u.Disk.ReapFile(u.markPath()),
		u.Disk.Reap(filepath.Join(u.Dir, "engines")),
		u.Disk.Reap(filepath.Join(u.Dir, "evidence")),
	)
	if u.Switcher == nil { // else another process writes the state
		err = errors.Join(err, u.store().Reap())
	}
	return err
}

func (u *Updater) pruneVersions(keep map[string]bool) error {
	root := filepath.Join(u.Dir, "bases")
	names, err := os.ReadDir(root)
	if err != nil {
		return err
	}
	for _, n := range names {
		versions, err := os.ReadDir(filepath.Join(root, n.Name()))
		if err != nil {
			return err
		}
		left := 0
		for _, v := range versions {
			if keep[filepath.Join(n.Name(), v.Name())] || v.Name() == currentLink {
				left++
			} else if err := u.Disk.RemoveAll(filepath.Join(root, n.Name(), v.Name())); err != nil {
				return err
			}
		}
		if left == 0 {
			if err := u.Disk.RemoveAll(filepath.Join(root, n.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// pruneManifests keeps also those of versions that are held back: they are on
// offer, and would be fetched again each hour.
func (u *Updater) pruneManifests(st rollback.State, keep map[string]bool) error {
	root := filepath.Join(u.Dir, "manifests")
	entries, err := os.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if keep[e.Name()] || u.isHeld(st, e.Name()) {
			continue
		}
		if err := u.Disk.RemoveAll(filepath.Join(root, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (u *Updater) isHeld(st rollback.State, file string) bool {
	data, err := u.readManifest(strings.TrimSuffix(file, ".json"))
	if err != nil {
		return false
	}
	for _, w := range st.Quarantine {
		m, err := bases.ParseManifest(w.Base, data)
		if err == nil && m.Version == w.Version {
			return true
		}
	}
	return false
}

// pruneTemporary removes what broken runs left, but for downloads: they are
// named by their hash and are resumed. What no run has touched for long goes.
func (u *Updater) pruneTemporary() error {
	entries, err := os.ReadDir(u.tmp())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".part") && u.isRecent(e) {
			continue
		}
		if err := u.Disk.RemoveAll(filepath.Join(u.tmp(), e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (u *Updater) isRecent(e fs.DirEntry) bool {
	st, err := e.Info()
	return err == nil && u.Clock.Now().Sub(st.ModTime()).Abs() < keepParts
}
