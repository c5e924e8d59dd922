package updater

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/modules"
	"github.com/freshet/freshet/rollback"
)

// Errors of what a person asks of modules.
var (
	ErrNoModule     = errors.New("no such module")
	ErrModuleHeld   = errors.New("it is held back")
	ErrNothingNewer = errors.New("there is nothing to do")
)

// InstallModule fetches a release of a module, whatever its mode and its line,
// and puts it on trial: version "" is the newest of the installed line, or of
// all lines if none is installed. It gives the version before, or "". The caller
// holds the lock.
func (u *Updater) InstallModule(ctx context.Context, name, version string, progress func(Progress)) (from, to string, err error) {
	defer u.closeIdle()
	r := &reporter{to: progress}
	defer r.done()
	if u.Modules == nil {
		return "", "", errors.New("modules are left alone here")
	}
	if err := bases.CheckName(name); err != nil {
		return "", "", fmt.Errorf("%w: %w", ErrNoModule, err)
	}
	policy := *u.Modules
	policy.Each = maps.Clone(policy.Each)
	if policy.Each == nil {
		policy.Each = map[string]string{}
	}
	policy.Each[name] = policy.mode(name) // a person's word names it
	u.Modules = &policy
	if _, err := u.Start(ctx); err != nil {
		return "", "", err
	}
	if err := u.rooted(); err != nil {
		return "", "", err
	}
	r.phase(PhaseRefresh, "")
	v, unasked, err := u.modulesOnOffer(ctx)
	if err != nil {
		return "", "", err
	}
	j, err := v.pick(name, version)
	if err != nil && unasked != nil {
		return "", "", unasked
	}
	if err != nil {
		return "", "", err
	}
	if err := u.fetchModule(ctx, v.offer, j, r); err != nil {
		u.moduleFailed(j, err)
		return "", "", err
	}
	r.phase(PhaseSwitch, "")
	return j.installed.Version, j.manifest.Version, u.switchModules(map[string]*moduleJob{name: j}, "by hand")
}

// modulesOnOffer asks the sources. Where none can be asked, unasked says why, and
// what was fetched before can be installed all the same.
func (u *Updater) modulesOnOffer(ctx context.Context) (v *moduleView, unasked, err error) {
	o, err := u.refresh(ctx)
	if err == nil {
		if v, err = u.surveyModules(ctx, o); err == nil {
			return v, nil, u.noteAvailable(v)
		}
	}
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	v, stored := u.fetchedBefore(ctx)
	if stored != nil {
		return nil, nil, err
	}
	return v, err, nil
}

// fetchedBefore are the available releases that lie whole in their slots.
func (u *Updater) fetchedBefore(ctx context.Context) (*moduleView, error) {
	v := &moduleView{offer: &offer{}}
	var err error
	if v.state, v.now, err = u.newestModules(); err != nil {
		return nil, err
	}
	for _, a := range u.available() {
		data, err := u.readManifest(a.Manifest.String())
		if err != nil {
			continue
		}
		m, err := modules.ParseManifest(a.Path, data)
		if err != nil || u.checkSlot(ctx, m) != nil {
			continue
		}
		j := &moduleJob{path: a.Path, manifest: m, data: data, hash: a.Manifest, installed: u.runs(m.Name, v.now)}
		j.refused = u.suitsModule(j)
		v.jobs = append(v.jobs, j)
	}
	u.lines(v)
	return v, nil
}

// pick finds the release that a person asks for.
func (v *moduleView) pick(name, version string) (*moduleJob, error) {
	var names []string
	for _, j := range v.jobs {
		m := j.manifest
		names = append(names, m.Name+" "+m.Version)
		if m.Name != name || version != "" && m.Version != version || version == "" && j.further {
			continue
		}
		if w, held := v.state.HeldModule(name, m.Version); held {
			return nil, fmt.Errorf("%s %s: %w: %s", name, m.Version, ErrModuleHeld, w.Reason)
		}
		if j.refused != nil {
			return nil, fmt.Errorf("%s %s: %w", name, m.Version, j.refused)
		}
		if j.installed.Version == m.Version && j.installed.Dir == m.Dir() {
			return nil, fmt.Errorf("%w: %s %s is installed, or on trial", ErrNothingNewer, name, m.Version)
		}
		if !j.newer() {
			return nil, fmt.Errorf("%w: %s %s is installed, the newest on offer is %s; freshet modules rollback goes back", ErrNothingNewer, name, j.installed.Version, m.Version)
		}
		return j, nil
	}
	slices.Sort(names)
	if version != "" {
		name += " " + version
	}
	return nil, fmt.Errorf("%w: %s is not on offer for this machine; there is %v", ErrNoModule, name, names)
}

// RollBackModule returns a module to what it was before, offline: from a trial
// to the good release, while others on trial are tried again; else to the release before the good one, which needs no
// trial. The release left is held back until a newer one comes or
// [Updater.ReleaseModule] is called.
func (u *Updater) RollBackModule(ctx context.Context, name string) (from, to string, err error) {
	if _, err := u.Start(ctx); err != nil {
		return "", "", err
	}
	_, err = u.change(func(st rollback.State) (rollback.State, error) {
		good, trial, ofModules, err := u.trialOf(st)
		if err != nil {
			return st, err
		}
		w := rollback.Withdrawn{Module: name, At: u.Clock.Now().UTC(), Reason: "rolled back by an operator", ByHand: true}
		if ofModules && slices.Contains(trial.ChangedModules(good), name) {
			from, to = orNone(trial.Modules[name].Version), orNone(good.Modules[name].Version)
			w.Release = from
			next, _ := u.store().Fail(st, []string{name}, w) // what else is on trial is tried again
			return next, nil
		}
		slot, ok := good.Modules[name]
		if !ok {
			return st, fmt.Errorf("%w: module %q is not installed", ErrNoModule, name)
		}
		kept, err := u.store().Generations()
		if err != nil {
			return st, err
		}
		before, ok := st.ModuleBefore(good, name, kept)
		if !ok || !u.slotThere(name, before) {
			return st, fmt.Errorf("%w: module %q has no release before %s on this machine", ErrNothingNewer, name, slot.Version)
		}
		from, to, w.Release = slot.Version, before.Version, slot.Version
		gen := good.WithModules(map[string]rollback.Slot{name: before})
		if name == modules.Agent {
			gen.Firewall = rollback.FirewallOf(before, name, kept)
		}
		gen.Why, gen.Made = "rollback", u.Clock.Now().UTC()
		return u.confirmed(st.Withdraw(w), gen)
	})
	if err != nil {
		return "", "", err
	}
	u.emit(event.ModuleRolledBack, "module", name, "from", from, "to", to, "error", "by an operator")
	return from, to, u.pruneNow()
}

// confirmed makes gen, whose content was good before, current without a trial.
func (u *Updater) confirmed(st rollback.State, gen rollback.Generation) (rollback.State, error) {
	st, gen, err := u.store().Make(st, gen)
	if err != nil {
		return st, err
	}
	st, err = st.Switch(gen.Number)
	return st.Confirm(), err
}

// slotThere says whether a slot's folder is there. One that a package brought
// is the package's.
func (u *Updater) slotThere(name string, slot rollback.Slot) bool {
	return u.slotPresence(name, slot) == nil
}

// slotPresence says why a slot is not there, or that the disk does not say.
func (u *Updater) slotPresence(name string, slot rollback.Slot) error {
	if slot.Image == "" {
		return nil
	}
	m, err := u.moduleManifest(slot.Manifest)
	if err != nil {
		return err
	}
	r, err := bases.OpenVersion(u.slotDir(name, slot.Dir), m.Image)
	if err != nil {
		return err
	}
	return r.Close()
}

// HoldModule keeps a module at the release that it has, whatever comes, until
// [Updater.ReleaseModule]. A trial that runs goes on.
func (u *Updater) HoldModule(_ context.Context, name string) error {
	version := ""
	_, err := u.change(func(st rollback.State) (rollback.State, error) {
		now, err := u.store().Generation(st.Current)
		if err != nil {
			return st, err
		}
		if version = u.runs(name, now).Version; version == "" {
			return st, fmt.Errorf("%w: module %q is not installed", ErrNoModule, name)
		}
		return st.Withdraw(rollback.Withdrawn{Module: name, At: u.Clock.Now().UTC(), Reason: "held by an operator", ByHand: true}), nil
	})
	if err == nil {
		u.emit(event.ModuleHeld, "module", name, "version", version)
	}
	return err
}

// ReleaseModule lets what is held back of a module be installed again, and says
// what that is.
func (u *Updater) ReleaseModule(_ context.Context, name string) ([]rollback.Withdrawn, error) {
	var out []rollback.Withdrawn
	_, err := u.change(func(st rollback.State) (rollback.State, error) {
		st, out = st.ReleaseModule(name)
		if len(out) == 0 {
			return st, fmt.Errorf("%w: nothing of module %q is held back", ErrNothingNewer, name)
		}
		return st, nil
	})
	for _, w := range out {
		if err == nil {
			version := "every release"
			if w.Release != "" {
				version = w.Release
			}
			u.emit(event.ModuleReleased, "module", name, "version", version)
		}
	}
	return out, err
}
