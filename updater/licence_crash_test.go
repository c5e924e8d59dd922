package updater_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/freshet/freshet/internal/durable/crashtest"
	"github.com/freshet/freshet/internal/source"
	"github.com/freshet/freshet/modules"
	"github.com/freshet/freshet/rollback"
	"github.com/freshet/freshet/updater"
)

// hours is a repository that asks for a licence, as it is hour by hour: each
// has the next version of each base.
type hours struct {
	*world
	dirs   []string
	change func(*updater.Updater)
}

func newHours(t *testing.T, n int, change func(*updater.Updater)) *hours {
	h := &hours{world: newLicensedWorld(t), change: change}
	for v := 1; v <= n; v++ {
		h.publish("list", records(v, 300))
		h.publish("other", records(v, 100))
		dir := filepath.Join(t.TempDir(), "repo")
		if err := os.CopyFS(dir, os.DirFS(h.repo.Dir)); err != nil {
			t.Fatal(err)
		}
		h.dirs = append(h.dirs, dir)
	}
	return h
}

// run updates the endpoint in dir from the repository of an hour (from 1).
func (h *hours) run(dir string, hour int, change ...func(*updater.Updater)) updater.Result {
	h.t.Helper()
	h.dir = dir
	from := func(u *updater.Updater) { u.Sources = []source.Source{&source.Folder{Path: h.dirs[hour-1]}} }
	return h.updater(append([]func(*updater.Updater){from, h.change}, change...)...).Run(h.t.Context(), "test", nil)
}

// good is the newest version of a base that is confirmed; 0: none is.
func (h *hours) good(dir string) int64 {
	h.t.Helper()
	store := rollback.Store{Dir: filepath.Join(dir, "state")}
	st, err := store.Load()
	if err != nil {
		h.t.Fatal(err)
	}
	g, err := store.Generation(st.Good)
	if err != nil {
		h.t.Fatal(err)
	}
	newest := int64(0)
	for _, ref := range g.Bases {
		newest = max(newest, ref.Version)
	}
	return newest
}

// stopped runs an update and gives what a kill and a power cut would leave
// before each of its disk steps.
func (h *hours) stopped(dir string, hour int) (left []string) {
	h.t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		h.t.Fatal(err)
	}
	m, err := crashtest.New(dir)
	if err != nil {
		h.t.Fatal(err)
	}
	defer m.Close()
	all := h.t.TempDir()
	snap := func(op, path string) error {
		killed := filepath.Join(all, fmt.Sprintf("%03d-killed-%s-%s", len(left), op, filepath.Base(path)))
		copyTree(h.t, dir, killed)
		cut := filepath.Join(all, fmt.Sprintf("%03d-cut-%s-%s", len(left), op, filepath.Base(path)))
		if err := m.PowerCut(cut, nil); err != nil {
			h.t.Fatal(err)
		}
		os.RemoveAll(filepath.Join(cut, "run")) // a boot empties it
		left = append(left, killed, cut)
		return nil
	}
	disk := m.Disk(crashtest.Hooks{Before: snap})
	h.run(dir, hour, func(u *updater.Updater) { u.Disk = disk })
	snap("the", "end")
	return left
}

// exactlyOne goes on from what was left: what was confirmed is the one update
// and no other comes; what was not is still to be had, and then no other.
func (h *hours) exactlyOne(dir string, hour int) {
	h.t.Helper()
	want := h.good(dir)
	if want == 0 {
		want = int64(hour)
	}
	for next := hour; next <= hour+1; next++ {
		res := h.run(dir, next)
		h.check()
		if got := h.good(dir); got != want {
			h.t.Fatalf("%s: version %d after hour %d, want %d: %+v", filepath.Base(dir), got, next, want, res)
		}
	}
}

func TestStoppedAnywhereTheOneUpdateIsNeitherLostNorRepeated(t *testing.T) {
	for name, change := range map[string]func(*updater.Updater){
		"whole": func(*updater.Updater) {},
		"of which a part is rolled back": func(u *updater.Updater) {
			u.Engines = map[string]*modules.Engine{"other": {Base: "other", HealthCommand: []string{"/bin/true"}, TookCommand: []string{"/bin/false"}}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := os.Stat("/dev/shm"); err == nil {
				t.Setenv("TMPDIR", "/dev/shm") // syncing costs nothing there
			}
			h := newHours(t, 4, change)
			first := h.stopped(filepath.Join(t.TempDir(), "endpoint"), 1)
			commit := slices.IndexFunc(first, func(dir string) bool { return strings.HasSuffix(dir, "-trial.json") })
			confirmed, again := 0, 0
			for i, dir := range first {
				if i < commit && !soak && i%48 > 1 {
					continue // of what leads up to the commit some will do
				}
				if h.good(dir) > 0 {
					confirmed++
				}
				if i >= commit && i%someSteps(30) == 0 || i == 0 { // stopped a second time
					twice := filepath.Join(t.TempDir(), "endpoint")
					copyTree(t, dir, twice)
					for k, dir := range h.stopped(twice, 2) {
						if k%someSteps(48) == i%someSteps(48) {
							again++
							h.exactlyOne(dir, 3)
						}
					}
				}
				h.exactlyOne(dir, 2)
			}
			if commit < 0 || confirmed == 0 || again == 0 {
				t.Errorf("commit at %d, %d were confirmed, %d stopped twice", commit, confirmed, again)
			}
			t.Logf("stopped at %d places, at %d of them after it was confirmed, and %d times twice", len(first), confirmed, again)
		})
	}
}

// TestTheDiskFailsAndTheOneUpdateIsNeitherLostNorRepeated has the first update
// without a licence meet each fault at steps by chance, at all in a soak.
func TestTheDiskFailsAndTheOneUpdateIsNeitherLostNorRepeated(t *testing.T) {
	if _, err := os.Stat("/dev/shm"); err == nil {
		t.Setenv("TMPDIR", "/dev/shm")
	}
	h := newHours(t, 3, func(*updater.Updater) {})
	stride := 120
	if soak {
		stride = 1
	}
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			q := *h
			q.world = &world{t: t, repo: h.repo, server: h.server, content: h.content}
			cases := 0
			for n := 1 + crashtest.Random(t).IntN(stride); q.failsAt(f, n); n += stride {
				cases++
			}
			t.Logf("%d cases", cases)
		})
	}
}

// failsAt has the update meet the fault at its n-th step; false where there
// are not as many.
func (h *hours) failsAt(f fault, n int) bool {
	h.t.Helper()
	dir := filepath.Join(h.t.TempDir(), "endpoint")
	state := filepath.Join(dir, "state")
	if err := os.MkdirAll(state, 0o755); err != nil {
		h.t.Fatal(err)
	}
	m, err := crashtest.New(state)
	if err != nil {
		h.t.Fatal(err)
	}
	defer m.Close()
	hit := 0
	disk := f.disk(m, n, &hit)
	res := h.run(dir, 1, func(u *updater.Updater) { u.Disk = disk })
	if hit == 0 {
		return false
	}
	defer func() {
		if h.t.Failed() {
			h.t.Fatalf("at step %d: %+v", n, res)
		}
	}()
	cut := filepath.Join(h.t.TempDir(), "cut")
	if err := os.Mkdir(cut, 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := m.PowerCut(filepath.Join(cut, "state"), nil); err != nil {
		h.t.Fatal(err)
	}
	for _, left := range []string{dir, cut} {
		h.exactlyOne(left, 2)
	}
	return true
}
