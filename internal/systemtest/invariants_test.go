//go:build system

package systemtest_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/rollback"
)

// check asserts what must hold of a state folder at any moment, a kill -9
// included: the state can be read; the generations that it names are whole by
// hash; what engines read is one of them; no file of the trust store is cut.
func (e *endpoint) check() rollback.State {
	e.t.Helper()
	store := rollback.Store{Dir: e.path("state")}
	st, err := store.Load()
	if err != nil {
		e.t.Fatal(err)
	}
	readable := map[string][]string{} // by base: folders that engines may be sent to
	for _, n := range []int{st.Current, st.Good, st.Previous} {
		g, err := store.Generation(n)
		if err != nil {
			e.t.Fatalf("%+v: %v", st, err)
		}
		for name, ref := range g.Bases {
			if err := e.whole(name, ref); err != nil {
				e.t.Fatalf("generation %d of %+v: %v", n, st, err)
			}
			readable[name] = append(readable[name], ref.Dir)
		}
	}
	for _, link := range e.glob("bases/*/current") {
		target, err := os.Readlink(link)
		if name := filepath.Base(filepath.Dir(link)); err != nil || !slices.Contains(readable[name], target) {
			e.t.Fatalf("%s leads to %q, not into %v: %v", link, target, readable[name], err)
		}
	}
	for _, file := range e.glob("trust/*/*.json") {
		if data, err := os.ReadFile(file); err != nil || !json.Valid(data) {
			e.t.Fatalf("%s is damaged: %v", file, err)
		}
	}
	return st
}

// whole reads an installed version back and holds it against its manifest.
func (e *endpoint) whole(name string, ref rollback.Ref) error {
	data, err := os.ReadFile(e.path("state/manifests/" + ref.Manifest + ".json"))
	if err != nil {
		return err
	}
	if sum := fmt.Sprintf("%x", sha256.Sum256(data)); sum != ref.Manifest {
		return fmt.Errorf("manifest %s has the hash %s", ref.Manifest, sum)
	}
	m, err := bases.ParseManifest(name, data)
	if err != nil {
		return err
	}
	r, err := bases.OpenVersion(e.path("state/bases/"+name+"/"+ref.Dir), m.Image)
	if err != nil {
		return err
	}
	defer r.Close()
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(r, 0, r.Size())); err != nil {
		return err
	}
	sum := bases.Hash(h.Sum(nil))
	if sum != m.Image.SHA256 || sum.String() != ref.Image || m.Version != ref.Version {
		return fmt.Errorf("base %s version %d is not what was signed", name, ref.Version)
	}
	return nil
}

// checkSettled asserts what must hold besides once a run has ended: nothing is
// on trial, engines read the current generation, and nothing is left that no
// kept generation refers to.
func (e *endpoint) checkSettled() rollback.State {
	e.t.Helper()
	st := e.check()
	store := rollback.Store{Dir: e.path("state")}
	if st.OnTrial() {
		e.t.Fatalf("on trial: %+v", st)
	}
	all, err := store.Generations()
	if err != nil {
		e.t.Fatal(err)
	}
	referred := map[string]bool{}
	for _, g := range all {
		if !slices.Contains(st.Keep(all), g.Number) {
			e.t.Errorf("generation %d is left, %+v does not keep it", g.Number, st)
		}
		for name, ref := range g.Bases {
			referred[e.path("state/bases/"+name+"/"+ref.Dir)] = true
			referred[e.path("state/manifests/"+ref.Manifest+".json")] = true
		}
	}
	current, err := store.Generation(st.Current)
	if err != nil {
		e.t.Fatal(err)
	}
	for name, ref := range current.Bases {
		link := e.path("state/bases/" + name + "/current")
		if target, err := os.Readlink(link); err != nil || target != ref.Dir {
			e.t.Errorf("%s leads to %q, not to %s: %v", link, target, ref.Dir, err)
		}
		referred[link] = true
	}
	for _, path := range slices.Concat(e.glob("bases/*/*"), e.glob("manifests/*")) {
		if !referred[path] {
			e.t.Errorf("left over: %s", path)
		}
	}
	e.checkNoLeftovers()
	return st
}

// checkNoLeftovers allows an unfinished download alone: it is resumed.
func (e *endpoint) checkNoLeftovers() {
	e.t.Helper()
	for _, path := range e.glob("tmp/*") {
		if !strings.HasSuffix(path, ".part") {
			e.t.Errorf("left over: %s", path)
		}
	}
	err := filepath.WalkDir(e.path("state"), func(path string, _ fs.DirEntry, err error) error {
		if strings.Contains(path, ".tmp-") {
			e.t.Errorf("left over: %s", path)
		}
		return err
	})
	if err != nil {
		e.t.Fatal(err)
	}
}

func (e *endpoint) glob(pattern string) []string {
	found, err := filepath.Glob(e.path("state/" + pattern))
	if err != nil {
		e.t.Fatal(err)
	}
	return found
}

// reads asserts that engines find content as the base's one file.
func (e *endpoint) reads(name, content string) {
	e.t.Helper()
	data, err := os.ReadFile(e.path("state/bases/" + name + "/current/" + name + ".txt"))
	if err != nil {
		e.t.Fatal(err)
	}
	if string(data) != content {
		e.t.Fatalf("what engines read of %s (%d bytes) is not what was published (%d bytes)", name, len(data), len(content))
	}
}
