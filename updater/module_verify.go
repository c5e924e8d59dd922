package updater

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/modules"
	"github.com/freshet/freshet/rollback"
)

// keptSlot is a slot that a kept generation names.
type keptSlot struct {
	name string
	slot rollback.Slot
	err  error // what is wrong with it
}

// slots lists what the kept generations name, the current one's first. What a
// package brought is the package manager's to verify.
func (u *Updater) slots() ([]*keptSlot, error) {
	st, now, err := u.load()
	if err != nil {
		return nil, err
	}
	var list []*keptSlot
	seen := map[string]bool{}
	add := func(g rollback.Generation) {
		for _, name := range slices.Sorted(maps.Keys(g.Modules)) {
			slot := g.Modules[name]
			if slot.Image != "" && !seen[name+"/"+slot.Dir] {
				list = append(list, &keptSlot{name: name, slot: slot})
			}
			seen[name+"/"+slot.Dir] = true
		}
	}
	add(now)
	all, err := u.store().Generations()
	if err != nil {
		return nil, err
	}
	keep := st.Keep(all)
	for _, g := range slices.Backward(all) {
		if slices.Contains(keep, g.Number) {
			add(g)
		}
	}
	return list, nil
}

// VerifyModules reads the slots of kept generations back and holds them against
// their signed hashes; with repair what is damaged is fetched again. One that
// programs run from is replaced in one step, and they run on.
func (u *Updater) VerifyModules(ctx context.Context, repair bool, progress func(Progress)) ([]Verified, error) {
	defer u.closeIdle()
	r := &reporter{to: progress}
	list, err := u.slots()
	if err != nil {
		return nil, err
	}
	if repair { // as holdOn does for bases
		dirs := []string{filepath.Join(u.Dir, "manifests")}
		for _, k := range list {
			dirs = append(dirs, filepath.Dir(u.slotDir(k.name, k.slot.Dir)))
		}
		if err := u.syncDirs(dirs); err != nil {
			return nil, err
		}
	}
	u.damaged = map[string]bool{}
	defer func() { u.damaged = nil }()
	for _, k := range list {
		r.phase(PhaseCheck, k.name)
		if k.err = u.checkKept(ctx, k); ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if k.err != nil {
			u.damaged[u.slotDir(k.name, k.slot.Dir)] = true
			u.emit(event.ModuleDamaged, "module", k.name, "version", k.slot.Version, "error", k.err.Error())
		}
	}
	out := []Verified{}
	for _, k := range list {
		v := Verified{Name: k.name, Module: true, Release: k.slot.Version}
		if k.err != nil {
			v.Error = k.err.Error()
		}
		if k.err != nil && repair {
			if err := u.mendSlot(ctx, k, r); err != nil {
				v.Error = fmt.Sprintf("%v; and could not be repaired: %v", k.err, err)
			} else {
				v.Error, v.Repaired = "", true
				delete(u.damaged, u.slotDir(k.name, k.slot.Dir))
				u.emit(event.ModuleRepaired, "module", k.name, "version", k.slot.Version)
			}
		}
		out = append(out, v)
		if ctx.Err() != nil {
			return out, context.Cause(ctx)
		}
	}
	return out, nil
}

func (u *Updater) checkKept(ctx context.Context, k *keptSlot) error {
	m, err := u.moduleManifest(k.slot.Manifest)
	if err != nil {
		return fmt.Errorf("its manifest: %w", err)
	}
	return u.checkSlot(ctx, m)
}

// mendSlot obtains a slot again, its manifest by its hash if that is damaged.
func (u *Updater) mendSlot(ctx context.Context, k *keptSlot, r *reporter) error {
	if len(u.Sources) == 0 {
		return errNoSource
	}
	var hash bases.Hash
	if err := hash.UnmarshalText([]byte(k.slot.Manifest)); err != nil {
		return err
	}
	data, err := u.readManifest(k.slot.Manifest)
	if err != nil {
		policy := u.Modules
		if policy == nil {
			policy = &ModulePolicy{}
		}
		path := modules.TargetPath(k.name, modules.Line(k.slot.Version), policy.platform())
		data, err = u.named(ctx, strings.Replace(path, "modules/", "targets/modules/"+hash.String()+".", 1), hash)
	}
	if err != nil {
		return err
	}
	m, err := modules.ReadManifest(data)
	if err != nil {
		return err
	}
	if m.Name != k.name || m.Dir() != k.slot.Dir {
		return fmt.Errorf("its manifest is about %s %s", m.Name, m.Version)
	}
	return u.fetchModule(ctx, &offer{source: u.Sources[0]}, &moduleJob{manifest: m, data: data, hash: hash}, r)
}
