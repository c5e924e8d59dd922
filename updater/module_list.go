package updater

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/modules"
	"github.com/freshet/freshet/rollback"
)

// available is a release that the repository offered when it was asked last,
// kept in modules/available.json so that lists need no network. Its manifest is
// kept by its hash. To lose the file costs an event that is told again.
type available struct {
	Path     string     `json:"path"` // of its target
	Manifest bases.Hash `json:"manifest"`
	Further  bool       `json:"further,omitempty"` // of a line that this agent was not on
	Refused  string     `json:"refused,omitempty"`
}

const maxAvailable = 1 << 20 // bytes of the file

func (u *Updater) availablePath() string { return filepath.Join(u.Dir, "modules", "available.json") }

// available reads the list; what cannot be read is empty.
func (u *Updater) available() []available {
	list, _ := u.readAvailable()
	return list
}

// readAvailable reads the list; a damaged one is empty. The error is that the
// disk does not give it: what it names must not be removed then.
func (u *Updater) readAvailable() ([]available, error) {
	var list []available
	err := u.Disk.ReadJSON(u.availablePath(), maxAvailable, 1, &list)
	if err != nil && !durable.Lasting(err) {
		return nil, nil
	}
	return list, err
}

// availableManifests gives the manifests of what is available.
func (u *Updater) availableManifests() []*modules.Manifest {
	var all []*modules.Manifest
	for _, a := range u.available() {
		if m, err := u.moduleManifest(a.Manifest.String()); err == nil {
			all = append(all, m)
		}
	}
	return all
}

func (u *Updater) moduleManifest(hash string) (*modules.Manifest, error) {
	data, err := u.readManifest(hash)
	if err != nil {
		return nil, err
	}
	return modules.ReadManifest(data)
}

// noteAvailable keeps what is on offer, and tells of what was not before.
func (u *Updater) noteAvailable(v *moduleView) error {
	old, list := u.available(), []available{}
	for _, j := range v.jobs {
		a := available{Path: j.path, Manifest: j.hash, Further: j.further}
		if j.refused != nil {
			a.Refused = j.refused.Error()
		}
		list = append(list, a)
		if !slices.Contains(old, a) && j.newer() {
			u.tellAvailable(v, j)
		}
	}
	if len(list) == 0 && len(old) == 0 {
		return nil
	}
	if err := u.Disk.MkdirAll(filepath.Dir(u.availablePath()), 0o755); err != nil {
		return err
	}
	for _, j := range v.jobs {
		if err := u.storeManifest(j.hash, j.data); err != nil {
			return err
		}
	}
	if slices.Equal(old, list) {
		return nil
	}
	data, err := json.Marshal(list)
	if err != nil {
		return err
	}
	return u.Disk.WriteFile(u.availablePath(), data, 0o644)
}

func (u *Updater) tellAvailable(v *moduleView, j *moduleJob) {
	m := j.manifest
	if j.refused != nil && !j.further {
		u.emit(event.ModuleRefused, "module", m.Name, "version", m.Version, "error", j.refused.Error())
		return
	}
	if u.Modules.Silent {
		return
	}
	what := map[string]string{
		ModulesInstall: "it is installed now", ModulesDownloadOnly: "it is fetched, and installed when told to", ModulesDisabled: "it is installed when told to",
	}[u.Modules.mode(m.Name)]
	if j.further {
		what = "of line " + modules.Line(m.Version) + ", which is installed when told to alone: freshet modules install " + m.Name + " " + m.Version
	} else if w, held := heldRelease(v.state, m); held {
		what = "it is held back (" + w.Reason + ")"
	}
	u.emit(event.ModuleAvailable, "module", m.Name, "version", m.Version, "what", what)
}

// Module is what there is of a module.
type Module struct {
	Name      string               `json:"name"`
	Installed string               `json:"installed,omitempty"` // of the current generation; "": none
	Good      string               `json:"good,omitempty"`      // of the good one
	Trial     string               `json:"trial,omitempty"`     // on trial, or waiting for it
	Before    string               `json:"before,omitempty"`    // what a rollback goes back to
	Mode      string               `json:"mode"`
	Notes     string               `json:"notes,omitempty"` // of the installed release
	Available []AvailableRelease   `json:"available"`
	Held      []rollback.Withdrawn `json:"held,omitempty"`
}

// AvailableRelease is the newest release of a line.
type AvailableRelease struct {
	Version   string    `json:"version"`
	Line      string    `json:"line"`
	Published time.Time `json:"published"`
	Size      int64     `json:"size"`       // bytes on disk
	Full      int64     `json:"full_bytes"` // to fetch, at most
	Fetched   bool      `json:"fetched,omitempty"`
	Newer     bool      `json:"newer,omitempty"`   // than what is installed
	Further   bool      `json:"further,omitempty"` // of a line that this agent is not on
	Refused   string    `json:"refused,omitempty"` // why it cannot be installed
	Agent     string    `json:"agent,omitempty"`   // least version of the agent
	Notes     string    `json:"notes,omitempty"`
}

// ListModules lists the modules that are installed, and what of them and of
// others was on offer when the repository was asked last. It needs no lock and
// no network.
func (u *Updater) ListModules() ([]Module, rollback.State, error) {
	st, now, err := u.load()
	if err != nil {
		return nil, st, err
	}
	good, trial, ofModules, err := u.trialOf(st)
	if err != nil {
		return nil, st, err
	}
	policy := u.Modules
	if policy == nil {
		policy = &ModulePolicy{Mode: ModulesDisabled}
	}
	all := map[string]*Module{}
	at := func(name string) *Module {
		if all[name] == nil {
			all[name] = &Module{Name: name, Mode: policy.mode(name), Available: []AvailableRelease{}}
		}
		return all[name]
	}
	at(modules.Agent).Installed = trimV(u.Version)
	gens, err := u.store().Generations()
	if err != nil {
		return nil, st, err
	}
	for name, slot := range now.Modules {
		m := at(name)
		m.Installed, m.Good = slot.Version, good.Modules[name].Version
		if before, ok := st.ModuleBefore(good, name, gens); ok {
			m.Before = before.Version
		}
		if stored, err := u.moduleManifest(slot.Manifest); err == nil {
			m.Notes = stored.Notes
		}
	}
	if ofModules {
		for _, name := range trial.ChangedModules(good) {
			at(name).Trial = trial.Modules[name].Version
		}
	}
	for _, w := range st.Quarantine {
		if w.Module != "" {
			at(w.Module).Held = append(at(w.Module).Held, w)
		}
	}
	for _, a := range u.available() {
		if m, err := u.moduleManifest(a.Manifest.String()); err == nil {
			o := at(m.Name)
			o.Available = append(o.Available, u.availableRelease(a, m, o.Installed))
		}
	}
	list := []Module{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		list = append(list, *all[name])
	}
	return list, st, nil
}

func (u *Updater) availableRelease(a available, m *modules.Manifest, installed string) AvailableRelease {
	_, err := os.Stat(u.slotDir(m.Name, m.Dir()))
	return AvailableRelease{
		Version: m.Version, Line: modules.Line(m.Version), Published: m.Published, Size: m.Image.Size, Full: m.Full.Size,
		Fetched: err == nil, Newer: installed == "" || rollback.CompareReleases(m.Version, installed) > 0,
		Further: installed != "" && modules.Line(m.Version) != modules.Line(installed), Refused: a.Refused, Agent: m.Agent, Notes: m.Notes,
	}
}
