package updater_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/durable/crashtest"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/modules"
	"github.com/freshet/freshet/rollback"
	"github.com/freshet/freshet/updater"
)

// act is something that changes an endpoint, and may be cut short.
type act struct {
	start  string // state folder it begins with; "" an empty one
	engine *modules.Engine
	do     func(ctx context.Context, u *updater.Updater) error
	list   int64 // the version of base "list" in the end
	every  bool  // more of its steps are cut by chance than of others; in a soak all are

	// spoil are the files whose content is damaged at the start, as patterns
	// below the state folder: a repair mends them.
	spoil []string
}

// power is a publisher with three versions of a file and of a tree, and an
// endpoint that has the first two.
type power struct {
	*world
	tmp    string
	start  string // state folder with versions 1 and 2
	seed   uint64
	random *rand.Rand
	copies int
	clones int
	top    marks           // of the newest metadata
	spoilt map[string]bool // version folders that may be damaged, until a repair is done

	events []event.Code // of the last act
	err    error        // how it ended
}

// soak asks for every case instead of some.
var soak = os.Getenv("FRESHET_SOAK") != ""

// someSteps is how many steps lie between two that are tried: none in a soak.
func someSteps(k int) int {
	if soak {
		return 1
	}
	return k
}

func newPower(t *testing.T) *power {
	t.Helper()
	if dir, err := os.MkdirTemp("/dev/shm", "freshet-power-"); err == nil { // syncing costs nothing there
		t.Cleanup(func() { os.RemoveAll(dir) })
		t.Setenv("TMPDIR", dir)
	}
	seed := crashtest.Seed(t)
	p := &power{world: newWorld(t), seed: seed}
	p.tmp = t.TempDir()
	for v := 1; v <= 3; v++ {
		p.publish("list", records(v, 200))
		tree := filepath.Join(p.tmp, "tree")
		for name, content := range map[string]string{"same.yml": "the same\n", "sub/rules.txt": records(v, 40), "empty": ""} {
			p.must(os.MkdirAll(filepath.Join(tree, "sub"), 0o755))
			p.must(os.WriteFile(filepath.Join(tree, name), []byte(content), 0o644))
		}
		_, err := p.repo.Publish(t.Context(), publishTree(tree))
		p.must(err)
		if v == 1 {
			p.start = p.folder()
		}
		if v < 3 {
			p.must(p.run(p.start, nil, act{do: update}))
		}
	}
	full := p.folder()
	p.must(p.run(full, nil, act{do: update}))
	p.top = p.marks(full)
	return p
}

// sequence is the random sequence of one test.
func (p *power) sequence(name string) *rand.Rand {
	h := fnv.New64()
	h.Write([]byte(name))
	return rand.New(rand.NewPCG(p.seed, h.Sum64()))
}

func (p *power) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// folder is a new empty state folder.
func (p *power) folder() string {
	p.copies++
	dir := filepath.Join(p.tmp, fmt.Sprint(p.copies), "state")
	p.must(os.MkdirAll(dir, 0o755))
	return dir
}

// begin is a model of the act's start.
func (p *power) begin(a act) *crashtest.Model {
	p.t.Helper()
	dir := p.folder()
	if a.start != "" {
		p.must(os.Remove(dir))
		copyTree(p.t, a.start, dir)
	}
	p.damage(dir, a)
	m, err := crashtest.New(dir)
	p.must(err)
	return m
}

// end is the end of a model and of its folder.
func (p *power) end(m *crashtest.Model) {
	m.Close()
	p.must(os.RemoveAll(filepath.Dir(m.Dir)))
}

// kill is what m leaves when its process is killed now, /run included.
func (p *power) kill(m *crashtest.Model) *crashtest.Model {
	p.t.Helper()
	dir := p.folder()
	p.must(os.Remove(dir))
	k, err := m.Kill(dir)
	p.must(err)
	if mark, err := os.ReadFile(runtime(m.Dir) + "/trial.json"); err == nil {
		p.must(os.MkdirAll(runtime(dir), 0o755))
		p.must(os.WriteFile(runtime(dir)+"/trial.json", mark, 0o644))
	}
	return k
}

// cut is what m leaves when the power is cut now; with random, one of the
// things that it may leave.
func (p *power) cut(m *crashtest.Model, random *rand.Rand) string {
	p.t.Helper()
	dir := p.folder()
	p.must(os.Remove(dir))
	p.must(m.PowerCut(dir, random))
	p.clones++
	return dir
}

func runtime(state string) string { return filepath.Join(filepath.Dir(state), "run") }

// run is one process that does the act on a state folder.
func (p *power) run(dir string, disk *durable.Disk, a act) error {
	p.events = nil
	u := p.updater(func(u *updater.Updater) {
		u.Dir, u.Runtime, u.Disk = dir, runtime(dir), disk
		u.Emit = func(c event.Code, _ map[string]string) { p.events = append(p.events, c) }
		if a.engine != nil {
			u.Engines = map[string]*modules.Engine{a.engine.Base: a.engine}
		}
	})
	p.err = a.do(p.t.Context(), u)
	return p.err
}

func update(ctx context.Context, u *updater.Updater) error {
	res := u.Run(ctx, "test", nil)
	if res.Outcome == updater.Failed || res.Outcome == updater.Partly {
		return fmt.Errorf("%s: %s", res.Outcome, res.Error)
	}
	return nil
}

// marks are the versions of the metadata that a client believes.
type marks map[string]int

func (p *power) marks(dir string) marks {
	p.t.Helper()
	all := marks{}
	files, _ := filepath.Glob(dir + "/trust/*/*.json")
	for _, file := range files {
		var doc struct {
			Signed struct {
				Version int `json:"version"`
			} `json:"signed"`
		}
		data, err := os.ReadFile(file)
		p.must(err)
		if err := json.Unmarshal(data, &doc); err != nil {
			p.t.Fatalf("%s: %v", file, err)
		}
		all[filepath.Base(file)] = doc.Signed.Version
	}
	return all
}

func (m marks) below(floor marks) bool {
	for name, v := range floor {
		if m[name] < v {
			return true
		}
	}
	return false
}

// check asserts all that must hold of a state folder at any moment, whatever
// happened: the state and the generations that it names can be read, each of
// their versions is whole by its hash, and trust is not below floor.
func (p *power) check(dir string, floor marks) rollback.State {
	p.t.Helper()
	store := rollback.Store{Dir: dir}
	st, err := store.Load()
	p.must(err)
	w := &world{t: p.t, dir: filepath.Dir(dir)}
	for _, n := range []int{st.Current, st.Good, st.Previous} {
		g, err := store.Generation(n)
		if err != nil {
			p.t.Fatalf("state %+v: %v", st, err)
		}
		for name, ref := range g.Bases {
			if !p.spoilt[name+"/"+ref.Dir] {
				w.checkVersion(name, ref)
			}
			if n == st.Good && ref.Version == 3 {
				floor = p.top
			}
		}
	}
	if now := p.marks(dir); now.below(floor) {
		p.t.Fatalf("trust went back: %v, it was at %v", now, floor)
	}
	return st
}

// checkRuns asserts of an endpoint that has started that its good generation
// is what engines read.
func (p *power) checkRuns(dir string, floor marks) {
	p.t.Helper()
	st := p.check(dir, floor)
	if st.Current != st.Good {
		p.t.Fatalf("it runs generation %d, good is %d", st.Current, st.Good)
	}
	g, err := rollback.Store{Dir: dir}.Generation(st.Good)
	p.must(err)
	links, _ := filepath.Glob(dir + "/bases/*/current")
	if len(links) != len(g.Bases) {
		p.t.Fatalf("engines read %v of %v", links, g.Bases)
	}
	for _, link := range links {
		target, err := os.Readlink(link)
		if err != nil || target != g.Bases[filepath.Base(filepath.Dir(link))].Dir {
			p.t.Fatalf("%s leads to %q, %v", link, target, err)
		}
	}
}

// checkTidy asserts that nothing lies there that nothing refers to.
func (p *power) checkTidy(dir string) {
	p.t.Helper()
	store := rollback.Store{Dir: dir}
	st, err := store.Load()
	p.must(err)
	all, err := store.Generations()
	p.must(err)
	known := []string{"bases", "generations", "manifests", "tmp", "trust", "state.json", "quarantine.json", "state.lock", "agent-id", "engines"}
	for _, g := range all {
		if !slices.Contains(st.Keep(all), g.Number) {
			p.t.Errorf("generation %d is kept for nothing", g.Number)
		}
		known = append(known, fmt.Sprintf("generations/%06d", g.Number))
		for name, ref := range g.Bases {
			known = append(known, "bases/"+name, "bases/"+name+"/current", "bases/"+name+"/"+ref.Dir, "engines/"+name+".json", "manifests/"+ref.Manifest+".json")
		}
	}
	for _, w := range st.Quarantine { // its manifest is kept, so that it is not fetched each hour
		files, _ := filepath.Glob(dir + "/manifests/*.json")
		for _, f := range files {
			if data, _ := os.ReadFile(f); strings.Contains(string(data), fmt.Sprintf(`"version":%d`, w.Version)) {
				known = append(known, "manifests/"+filepath.Base(f))
			}
		}
	}
	p.must(filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(dir, path)
		depth := strings.Count(rel, "/")
		if rel != "." && !strings.HasPrefix(rel, "trust/") && (depth < 2 || depth == 2 && strings.HasPrefix(rel, "bases/")) && !slices.Contains(known, rel) {
			p.t.Errorf("left over: %s", rel)
		}
		if strings.Contains(rel, ".tmp-") {
			p.t.Errorf("half written: %s", rel)
		}
		return err
	}))
}

// recovers asserts that an endpoint that was found like this has what it had,
// starts without the network, and ends where the act leads to when it is
// updated again. The folder is gone afterwards.
func (p *power) recovers(what, dir string, floor marks, a act) {
	p.t.Helper()
	defer func() {
		if p.t.Failed() {
			p.t.Fatalf("%s", what)
		}
		os.RemoveAll(filepath.Dir(dir))
	}()
	p.check(dir, floor)
	start := func(ctx context.Context, u *updater.Updater) error {
		u.Sources = nil
		_, err := u.Start(ctx)
		return err
	}
	if err := p.run(dir, nil, act{do: start}); err != nil {
		p.t.Fatalf("start: %v", err)
	}
	p.checkRuns(dir, floor)
	p.settles(dir, floor, a)
}

// settles asserts that the next update succeeds.
func (p *power) settles(dir string, floor marks, a act) {
	p.t.Helper()
	was := p.spoilt
	defer func() { p.spoilt = was }() // of the moment that is looked at, not of this clone
	p.mends(dir, floor, a)
	a.do = update
	if err := p.run(dir, nil, a); err != nil && a.engine == nil {
		p.t.Fatalf("the next update: %v; %v", err, p.events)
	}
	p.checkRuns(dir, p.top)
	p.checkTidy(dir)
	g, err := rollback.Store{Dir: dir}.Generation(p.check(dir, p.top).Good)
	p.must(err)
	if want := map[string]int64{"list": a.list, "rules": 3}; !maps.EqualFunc(g.Bases, want, func(r rollback.Ref, v int64) bool { return r.Version == v }) {
		p.t.Fatalf("in the end it has %v, want %v; %v", g.Bases, want, p.events)
	}
}

// errEnded is what all steps of a process give that has been stopped.
var errEnded = errors.New("the process was stopped")
