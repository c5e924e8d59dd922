package updater_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/freshet/freshet/internal/durable/crashtest"
	"github.com/freshet/freshet/modules"
	"github.com/freshet/freshet/publish"
	"github.com/freshet/freshet/rollback"
	"github.com/freshet/freshet/updater"
)

func publishTree(dir string) publish.Release { return publish.Release{Name: "rules", Path: dir} }

func linksOf(t *testing.T, path string) uint64 {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return uint64(st.Sys().(*syscall.Stat_t).Nlink)
}

func inodeOf(t *testing.T, path string) uint64 {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return st.Sys().(*syscall.Stat_t).Ino
}

// newMirror serves the repository a second time.
func newMirror(t *testing.T, w *world, see func(*http.Request)) *httptest.Server {
	t.Helper()
	files := http.FileServer(http.Dir(w.repo.Dir))
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if see != nil {
			see(r)
		}
		files.ServeHTTP(rw, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func TestStoppedAtAnyDiskStepTheNextRunSucceeds(t *testing.T) {
	w := newWorld(t)
	w.publish("list", records(1, 300))
	w.update(updater.Updated)
	start := w.dir
	w.publish("list", records(2, 300))
	w.publish("other", records(1, 100))
	steps, stride := 0, someSteps(3)
	first := 1 + crashtest.Random(t).IntN(stride)
	for n := first; n == first || steps >= n-stride; n += stride {
		w.dir = filepath.Join(t.TempDir(), "endpoint")
		if err := os.CopyFS(w.dir, os.DirFS(start)); err != nil {
			t.Fatal(err)
		}
		before := w.check()
		res := w.updater(func(u *updater.Updater) { u.Disk = dying(n, &steps) }).Run(t.Context(), "test", nil)
		after := w.check()
		if after.Good < before.Good {
			t.Fatalf("step %d: good went from %d back to %d", n, before.Good, after.Good)
		}
		if steps < n { // it was not stopped
			if res.Outcome != updater.Updated {
				t.Fatalf("not stopped: %+v", res)
			}
			break
		}
		again := w.updater().Run(t.Context(), "test", nil)
		if again.Outcome != updater.Updated && again.Outcome != updater.NothingNew {
			t.Fatalf("step %d: the next run: %+v", n, again)
		}
		w.check()
		w.expect("list", 2)
		w.expect("other", 1)
		w.checkTidy()
	}
	if steps < 30 {
		t.Errorf("only %d steps were seen", steps)
	}
	t.Logf("stopped at every step of %d, or every third", steps)
}

// slow is an engine that is watched until the context ends.
func slow() *modules.Engine {
	return &modules.Engine{Base: "list", HealthCommand: []string{"/bin/true"}, WatchFor: 1 << 50, HealthEvery: 1 << 40}
}

// breakOff starts an update and ends it while the engine is being watched: on
// purpose, or as if the process had died.
func (w *world) breakOff(orderly bool) {
	w.t.Helper()
	died := w.dir + "-died"
	ctx, cancel := context.WithCancel(w.t.Context())
	u := w.updater(func(u *updater.Updater) { u.Engines = map[string]*modules.Engine{"list": slow()} })
	res := u.Run(ctx, "test", func(p updater.Progress) {
		if p.Phase == updater.PhaseWatch {
			copyTree(w.t, w.dir, died) // all that a process leaves that dies here
			cancel()
		}
	})
	cancel()
	if res.Outcome != updater.Stopped {
		w.t.Fatalf("it was not broken off: %+v", res)
	}
	w.expect("list", 1)
	if orderly {
		os.RemoveAll(died)
		return
	}
	os.RemoveAll(w.dir)
	if err := os.Rename(died, w.dir); err != nil {
		w.t.Fatal(err)
	}
	w.expect("list", 2)
}

func TestAfterABootOrAnOrderlyStopTheGoodGenerationRunsAndTheTrialIsTakenUpAgain(t *testing.T) {
	w := newWorld(t)
	w.publish("list", records(1, 500))
	w.update(updater.Updated)
	w.publish("list", records(2, 500))
	for range rollback.MaxBadEnds + 1 {
		w.breakOff(true)
		resume, err := w.updater().Start(t.Context())
		if err != nil || !resume {
			t.Fatalf("resume %v, %v", resume, err)
		}
		w.expect("list", 1)
	}
	res := w.update(updater.Updated)
	w.expect("list", 2)
	if res.Bases[0].Bytes != 0 {
		t.Errorf("%d bytes were fetched again", res.Bases[0].Bytes)
	}
}

func TestAVersionUnderWhichTheAgentDiesThreeTimesIsNotTriedAgain(t *testing.T) {
	w := newWorld(t)
	w.publish("list", records(1, 500))
	w.update(updater.Updated)
	w.publish("list", records(2, 500))
	for i := 1; i <= rollback.MaxBadEnds; i++ {
		w.breakOff(false)
		resume, err := w.updater().Start(t.Context())
		if err != nil || resume != (i < rollback.MaxBadEnds) {
			t.Fatalf("death %d: resume %v, %v", i, resume, err)
		}
		w.expect("list", 1)
	}
	w.update(updater.NothingNew)
	w.expect("list", 1)
	w.publish("list", records(3, 500))
	w.update(updater.Updated)
	w.expect("list", 3)
}

func TestADamagedStateFileStartsTheNewestWholeGeneration(t *testing.T) {
	w := newWorld(t)
	for v := 1; v <= 2; v++ {
		w.publish("list", records(v, 500))
		w.update(updater.Updated)
	}
	path := filepath.Join(w.dir, "state/state.json")
	if err := os.WriteFile(path, []byte(`{"format":1,"curr`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := w.updater().Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.check()
	w.expect("list", 2)
	if _, err := os.Stat(path + ".damaged"); err != nil {
		t.Errorf("the damaged file was not kept: %v", err)
	}
}
