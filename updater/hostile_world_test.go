package updater_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/internal/clock"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/internal/source"
	"github.com/freshet/freshet/modules"
	"github.com/freshet/freshet/publish"
	"github.com/freshet/freshet/updater"
)

// stage is what all attacks begin with, made once: a repository after each of
// three versions of a base, its keys, and an endpoint at version 2.
type stage struct {
	dir     string // repo1, repo2, repo3, keys, endpoint
	content map[string]string
	full    int64 // bytes of version 3 as an image
	delta   int64 // and as a delta from version 2
}

func newStage(t *testing.T) *stage {
	t.Helper()
	dir := t.TempDir()
	s := &stage{dir: dir, content: map[string]string{}}
	w := &world{
		t: t, repo: &publish.Repository{Dir: filepath.Join(dir, "repo")},
		dir: filepath.Join(dir, "endpoint"), content: s.content,
	}
	if _, err := w.repo.Init(t.Context(), filepath.Join(dir, "keys")); err != nil {
		t.Fatal(err)
	}
	folder := func(u *updater.Updater) { u.Sources = []source.Source{&source.Folder{Path: w.repo.Dir}} }
	w.server = httptest.NewServer(http.NotFoundHandler())
	defer w.server.Close()
	for v := 1; v <= 3; v++ {
		w.publish("list", records(v, 8000), daysAgo(3-v))
		copyTree(t, w.repo.Dir, filepath.Join(dir, fmt.Sprint("repo", v)))
		if v < 3 {
			w.update(updater.Updated, folder)
		}
	}
	m := manifestIn(t, w.repo.Dir, "list")
	s.full, s.delta = m.Full.Size, m.Deltas[0].Size
	return s
}

// attack is an endpoint of its own at version 2, a mirror that the attacker
// holds, and a good one with version 3.
type attack struct {
	*world
	*stage
	mirror, good *mirror
	now          func() time.Time // the endpoint's clock
	log          []event.Event    // of the last run
	settings     func(*source.HTTP)
	why          string          // "": on schedule
	engine       *modules.Engine // of the base; nil: none
	fresh        bool            // nothing is installed yet

	modules *updater.ModulePolicy // nil: modules are left alone
}

func (s *stage) attack(t *testing.T) *attack {
	t.Helper()
	dir := t.TempDir()
	a := &attack{stage: s, now: time.Now}
	a.world = &world{t: t, dir: filepath.Join(dir, "endpoint"), content: map[string]string{}}
	for k, v := range s.content {
		a.world.content[k] = v
	}
	copyTree(t, filepath.Join(s.dir, "endpoint"), a.world.dir)
	a.mirror, a.good = a.newMirror(3), a.newMirror(3)
	a.repo, a.server = &publish.Repository{Dir: a.mirror.dir}, a.mirror.Server
	return a
}

// mirror serves a copy of the repository, and counts what it gave.
type mirror struct {
	*httptest.Server
	dir string

	mu     sync.Mutex                                        // guards answer
	answer func(w http.ResponseWriter, r *http.Request) bool // true: it has answered

	requests, bytes atomic.Int64
}

// newMirror serves the repository as it was after a version.
func (a *attack) newMirror(version int) *mirror {
	a.t.Helper()
	m := &mirror{dir: filepath.Join(a.t.TempDir(), "repo")}
	copyTree(a.t, filepath.Join(a.stage.dir, fmt.Sprint("repo", version)), m.dir)
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.protected()
		m.requests.Add(1)
		m.mu.Lock()
		answer := m.answer
		m.mu.Unlock()
		w = &meteredWriter{w, &m.bytes}
		if answer == nil || !answer(w, r) {
			http.FileServer(http.Dir(m.dir)).ServeHTTP(w, r)
		}
	}))
	a.t.Cleanup(m.Server.Close)
	return m
}

func (m *mirror) serve(f func(http.ResponseWriter, *http.Request) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.answer = f
}

// become makes the mirror serve the repository as it was after a version.
func (a *attack) become(m *mirror, version int) {
	a.t.Helper()
	if err := os.RemoveAll(m.dir); err != nil {
		a.t.Fatal(err)
	}
	copyTree(a.t, filepath.Join(a.stage.dir, fmt.Sprint("repo", version)), m.dir)
}

type meteredWriter struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (m *meteredWriter) Write(p []byte) (int, error) {
	n, err := m.ResponseWriter.Write(p)
	m.n.Add(int64(n))
	return n, err
}

func (m *meteredWriter) Flush() { m.ResponseWriter.(http.Flusher).Flush() }

// protected asserts that what an engine reads is a version, whole. Every
// request to a mirror asks it, so it holds throughout an attack.
func (a *attack) protected() {
	if a.fresh {
		return
	}
	data, err := os.ReadFile(filepath.Join(a.world.dir, "state/bases/list/current/list.txt"))
	if err != nil {
		a.t.Errorf("under attack the engine can read nothing: %v", err)
		return
	}
	for name, content := range a.world.content {
		if strings.HasPrefix(name, "list/") && content == string(data) {
			return
		}
	}
	a.t.Errorf("under attack the engine reads %d bytes that are no version", len(data))
}

// run updates once from the mirrors, in their order.
func (a *attack) run(mirrors ...*mirror) updater.Result {
	a.t.Helper()
	a.log = nil
	u := a.world.updater(func(u *updater.Updater) {
		u.Clock = &clock.Clock{Wall: a.now}
		u.Emit = func(c event.Code, f map[string]string) { a.log = append(a.log, event.New(a.now(), c, f)) }
		u.Sources, u.Modules = nil, a.modules
		if a.engine != nil {
			u.Engines = map[string]*modules.Engine{"list": a.engine}
		}
		for _, m := range mirrors {
			s := &source.HTTP{URL: m.URL, Proxy: "none", Count: u.Count}
			if m == a.mirror && a.settings != nil {
				a.settings(s)
			}
			u.Sources = append(u.Sources, s)
		}
	})
	why := a.why
	if why == "" {
		why = updater.OnSchedule
	}
	ctx, cancel := context.WithTimeout(a.t.Context(), time.Minute)
	defer cancel()
	res := u.Run(ctx, why, func(updater.Progress) { a.protected() })
	a.check()
	return res
}

// starts asserts that an agent starts and shows what is installed, whatever
// the state of the metadata.
func (a *attack) starts(version int64) {
	a.t.Helper()
	u := a.world.updater(func(u *updater.Updater) { u.Clock = &clock.Clock{Wall: a.now} })
	if _, err := u.Start(a.t.Context()); err != nil {
		a.t.Errorf("the agent does not start: %v", err)
	}
	a.expect("list", version)
}

// told asserts that an event says what is wrong, and what to do.
func (a *attack) told(code event.Code, text, hint string) {
	a.t.Helper()
	for _, e := range a.log {
		if e.Code == code && strings.Contains(e.Text, text) {
			if e.Hint == "" || !strings.Contains(e.Hint, hint) {
				a.t.Errorf("%s does not say %q but %q", code, hint, e.Hint)
			}
			return
		}
	}
	a.t.Errorf("no event %s tells of %q among:\n%s", code, text, a.events())
}

func (a *attack) events() string {
	var b strings.Builder
	for _, e := range a.log {
		fmt.Fprintf(&b, "\t%s: %s\n", e.Code, e.Text)
	}
	return b.String()
}

func (a *attack) saw(code event.Code) bool {
	return slices.ContainsFunc(a.log, func(e event.Event) bool { return e.Code == code })
}

// manifestIn reads the newest manifest of a base in a repository's folder.
func manifestIn(t *testing.T, dir, name string) *bases.Manifest {
	t.Helper()
	f := loadForger(t, dir, "")
	file, ok := f.roles["bases"].Signed.Targets[bases.TargetPath(name)]
	if !ok {
		t.Fatalf("no base %s", name)
	}
	data, err := os.ReadFile(filepath.Join(dir, "targets/bases", fmt.Sprintf("%x.%s.json", []byte(file.Hashes["sha256"]), name)))
	if err != nil {
		t.Fatal(err)
	}
	m, err := bases.ParseManifest(name, data)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
