package updater_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/modules"
	"github.com/freshet/freshet/publish"
	"github.com/freshet/freshet/rollback"
	"github.com/freshet/freshet/updater"
)

// moduleFolder is the folder of a release whose program says its version, with
// a body that makes a delta worth while.
func moduleFolder(t testing.TB, name, version string, more ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name+"-"+version)
	about := fmt.Sprintf("name: %s\nversion: %s\nplatform: linux/amd64\nprograms: [bin/%s]\nstart: [bin/%s, run]\nnotes: |\n  What is new in %s.\n%s", name, version, name, name, version, strings.Join(more, "\n"))
	var body strings.Builder
	fmt.Fprintf(&body, "#!/bin/sh\necho %s %s\n", name, version)
	for i := range 2000 {
		fmt.Fprintf(&body, "# %s %08x\n", name, uint32(i*2654435761))
	}
	files := map[string]string{"module.yaml": about, "bin/" + name: body.String(), "share/data.txt": "the same in all\n"}
	for path, content := range files {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		mode := os.FileMode(0o644)
		if strings.Contains(path, "/bin/") {
			mode = 0o755
		}
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// publishModule adds a release of a module.
func (w *world) publishModule(name, version string, more ...string) *publish.ModuleReleased {
	w.t.Helper()
	done, err := w.repo.PublishModule(w.t.Context(), publish.ModuleRelease{Path: moduleFolder(w.t, name, version, more...)})
	if err != nil {
		w.t.Fatal(err)
	}
	return done
}

// policy has modules updated; agent is the version of the agent that runs.
func policy(agent string, change ...func(*updater.ModulePolicy)) func(*updater.Updater) {
	return func(u *updater.Updater) {
		u.Version, u.Modules = agent, &updater.ModulePolicy{Platform: "linux/amd64"}
		for _, c := range change {
			c(u.Modules)
		}
	}
}

// named has a module wanted, in a mode.
func named(name, mode string) func(*updater.ModulePolicy) {
	return func(p *updater.ModulePolicy) {
		if p.Each == nil {
			p.Each = map[string]string{}
		}
		p.Each[name] = mode
	}
}

func (w *world) store() rollback.Store { return rollback.Store{Dir: filepath.Join(w.dir, "state")} }

// state gives the state, and the current and the good generation.
func (w *world) state() (st rollback.State, current, good rollback.Generation) {
	w.t.Helper()
	st, err := w.store().Load()
	if err == nil {
		current, err = w.store().Generation(st.Current)
	}
	if err == nil {
		good, err = w.store().Generation(st.Good)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return st, current, good
}

// judge ends the trial of modules as a supervisor does.
func (w *world) judge(well bool) {
	w.t.Helper()
	st, current, good := w.state()
	if !st.OnTrial() {
		w.t.Fatalf("nothing is on trial: %+v", st)
	}
	kept, err := rollback.Store{Dir: filepath.Join(w.dir, "state")}.Generations()
	if err != nil {
		w.t.Fatal(err)
	}
	next := st.Confirm().ForgetModules(current.Modules, kept)
	if !well {
		var gone []rollback.Withdrawn
		for _, name := range current.ChangedModules(good) {
			gone = append(gone, rollback.Withdrawn{Module: name, Release: current.Modules[name].Version, Reason: "it was ill"})
		}
		next = st.Revert(gone...)
	}
	if err := w.store().Switch(st, next); err != nil {
		w.t.Fatal(err)
	}
}

// expectModule asserts which release of a module is current and which is good;
// "" is none. Each slot is whole, read-only and runs.
func (w *world) expectModule(name, current, good string) {
	w.t.Helper()
	_, c, g := w.state()
	if c.Modules[name].Version != current || g.Modules[name].Version != good {
		w.t.Fatalf("%s: current %q, good %q; want %q and %q", name, c.Modules[name].Version, g.Modules[name].Version, current, good)
	}
	for _, gen := range []rollback.Generation{c, g} {
		for name, slot := range gen.Modules {
			w.checkSlot(name, slot)
		}
	}
}

// checkSlot asserts that a slot is what was signed.
func (w *world) checkSlot(name string, slot rollback.Slot) {
	w.t.Helper()
	if err := soundSlot(filepath.Join(w.dir, "state"), name, slot); err != nil {
		w.t.Fatal(err)
	}
}

// soundSlot says what is wrong with a slot below a state folder.
func soundSlot(state, name string, slot rollback.Slot) error {
	data, err := os.ReadFile(filepath.Join(state, "manifests", slot.Manifest+".json"))
	if err != nil {
		return err
	}
	m, err := modules.ReadManifest(data)
	if err != nil {
		return err
	}
	dir := filepath.Join(state, "modules", name, slot.Dir)
	r, err := bases.OpenVersion(dir, m.Image)
	if err != nil {
		return err
	}
	defer r.Close()
	sum, err := r.Sum(context.Background())
	if err != nil {
		return err
	}
	if sum != m.Image.SHA256 || sum.String() != slot.Image {
		return fmt.Errorf("slot %s is damaged", dir)
	}
	for _, p := range m.Programs {
		st, err := os.Stat(filepath.Join(dir, p))
		if err != nil {
			return err
		}
		if st.Mode().Perm() != 0o555 {
			return fmt.Errorf("program %s has mode %o", p, st.Mode().Perm())
		}
	}
	if !slices.Equal(slot.Start, m.Start) || slot.Version != m.Version {
		return fmt.Errorf("slot %+v of manifest %+v", slot, m.About)
	}
	return nil
}

func (w *world) publishFolder(dir string) *publish.ModuleReleased {
	w.t.Helper()
	done, err := w.repo.PublishModule(w.t.Context(), publish.ModuleRelease{Path: dir})
	if err != nil {
		w.t.Fatal(err)
	}
	return done
}

// unbearable is an engine that does not bear any version of base list.
func unbearable(u *updater.Updater) {
	u.Engines = map[string]*modules.Engine{"list": {Base: "list", TryCommand: []string{"/bin/true"}, HealthCommand: []string{"/bin/true"}, TookCommand: []string{"/bin/false"}}}
}

// offline answers nothing.
func offline(rw http.ResponseWriter, _ *http.Request) bool {
	http.Error(rw, "gone", http.StatusServiceUnavailable)
	return true
}

// marksOf are the versions of the metadata that the endpoint believes.
func (w *world) marksOf() marks {
	p := &power{world: w}
	return p.marks(filepath.Join(w.dir, "state"))
}
