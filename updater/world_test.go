package updater_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/internal/source"
	"github.com/freshet/freshet/publish"
	"github.com/freshet/freshet/rollback"
	"github.com/freshet/freshet/updater"
)

// world is a publisher, a web server over its repository, and an endpoint.
type world struct {
	t       *testing.T
	repo    *publish.Repository
	server  *httptest.Server
	mu      sync.Mutex                                        // guards answer
	answer  func(w http.ResponseWriter, r *http.Request) bool // true: it has answered
	dir     string                                            // of the endpoint
	content map[string]string                                 // of each version published, "name/version"
	events  []event.Code
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{t: t, repo: &publish.Repository{Dir: filepath.Join(dir, "repo")}, dir: filepath.Join(dir, "endpoint"), content: map[string]string{}}
	if _, err := w.repo.Init(t.Context(), filepath.Join(dir, "keys")); err != nil {
		t.Fatal(err)
	}
	files := http.FileServer(http.Dir(w.repo.Dir))
	w.server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		answer := w.answer
		w.mu.Unlock()
		if answer == nil || !answer(rw, r) {
			files.ServeHTTP(rw, r)
		}
	}))
	t.Cleanup(w.server.Close)
	return w
}

// serve has f asked before the files are; nil serves plainly.
func (w *world) serve(f func(http.ResponseWriter, *http.Request) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer = f
}

// records are a base of n records; each version differs in a few.
func records(version, n int) string {
	var b strings.Builder
	for i := range n {
		v := 0
		if i%97 == version%97 {
			v = version
		}
		fmt.Fprintf(&b, "%08x.%d.example\n", uint32(i*2654435761), v)
	}
	return b.String()
}

// daysAgo publishes a version earlier. The first version of a day has a full
// image of its own.
func daysAgo(n int) func(*publish.Release) {
	return func(rel *publish.Release) { rel.Published = time.Now().AddDate(0, 0, -n) }
}

// publish adds a version of a base that is one file.
func (w *world) publish(name, content string, change ...func(*publish.Release)) {
	w.t.Helper()
	path := filepath.Join(w.t.TempDir(), name+".txt")
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		w.t.Fatal(err)
	}
	rel := publish.Release{Name: name, Path: path}
	for _, f := range change {
		f(&rel)
	}
	done, err := w.repo.Publish(w.t.Context(), rel)
	if err != nil {
		w.t.Fatal(err)
	}
	w.content[fmt.Sprintf("%s/%d", name, done.Version)] = content
}

// updater is one process at the endpoint: it knows only what is on disk.
func (w *world) updater(change ...func(*updater.Updater)) *updater.Updater {
	w.t.Helper()
	root, err := os.ReadFile(filepath.Join(w.repo.Dir, "metadata", "1.root.json"))
	if err != nil {
		w.t.Fatal(err)
	}
	count := &source.Counter{}
	u := &updater.Updater{
		Dir: filepath.Join(w.dir, "state"), Runtime: filepath.Join(w.dir, "run"), Root: root, Count: count,
		Sources: []source.Source{&source.HTTP{URL: w.server.URL, Proxy: "none", Count: count}},
		Emit:    func(c event.Code, _ map[string]string) { w.events = append(w.events, c) },
	}
	for _, c := range change {
		c(u)
	}
	return u
}

// update runs the task once and expects an outcome.
func (w *world) update(want string, change ...func(*updater.Updater)) updater.Result {
	w.t.Helper()
	w.events = nil
	res := w.updater(change...).Run(w.t.Context(), "test", nil)
	if res.Outcome != want {
		w.t.Fatalf("outcome %q (%s), want %q; events %v", res.Outcome, res.Error, want, w.events)
	}
	w.check()
	return res
}

func (w *world) saw(code event.Code) bool { return slices.Contains(w.events, code) }

// installed gives the version of a base and what an engine reads of it.
func (w *world) installed(name string) (int64, string) {
	w.t.Helper()
	list, _, err := w.updater().Installed()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, b := range list {
		if b.Name == name {
			data, err := os.ReadFile(filepath.Join(b.Path, b.Manifest.Image.File))
			if err != nil {
				w.t.Fatal(err)
			}
			return b.Ref.Version, string(data)
		}
	}
	return 0, ""
}

// expect asserts that a base is at a version, byte for byte.
func (w *world) expect(name string, version int64) {
	w.t.Helper()
	v, data := w.installed(name)
	if v != version {
		w.t.Fatalf("%s is at version %d, want %d", name, v, version)
	}
	if data != w.content[fmt.Sprintf("%s/%d", name, version)] {
		w.t.Fatalf("%s version %d is not what was published", name, version)
	}
}

// check asserts what must hold at any moment: the state can be read; all that
// it names is whole; what engines read is one of the versions published.
func (w *world) check() rollback.State {
	w.t.Helper()
	store := rollback.Store{Dir: filepath.Join(w.dir, "state")}
	st, err := store.Load()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, n := range []int{st.Current, st.Good, st.Previous} {
		g, err := store.Generation(n)
		if err != nil {
			w.t.Fatalf("state %+v: %v", st, err)
		}
		for name, ref := range g.Bases {
			w.checkVersion(name, ref)
		}
	}
	g, _ := store.Generation(st.Good)
	for name := range g.Bases {
		data, err := os.ReadFile(filepath.Join(w.dir, "state/bases", name, "current", name+".txt"))
		if err != nil || !slices.Contains(slices.Collect(maps.Values(w.content)), string(data)) {
			w.t.Fatalf("what an engine of %s reads is no version: %v", name, err)
		}
	}
	return st
}

func (w *world) checkVersion(name string, ref rollback.Ref) {
	w.t.Helper()
	data, err := os.ReadFile(filepath.Join(w.dir, "state/manifests", ref.Manifest+".json"))
	if err != nil {
		w.t.Fatal(err)
	}
	m, err := bases.ParseManifest(name, data)
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := bases.OpenVersion(filepath.Join(w.dir, "state/bases", name, ref.Dir), m.Image)
	if err != nil {
		w.t.Fatal(err)
	}
	defer r.Close()
	if sum, err := r.Sum(w.t.Context()); err != nil || sum != m.Image.SHA256 {
		w.t.Fatalf("%s version %d is damaged: %v", name, ref.Version, err)
	}
}

// checkTidy asserts that nothing unreferenced is left.
func (w *world) checkTidy() {
	w.t.Helper()
	left, _ := filepath.Glob(filepath.Join(w.dir, "state/tmp/*"))
	if len(left) > 0 {
		w.t.Errorf("left over: %v", left)
	}
	gens, err := rollback.Store{Dir: filepath.Join(w.dir, "state")}.Generations()
	if err != nil {
		w.t.Fatal(err)
	}
	refs := map[string]bool{}
	for _, g := range gens {
		for name, ref := range g.Bases {
			refs[name+"/"+ref.Dir] = true
		}
	}
	versions, _ := filepath.Glob(filepath.Join(w.dir, "state/bases/*/*-*"))
	if len(versions) != len(refs) {
		w.t.Errorf("versions %v for %v", versions, refs)
	}
}

var errStop = errors.New("stopped here")

// dying is a disk on which the process ends at the n-th step: nothing after it
// is done.
func dying(n int, seen *int) *durable.Disk {
	*seen = 0
	return &durable.Disk{Step: func(op, path string) error {
		if *seen++; *seen >= n {
			return fmt.Errorf("%w: %s %s", errStop, op, path)
		}
		return nil
	}}
}

func background(w *world) context.Context { return w.t.Context() }
