package updater_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/freshet/freshet/internal/clock"
	"github.com/freshet/freshet/internal/source"
	"github.com/freshet/freshet/internal/trust"
	"github.com/freshet/freshet/publish"
	"github.com/freshet/freshet/updater"
)

// reader lets a trust client read from a source.
type reader struct{ source.Source }

func (r reader) Fetch(ctx context.Context, path string, limit int64) ([]byte, error) {
	data, err := r.Source.Fetch(ctx, path, limit)
	if err != nil && strings.Contains(err.Error(), "status 404") {
		return nil, trust.ErrNotFound
	}
	return data, err
}

// TestTheOnlineKeysTogetherCannotInstallAProgram gives an attacker all three
// keys that lie online, and asks for a program as an agent would.
func TestTheOnlineKeysTogetherCannotInstallAProgram(t *testing.T) {
	s := newStage(t)
	const program = "modules/engine.1.linux-amd64.json"
	theirs, manifest := attackersModule(t, program)
	rows := []struct {
		name  string
		forge func(f *forger)
	}{
		{"the bases role names a program", func(f *forger) {
			f.target("bases", program, manifest)
			f.sign("bases", "snapshot", "timestamp")
		}},
		{"the modules role is signed with the bases key", func(f *forger) {
			f.keys["modules"] = f.keys["bases"]
			f.target("modules", program, manifest)
			f.sign("modules", "snapshot", "timestamp")
		}},
		{"the modules role is signed with all online keys", func(f *forger) {
			f.keys["modules"] = append(append(f.keys["bases"], f.keys["snapshot"]...), f.keys["timestamp"]...)
			f.target("modules", program, manifest)
			f.sign("modules", "snapshot", "timestamp")
		}},
		{"the modules role is unsigned", func(f *forger) {
			f.keys["modules"] = nil
			f.target("modules", program, manifest)
			f.sign("modules", "snapshot", "timestamp")
		}},
		{"the list of bases stands in for that of modules", func(f *forger) {
			f.target("bases", program, manifest)
			f.sign("bases")
			f.snapshot.Signed.Meta["modules.json"] = f.snapshot.Signed.Meta["bases.json"]
			data, err := f.roles["bases"].ToBytes(false)
			if err != nil {
				f.t.Fatal(err)
			}
			f.write("modules", f.roles["bases"].Signed.Version, data)
			f.sign("snapshot", "timestamp")
		}},
		{"the bases role delegates on to a role of its own", func(f *forger) {
			key, signer := newKey(f.t)
			id, err := key.ID()
			if err != nil {
				f.t.Fatal(err)
			}
			f.roles["bases"].Signed.Delegations = &metadata.Delegations{
				Keys:  map[string]*metadata.Key{id: key},
				Roles: []metadata.DelegatedRole{{Name: "more", KeyIDs: []string{id}, Threshold: 1, Paths: []string{"modules/*.json"}}},
			}
			f.roles["more"] = metadata.Targets(f.expires("more"))
			f.roles["more"].Signed.Version = 0
			f.keys["more"] = append(f.keys["more"], signer)
			f.target("more", program, manifest)
			f.sign("more", "bases", "snapshot", "timestamp")
		}},
		{"the targets role is signed with online keys", func(f *forger) {
			f.keys["targets"] = append(f.keys["bases"], f.keys["snapshot"]...)
			f.target("targets", program, manifest)
			f.sign("targets", "snapshot", "timestamp")
		}},
		{"a new root with the attacker's keys is signed with online keys", func(f *forger) {
			for _, role := range []string{"targets", "snapshot", "timestamp"} {
				f.rotate(role)
			}
			f.keys["root"] = append(f.keys["bases"], f.keys["snapshot"]...)
			f.target("targets", program, manifest)
			f.sign("root", "targets", "snapshot", "timestamp")
		}},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			a := s.attack(t)
			f := a.forger()
			for role := range f.keys {
				if role != "bases" && role != "snapshot" && role != "timestamp" {
					delete(f.keys, role)
				}
			}
			r.forge(f)
			theirs.serve(t, a)
			a.noProgram(program)
			a.run(a.mirror)
			a.noProgram(program)
			a.protected()
			if _, gen, _ := a.state(); len(gen.Modules) > 0 {
				t.Errorf("installed: %+v", gen.Modules)
			}
			if slots, _ := filepath.Glob(filepath.Join(a.world.dir, "state/modules/*/*")); len(slots) > 0 {
				t.Errorf("fetched: %v", slots)
			}
		})
	}
	t.Run("the modules keys, two of three, can", func(t *testing.T) {
		t.Parallel()
		a := s.attack(t)
		f := a.forger()
		f.keys["modules"] = f.keys["modules"][:2]
		f.target("modules", program, manifest)
		f.sign("modules", "snapshot", "timestamp")
		theirs.serve(t, a)
		if target, err := a.find(program); err != nil || target.Role != "modules" {
			t.Errorf("%+v, %v", target, err)
		}
		a.run(a.mirror)
		if _, gen, _ := a.state(); gen.Modules["engine"].Version != "1.0.0" {
			t.Errorf("installed: %+v; %s", gen.Modules, a.events())
		}
	})
}

// forged is a module that an attacker has made, with its blobs.
type forged struct{ dir string }

// attackersModule makes a module that could be installed, if it were signed, as
// the target at path.
func attackersModule(t *testing.T, path string) (forged, []byte) {
	t.Helper()
	dir := t.TempDir()
	r := &publish.Repository{Dir: filepath.Join(dir, "repo")}
	if _, err := r.Init(t.Context(), filepath.Join(dir, "keys")); err != nil {
		t.Fatal(err)
	}
	if _, err := r.PublishModule(t.Context(), publish.ModuleRelease{Path: moduleFolder(t, "engine", "1.0.0")}); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(r.Dir, "targets/modules/*."+filepath.Base(path)))
	if len(files) != 1 {
		t.Fatalf("manifests %v", files)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	return forged{r.Dir}, data
}

// serve puts the blobs on the attacker's mirror, and has the endpoint want the
// module.
func (f forged) serve(t *testing.T, a *attack) {
	t.Helper()
	blobs, _ := filepath.Glob(filepath.Join(f.dir, "blobs/*"))
	for _, blob := range blobs {
		data, err := os.ReadFile(blob)
		if err == nil {
			err = os.WriteFile(filepath.Join(a.mirror.dir, "blobs", filepath.Base(blob)), data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	a.modules = &updater.ModulePolicy{Platform: "linux/amd64", Each: map[string]string{"engine": ""}}
}

// find looks a target up as an agent does, over the mirror.
func (a *attack) find(path string) (trust.Target, error) {
	root, err := os.ReadFile(filepath.Join(a.mirror.dir, "metadata/1.root.json"))
	if err != nil {
		a.t.Fatal(err)
	}
	c := &trust.Client{Dir: filepath.Join(a.t.TempDir(), "trust"), Root: root, Clock: &clock.Clock{Wall: a.now}}
	from := reader{&source.HTTP{URL: a.mirror.URL, Proxy: "none"}}
	view, err := c.Refresh(a.t.Context(), from)
	if err != nil {
		return trust.Target{}, err
	}
	return view.Target(a.t.Context(), from, path)
}

// noProgram asserts that nobody trusted names a program, in no way of asking.
func (a *attack) noProgram(path string) {
	a.t.Helper()
	target, err := a.find(path)
	if err == nil {
		a.t.Errorf("role %q is trusted with %s", target.Role, path)
	}
	switch kind := trust.KindOf(err); kind {
	case trust.NoTarget, trust.BadSignature:
	default:
		a.t.Errorf("refused as %q: %v", kind, err)
	}
	root, err := os.ReadFile(filepath.Join(a.mirror.dir, "metadata/1.root.json"))
	if err != nil {
		a.t.Fatal(err)
	}
	c := &trust.Client{Dir: filepath.Join(a.t.TempDir(), "trust"), Root: root, Clock: &clock.Clock{Wall: a.now}}
	from := reader{&source.HTTP{URL: a.mirror.URL, Proxy: "none"}}
	view, err := c.Refresh(a.t.Context(), from)
	if err != nil {
		return // nothing at all is trusted
	}
	for _, role := range []string{"bases", "modules", "targets"} {
		list, _ := view.List(a.t.Context(), from, role)
		for _, t := range list {
			if strings.HasPrefix(t.Path, "modules/") {
				data, _ := json.Marshal(t)
				a.t.Errorf("%s is listed: %s", role, data)
			}
		}
	}
}
