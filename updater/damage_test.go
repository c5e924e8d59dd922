package updater_test

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/freshet/freshet/internal/source"
	"github.com/freshet/freshet/updater"
)

// damages are what can happen to a file.
var damages = map[string]func(path string) error{
	"a bit flipped": func(path string) error {
		data, err := os.ReadFile(path)
		if err != nil || len(data) == 0 {
			return err
		}
		data[len(data)/2] ^= 4
		return overwrite(path, data)
	},
	"cut in half": func(path string) error {
		st, err := os.Stat(path)
		if err != nil {
			return err
		}
		return os.Truncate(path, st.Size()/2)
	},
	"emptied":              func(path string) error { return os.Truncate(path, 0) },
	"removed":              os.Remove,
	"replaced by a link":   func(path string) error { os.Remove(path); return os.Symlink("/etc/hostname", path) },
	"replaced by a folder": func(path string) error { os.Remove(path); return os.Mkdir(path, 0o755) },
}

// overwrite keeps the inode: files that share it share the damage.
func overwrite(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Write(data)
	return err
}

// TestAnyFileDamagedInAnyWayIsFoundAndRepaired goes through each file under
// the state folder and each damage.
func TestAnyFileDamagedInAnyWayIsFoundAndRepaired(t *testing.T) {
	w := newWorld(t)
	tree := t.TempDir()
	for v := 1; v <= 3; v++ {
		w.publish("list", records(v, 300))
		os.WriteFile(filepath.Join(tree, "same.yml"), []byte("the same\n"), 0o644)
		os.WriteFile(filepath.Join(tree, "rules.txt"), []byte(records(v, 50)), 0o644)
		w.content["rules/"+string(rune('0'+v))] = records(v, 50)
		if _, err := w.repo.Publish(t.Context(), publishTree(tree)); err != nil {
			t.Fatal(err)
		}
		if res := w.updater().Run(t.Context(), "test", nil); res.Outcome != updater.Updated {
			t.Fatalf("%+v", res)
		}
	}
	w.checkTrees()
	start := w.dir
	cases := 0
	filepath.WalkDir(filepath.Join(start, "state"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.HasSuffix(path, "/lock") {
			return err
		}
		rel, _ := filepath.Rel(start, path)
		for name, damage := range damages {
			if e.Type()&fs.ModeSymlink != 0 && !strings.HasPrefix(name, "re") {
				continue // a link has no content of its own
			}
			t.Run(name+" "+rel, func(t *testing.T) {
				w := &world{t: t, repo: w.repo, server: w.server, content: w.content, dir: filepath.Join(t.TempDir(), "endpoint")}
				copyTree(t, start, w.dir)
				if err := damage(filepath.Join(w.dir, rel)); err != nil {
					t.Fatal(err)
				}
				cases++
				w.recovers()
			})
		}
		return nil
	})
	t.Logf("%d cases", cases)
}

// recovers asserts that the agent starts, says what is wrong, repairs it, and
// that updates go on.
func (w *world) recovers() {
	t := w.t
	t.Helper()
	u := w.updater()
	if _, err := u.Start(t.Context()); err != nil {
		t.Fatalf("start: %v", err)
	}
	if _, _, err := u.Installed(); err != nil {
		t.Fatalf("status: %v", err)
	}
	found, err := u.Repair(t.Context(), nil, nil)
	if err != nil {
		t.Fatalf("repair: %v", err)
	}
	for _, v := range found {
		if v.Error != "" {
			t.Errorf("%s version %d: %s", v.Name, v.Version, v.Error)
		}
	}
	if res := w.updater().Run(t.Context(), "test", nil); res.Outcome != updater.NothingNew && res.Outcome != updater.Updated {
		t.Fatalf("the next update: %+v; %v", res, w.events)
	}
	again, err := w.updater().Verify(t.Context(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range again {
		if v.Error != "" {
			t.Errorf("afterwards %s version %d: %s", v.Name, v.Version, v.Error)
		}
	}
	w.checkTrees()
}

// checkTrees asserts that both bases are at version 3, byte for byte.
func (w *world) checkTrees() {
	w.t.Helper()
	w.expect("list", 3)
	data, err := os.ReadFile(filepath.Join(w.dir, "state/bases/rules/current/rules.txt"))
	if err != nil || string(data) != w.content["rules/3"] {
		w.t.Errorf("rules are not as published: %v", err)
	}
	data, err = os.ReadFile(filepath.Join(w.dir, "state/bases/rules/current/same.yml"))
	if err != nil || string(data) != "the same\n" {
		w.t.Errorf("same.yml is %q, %v", data, err)
	}
}

// copyTree copies files, links and hard links.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	inodes := map[uint64]string{}
	err := filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(from, path)
		dst := filepath.Join(to, rel)
		switch {
		case e.IsDir():
			return os.MkdirAll(dst, 0o755)
		case e.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(target, dst)
		}
		ino := inodeOf(t, path)
		if first, ok := inodes[ino]; ok {
			return os.Link(first, dst)
		}
		inodes[ino] = dst
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(dst, data, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestARepairOfATreeWritesTheDamagedFilesAlone(t *testing.T) {
	w := newWorld(t)
	tree := t.TempDir()
	for _, name := range []string{"a", "b", "c"} {
		os.WriteFile(filepath.Join(tree, name), []byte(strings.Repeat(name, 1000)), 0o644)
	}
	if _, err := w.repo.Publish(t.Context(), publishTree(tree)); err != nil {
		t.Fatal(err)
	}
	w.updater().Run(t.Context(), "test", nil)
	current := filepath.Join(w.dir, "state/bases/rules/current")
	before := inodeOf(t, filepath.Join(current, "a"))
	if err := damages["a bit flipped"](filepath.Join(current, "b")); err != nil {
		t.Fatal(err)
	}
	found, err := w.updater().Repair(t.Context(), nil, nil)
	if err != nil || len(found) != 1 || !found[0].Repaired {
		t.Fatalf("%+v, %v", found, err)
	}
	if inodeOf(t, filepath.Join(current, "a")) != before {
		t.Error("a file that was right was written again")
	}
	if data, _ := os.ReadFile(filepath.Join(current, "b")); string(data) != strings.Repeat("b", 1000) {
		t.Error("the damaged file is not repaired")
	}
}

func TestARepairTakesADeltaFromThePreviousVersionWhereThatIsCheaper(t *testing.T) {
	w := newWorld(t)
	for v := 1; v <= 2; v++ {
		w.publish("list", records(v, 3000))
		w.update(updater.Updated)
	}
	path := filepath.Join(w.dir, "state/bases/list/current/list.txt")
	if err := damages["a bit flipped"](path); err != nil {
		t.Fatal(err)
	}
	count := &source.Counter{}
	found, err := w.updater(func(u *updater.Updater) {
		u.Sources = []source.Source{&source.HTTP{URL: w.server.URL, Proxy: "none", Count: count}}
	}).Repair(t.Context(), nil, nil)
	if err != nil || !found[0].Repaired {
		t.Fatalf("%+v, %v", found, err)
	}
	w.expect("list", 2)
	if n := count.Numbers().BodyBytes; n > 2000 {
		t.Errorf("%d bytes were fetched", n)
	}
}

func TestWithoutASourceDamageIsToldAndTheRestStaysInUse(t *testing.T) {
	w := newWorld(t)
	w.publish("list", records(1, 300))
	w.update(updater.Updated)
	if err := damages["cut in half"](filepath.Join(w.dir, "state/bases/list/current/list.txt")); err != nil {
		t.Fatal(err)
	}
	found, err := w.updater(func(u *updater.Updater) { u.Sources = nil }).Repair(t.Context(), nil, nil)
	if err != nil || found[0].Error == "" || found[0].Repaired {
		t.Errorf("%+v, %v", found, err)
	}
}

// TestStoppingARepairBlamesNoSource has a person stop it while each kind of file
// is fetched that a repair asks for.
func TestStoppingARepairBlamesNoSource(t *testing.T) {
	w := newWorld(t)
	w.publish("hosts", records(1, 1000))
	w.update(updater.Updated)
	files, _ := filepath.Glob(filepath.Join(w.dir, "state/bases/hosts/*/hosts.txt"))
	manifests, _ := filepath.Glob(filepath.Join(w.dir, "state/manifests/*.json"))
	for _, path := range append(files, manifests...) {
		if err := os.WriteFile(path, []byte("damaged"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, kind := range []string{"/targets/", "/blobs/"} {
		ctx, stop := context.WithCancel(t.Context())
		stopped := false
		w.serve(func(_ http.ResponseWriter, r *http.Request) bool {
			if !strings.HasPrefix(r.URL.Path, kind) {
				return false
			}
			stopped = true
			stop()
			<-r.Context().Done()
			return true
		})
		w.events = nil
		_, err := w.updater().Repair(ctx, nil, nil)
		if !stopped || !errors.Is(err, context.Canceled) {
			t.Errorf("%s: stopped %v, error %v", kind, stopped, err)
		}
		for _, e := range w.events {
			if strings.HasPrefix(string(e), "Source") {
				t.Errorf("%s: %s blames a source", kind, e)
			}
		}
		stop()
	}
	w.serve(nil)
	if list, err := w.updater().Repair(t.Context(), nil, nil); err != nil || len(list) != 1 || !list[0].Repaired {
		t.Errorf("%+v, %v", list, err)
	}
}
