package updater

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/rollback"
)

// pruneNow is prune with the state as it is.
func (u *Updater) pruneNow() error {
	st, err := u.store().Load()
	if err != nil {
		return err
	}
	return u.prune(st)
}

// keepsModules says which slots and manifests of modules stay: those of the
// generations gens, which are kept, and what is on offer. After an error that is
// not known, and nothing may be removed.
func (u *Updater) keepsModules(gens []rollback.Generation, slots, manifests map[string]bool) error {
	for _, g := range gens {
		for name, slot := range g.Modules {
			slots[filepath.Join(name, slot.Dir)] = true
			manifests[slot.Manifest+".json"] = true
		}
	}
	list, err := u.readAvailable()
	if err != nil {
		return err
	}
	for _, a := range list {
		manifests[a.Manifest.String()+".json"] = true
		m, err := u.moduleManifest(a.Manifest.String())
		if durable.Withheld(err) {
			return err
		}
		if err == nil {
			slots[filepath.Join(m.Name, m.Dir())] = true
		}
	}
	return nil
}

// pruneSlots removes the slots that are not to be kept, and from which no
// process runs any more.
func (u *Updater) pruneSlots(keep map[string]bool) error {
	root := filepath.Join(u.Dir, "modules")
	names, err := os.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var running map[string]bool
	for _, n := range names {
		if !n.IsDir() {
			continue
		}
		slots, err := os.ReadDir(filepath.Join(root, n.Name()))
		if err != nil {
			return err
		}
		left := 0
		for _, s := range slots {
			slot := filepath.Join(n.Name(), s.Name())
			if running == nil && !keep[slot] {
				running = slotsInUse(root)
			}
			if keep[slot] || running[slot] {
				left++
			} else if err := u.Disk.RemoveAll(filepath.Join(root, slot)); err != nil {
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

// slotsInUse finds the slots, as NAME/DIR, from which a process runs or in
// which it works, by what the kernel says of all processes. Of those of other
// users it may say nothing; the good generation's and the ones before are kept
// in any case.
func slotsInUse(root string) map[string]bool {
	used := map[string]bool{}
	real, err := filepath.EvalSymlinks(root)
	if err != nil {
		return used
	}
	for _, what := range []string{"exe", "cwd"} {
		links, _ := filepath.Glob("/proc/[0-9]*/" + what)
		for _, link := range links {
			path, err := os.Readlink(link)
			if err != nil {
				continue
			}
			rest, ok := strings.CutPrefix(path, real+string(filepath.Separator))
			if parts := strings.SplitN(rest, string(filepath.Separator), 3); ok && len(parts) > 1 {
				used[filepath.Join(parts[0], parts[1])] = true
			}
		}
	}
	return used
}
