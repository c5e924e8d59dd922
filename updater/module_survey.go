package updater

import (
	"context"
	"errors"
	"fmt"
	"maps"
	goruntime "runtime"
	"slices"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/internal/trust"
	"github.com/freshet/freshet/modules"
	"github.com/freshet/freshet/rollback"
)

// Modes of updating modules.
const (
	ModulesDisabled     = "disabled"             // nothing is fetched; what there is is listed
	ModulesDownloadOnly = "download-only"        // fetched, and installed when a person says so
	ModulesInstall      = "download-and-install" // the default
)

// ModulePolicy says what is done about modules. The zero value updates what is
// installed.
type ModulePolicy struct {
	Mode     string            // "" is ModulesInstall
	Each     map[string]string // modes of single modules, "" as Mode says; who stands here is wanted though not installed
	Silent   bool              // available releases are listed and no event tells of them
	Platform string            // OS/ARCH; "": this machine's
}

func (p *ModulePolicy) mode(name string) string {
	for _, m := range []string{p.Each[name], p.Mode} {
		if m != "" {
			return m
		}
	}
	return ModulesInstall
}

func (p *ModulePolicy) platform() string {
	if p.Platform != "" {
		return p.Platform
	}
	return goruntime.GOOS + "/" + goruntime.GOARCH
}

// moduleJob is a release on offer, of a line of a module that is wanted.
type moduleJob struct {
	path      string // of its target
	manifest  *modules.Manifest
	data      []byte // the manifest's bytes
	hash      bases.Hash
	installed rollback.Slot // or on trial; of version "" if there is none
	further   bool          // of a line that this agent is not on: it is listed, and never pushed
	refused   error         // why it is not installed
	thrifty   bool
}

func (j *moduleJob) slot() rollback.Slot { return j.manifest.Slot(j.hash) }

// moduleView is what an update finds of modules.
type moduleView struct {
	offer *offer
	state rollback.State
	now   rollback.Generation // the newest that is, or is to be, tried
	jobs  []*moduleJob
}

// surveyModules finds what is on offer of the modules that are wanted. It
// fetches metadata alone.
func (u *Updater) surveyModules(ctx context.Context, o *offer) (*moduleView, error) {
	v := &moduleView{offer: o}
	var err error
	if v.state, v.now, err = u.newestModules(); err != nil {
		return nil, err
	}
	list, err := o.view.List(ctx, fetcher{o.source, u}, "modules")
	if trust.KindOf(err) == trust.NoTarget || trust.IsEmpty(err) && !needsModules(u.Modules, v.now) {
		return v, nil // a repository of bases alone
	}
	if err != nil {
		return nil, err
	}
	for _, t := range list {
		name, _, platform, ok := modules.ParseTarget(t.Path)
		if !ok || platform != u.Modules.platform() || !u.wanted(name, v.now) {
			continue
		}
		j, err := u.moduleJob(ctx, v, t)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			u.emit(event.ModuleUpdateFailed, "module", name, "version", "what is offered", "error", err.Error())
			continue
		}
		v.jobs = append(v.jobs, j)
	}
	u.lines(v)
	return v, nil
}

// newestModules gives the state, and the generation whose modules an update
// starts from: the one whose modules are on trial, or the good one.
func (u *Updater) newestModules() (rollback.State, rollback.Generation, error) {
	st, err := u.store().Load()
	if err != nil {
		return st, rollback.Generation{}, err
	}
	good, trial, ofModules, err := u.trialOf(st)
	if ofModules {
		return st, trial, err
	}
	return st, good, err
}

// needsModules says whether the repository's modules matter to this machine: one
// is installed, or named. Of the agent that the package brought none is needed.
func needsModules(p *ModulePolicy, now rollback.Generation) bool {
	return len(now.Modules) > 0 || p != nil && len(p.Each) > 0
}

func (u *Updater) wanted(name string, now rollback.Generation) bool {
	_, installed := now.Modules[name]
	_, named := u.Modules.Each[name]
	return installed || named || name == modules.Agent
}

// runs is the slot of a module. An agent that no generation names was put in
// place otherwise.
func (u *Updater) runs(name string, now rollback.Generation) rollback.Slot {
	slot, ok := now.Modules[name]
	if !ok && name == modules.Agent {
		return rollback.Slot{Version: trimV(u.Version)}
	}
	return slot
}

func (u *Updater) moduleJob(ctx context.Context, v *moduleView, t trust.Target) (*moduleJob, error) {
	if t.Role != "modules" {
		return nil, refuse("its manifest is signed by role %q, not \"modules\"", t.Role)
	}
	if t.Length > bases.MaxManifest {
		return nil, fmt.Errorf("its manifest has %d bytes, the most is %d", t.Length, bases.MaxManifest)
	}
	data, err := u.readManifest(t.Hex())
	if err != nil {
		if data, err = u.small(ctx, v.offer, t.FetchPath, t.Length, t.SHA256); err != nil {
			return nil, err
		}
	}
	m, err := modules.ParseManifest(t.Path, data)
	if err != nil {
		return nil, &refusedError{err}
	}
	j := &moduleJob{path: t.Path, manifest: m, data: data, hash: bases.Hash(t.SHA256), installed: u.runs(m.Name, v.now)}
	j.refused = u.suitsModule(j)
	return j, nil
}

// suitsModule says why this agent must not install a release.
func (u *Updater) suitsModule(j *moduleJob) error {
	m := j.manifest
	switch {
	case max(m.Image.Size, m.Full.Size) > maxImage:
		return refuse("its image has %d bytes, %d as fetched; the most is %d", m.Image.Size, m.Full.Size, int64(maxImage))
	case len(m.Programs) > 0 && durable.NoExec(u.Dir): // not the release's fault: it is offered again
		return fmt.Errorf("%s is on a file system mounted noexec, so that its programs cannot be started: mount it with exec", u.Dir)
	case m.Agent != "" && compareVersions(u.Version, m.Agent) < 0:
		return fmt.Errorf("it needs agent %s, this is %s", m.Agent, u.Version)
	case j.installed.Version == m.Version && j.installed.Image != "" && j.installed.Image != m.Image.SHA256.String():
		return refuse("%s is offered with another content than the one installed under that version", m.Version)
	}
	return nil
}

// lines marks what is of another line than the installed one. Of a module that
// is not installed yet the newest line is taken.
func (u *Updater) lines(v *moduleView) {
	for _, j := range v.jobs {
		if j.installed.Version != "" {
			j.further = modules.Line(j.manifest.Version) != modules.Line(j.installed.Version)
			continue
		}
		j.further = slices.ContainsFunc(v.jobs, func(o *moduleJob) bool {
			return o.manifest.Name == j.manifest.Name && rollback.CompareReleases(o.manifest.Version, j.manifest.Version) > 0
		})
	}
}

// newer says whether a job is for a release above the installed one.
func (j *moduleJob) newer() bool {
	return j.installed.Version == "" || rollback.CompareReleases(j.manifest.Version, j.installed.Version) > 0
}

// runModules is the part of the update task that is about modules. What fails
// here costs no base.
func (u *Updater) runModules(ctx context.Context, o *offer, r *reporter, thrifty bool, res *Result) error {
	if u.Modules == nil {
		return nil
	}
	v, err := u.surveyModules(ctx, o)
	if err == nil {
		err = u.noteAvailable(v)
	}
	if err != nil && ctx.Err() == nil {
		if trust.KindOf(err) == trust.Expired {
			u.emit(event.MetadataExpired, "error", err.Error())
		}
		u.tellFull(err)
		res.Modules = append(res.Modules, ModuleChange{Error: err.Error()})
	}
	if err != nil {
		return ctx.Err()
	}
	ready := map[string]*moduleJob{}
	for _, j := range v.jobs {
		if !u.pushes(v, j) {
			continue
		}
		j.thrifty = thrifty
		if c := u.prepareModule(ctx, v, j, r); c != nil {
			res.Modules = append(res.Modules, *c)
			if c.Error == "" && !c.Fetched {
				ready[j.manifest.Name] = j
			}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	if len(ready) > 0 {
		r.phase(PhaseSwitch, "")
		if err := u.switchModules(ready, "modules"); err != nil {
			return err
		}
	}
	return u.pruneNow()
}

// prepareModule fetches a release, and says what became of it; nil if there was
// nothing to do.
func (u *Updater) prepareModule(ctx context.Context, v *moduleView, j *moduleJob, r *reporter) *ModuleChange {
	m := j.manifest
	c := &ModuleChange{Name: m.Name, From: j.installed.Version, To: m.Version}
	c.Fetched = u.Modules.mode(m.Name) == ModulesDownloadOnly
	if c.Fetched && u.slotThere(m.Name, j.slot()) { // its hash is checked when it is installed
		return nil
	}
	if err := u.fetchModule(ctx, v.offer, j, r); err != nil {
		if ctx.Err() == nil {
			u.moduleFailed(j, err)
		}
		c.Error, c.Fetched = err.Error(), false
	} else if c.Fetched {
		u.emit(event.ModuleFetched, "module", m.Name, "version", m.Version)
	}
	return c
}

// planModules is the part of a plan that is about modules.
func (u *Updater) planModules(ctx context.Context, o *offer, p *Plan) error {
	if u.Modules == nil {
		return nil
	}
	v, err := u.surveyModules(ctx, o)
	if err != nil {
		return err
	}
	for _, j := range v.jobs {
		m := j.manifest
		if !j.newer() || j.further {
			continue
		}
		c := ModulePlan{Name: m.Name, From: j.installed.Version, To: m.Version, Full: m.Full.Size}
		if w, held := heldRelease(v.state, m); held {
			c.Held = w.Reason
		}
		if j.refused != nil {
			c.Held = j.refused.Error()
		}
		if u.Modules.mode(m.Name) == ModulesDisabled {
			c.Held = "the settings say " + ModulesDisabled
		}
		if c.Held == "" && !u.slotThere(m.Name, j.slot()) {
			c.Bytes, c.Disk = u.moduleWays(m)[0].Size, m.Image.Size+m.Full.Size
			p.Bytes, p.Full, p.Disk = p.Bytes+c.Bytes, p.Full+c.Full, p.Disk+c.Disk
		}
		p.Modules = append(p.Modules, c)
	}
	return nil
}

// pushes says whether a release is fetched without a person's word.
func (u *Updater) pushes(v *moduleView, j *moduleJob) bool {
	name := j.manifest.Name
	if j.further || !j.newer() || j.refused != nil || u.Modules.mode(name) == ModulesDisabled {
		return false
	}
	_, held := heldRelease(v.state, j.manifest)
	return !held
}

// heldRelease says whether a release is not installed without a person's word.
func heldRelease(st rollback.State, m *modules.Manifest) (rollback.Withdrawn, bool) {
	if w, held := st.HeldModule(m.Name, m.Version); held {
		return w, true
	}
	return st.HeldByLoss("module", m.Name, m.Published)
}

func (u *Updater) moduleFailed(j *moduleJob, err error) {
	m := j.manifest
	var refused *refusedError
	if errors.As(err, &refused) { // its content, as it was signed: fetching it again is in vain
		u.emit(event.ModuleRefused, "module", m.Name, "version", m.Version, "error", err.Error())
		w := rollback.Withdrawn{Module: m.Name, Release: m.Version, At: u.Clock.Now().UTC(), Reason: err.Error()}
		_, _ = u.change(func(st rollback.State) (rollback.State, error) { return st.Withdraw(w), nil }) // else it is refused again
		return
	}
	u.emit(event.ModuleUpdateFailed, "module", m.Name, "version", m.Version, "error", err.Error())
	u.tellFull(err)
}

// switchModules makes a generation with the slots of jobs current, on trial: in
// place of a trial of modules that there is, whose other modules it keeps. Who
// keeps the state starts them, and judges them.
func (u *Updater) switchModules(jobs map[string]*moduleJob, why string) error {
	names := slices.Sorted(maps.Keys(jobs))
	slots := map[string]rollback.Slot{}
	for _, name := range names {
		slots[name] = jobs[name].slot()
	}
	if err := u.syncSlots(names); err != nil {
		return err
	}
	_, err := u.change(func(st rollback.State) (rollback.State, error) {
		good, trial, ofModules, err := u.trialOf(st)
		if err != nil {
			return st, err
		}
		gen := good.WithModules(slots)
		if ofModules {
			gen = trial.WithModules(slots)
		}
		if j, ok := jobs[modules.Agent]; ok && j.manifest.Firewall != "" {
			gen.Firewall = j.manifest.Firewall
		}
		gen.Why, gen.Made = why, u.Clock.Now().UTC()
		if st, gen, err = u.sameOrNew(st, gen); err != nil {
			return st, err
		}
		if ofModules {
			return st.Displace(gen.Number)
		}
		return st.Switch(gen.Number)
	})
	if err != nil {
		return err
	}
	for _, name := range names {
		u.emit(event.ModuleOnTrial, "module", name, "version", slots[name].Version, "from", orNone(jobs[name].installed.Version))
	}
	return nil
}

func orNone(version string) string {
	if version == "" {
		return "none"
	}
	return version
}
