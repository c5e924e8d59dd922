package updater_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/modules"
	"github.com/freshet/freshet/updater"
)

// TestAFarIndexDoesNotSayHowLargeTheStartIs has one give the image of the start
// a size that no disk has, after the manifest was found to suit.
func TestAFarIndexDoesNotSayHowLargeTheStartIs(t *testing.T) {
	t.Parallel()
	a := newStage(t).attack(t)
	f := a.forger()
	start, image := records(9, 8000), records(4, 8000)
	m := f.next(start)
	full, was := m.Full, bases.IndexVersion{Version: 4, Size: m.Image.Size, SHA256: m.Image.SHA256}
	m = f.next(image)
	m.Version, m.Full, m.Start = 5, full, &was
	m.Deltas = []bases.Delta{{From: 4, Blob: f.blob(patch(t, []byte(start), []byte(image)))}}
	blob := func(v any) *bases.Blob {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		b := f.blob(data)
		return &b
	}
	lie := was
	lie.Size = math.MaxInt64
	far := blob(bases.FarIndex{Type: "far-index", Name: "list", IndexVersion: lie, Deltas: []bases.Delta{}})
	m.Index = blob(bases.Index{Type: "index", Name: "list", Version: 5, Checkpoints: []bases.Checkpoint{{Version: 4, Far: far}}})
	f.release(m)
	a.world.content["list/5"] = image
	p, err := a.world.updater().Plan(t.Context())
	if err != nil || len(p.Bases) != 1 || len(p.Bases[0].Steps) != 2 || p.Disk < 0 || p.Disk > 4<<20 {
		t.Errorf("%+v: %v", p, err)
	}
	a.outcome(updater.Updated, a.mirror)
	a.expect("list", 5)
}

// TestMoreBasesThanAreTaken has who signs for bases offer one too many; what is
// installed is not the one that is left out.
func TestMoreBasesThanAreTaken(t *testing.T) {
	t.Parallel()
	a := newStage(t).attack(t)
	f := a.forger()
	m := f.next(records(4, 8000))
	for i := range 256 {
		n := *m
		n.Name, n.Agent = fmt.Sprintf("b%03d", i), "99.0.0"
		data, err := json.Marshal(n)
		if err != nil {
			t.Fatal(err)
		}
		f.target("bases", bases.TargetPath(n.Name), data)
	}
	f.release(m)
	a.world.content["list/4"] = records(4, 8000)
	u := a.world.updater(func(u *updater.Updater) { u.Version = "1.0.0" })
	res := u.Run(t.Context(), updater.OnSchedule, nil)
	if len(res.Bases) != 256 || !strings.Contains(strings.Join(res.Notes, "\n"), "257 bases are on offer, of which 256 are taken") {
		t.Errorf("%d bases, %q", len(res.Bases), res.Notes)
	}
	a.expect("list", 4)
}

// TestABrokenDownloadIsCountedOnce has what came already fill the disk nearly.
func TestABrokenDownloadIsCountedOnce(t *testing.T) {
	w := newWorld(t)
	noise := make([]byte, 40<<20)
	rand.NewChaCha8([32]byte{1}).Read(noise)
	noise[10] = 0 // binary, whatever comes first
	w.publish("list", string(noise))
	w.dir = t.TempDir()
	state := filepath.Join(w.dir, "state")
	if err := os.Mkdir(state, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", state, "tmpfs", 0, "size=160m"); err != nil {
		t.Skipf("no file system can be mounted: %v", err)
	}
	defer unix.Unmount(state, 0)
	w.serve(func(rw http.ResponseWriter, r *http.Request) bool {
		if !isBlob(r) {
			return false
		}
		data, _ := os.ReadFile(filepath.Join(w.repo.Dir, r.URL.Path))
		rw.Header().Set("Content-Length", fmt.Sprint(len(data)))
		rw.Write(data[:len(data)*3/4])
		return true
	})
	w.update(updater.Failed)
	w.serve(nil)
	w.update(updater.Updated)
	w.expect("list", 1)
}

// TestACutLineIsNoFaultOfTheContent has another source fail by what it gives.
func TestACutLineIsNoFaultOfTheContent(t *testing.T) {
	t.Parallel()
	stage := newStage(t)
	cut := func(a *attack) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if isBlob(r) {
				half(a, w, r)
			}
			return isBlob(r)
		}
	}
	t.Run("no delta is given up for it", func(t *testing.T) {
		a := stage.attack(t)
		a.mirror.serve(func(w http.ResponseWriter, r *http.Request) bool {
			if isBlob(r) && !strings.HasSuffix(r.URL.Path, manifestIn(t, a.mirror.dir, "list").Full.SHA256.String()) {
				w.WriteHeader(http.StatusNotFound)
				return true
			}
			return false
		})
		a.good.serve(cut(a))
		if res := a.outcome(updater.Failed, a.mirror, a.good); res.Bytes > small+a.delta || a.saw(event.DeltaFailed) {
			t.Errorf("%d bytes\n%s", res.Bytes, a.events())
		}
		a.good.serve(nil)
		if res := a.outcome(updater.Updated, a.mirror, a.good); res.Bytes > small+a.delta {
			t.Errorf("%d bytes", res.Bytes)
		}
		a.expect("list", 3)
	})
	t.Run("the full image is not paused for it", func(t *testing.T) {
		a := stage.attack(t)
		a.fresh = true
		if err := os.RemoveAll(a.world.dir); err != nil {
			t.Fatal(err)
		}
		a.mirror.serve(func(w http.ResponseWriter, r *http.Request) bool {
			if isBlob(r) {
				data, _ := os.ReadFile(filepath.Join(a.mirror.dir, r.URL.Path))
				w.Write(make([]byte, len(data)))
			}
			return isBlob(r)
		})
		a.good.serve(cut(a))
		a.outcome(updater.Failed, a.mirror, a.good)
		a.good.serve(nil)
		a.outcome(updater.Updated, a.mirror, a.good)
		a.expect("list", 3)
	})
}

// TestWhatCannotBeTriedIsFetchedOnce has an engine that cannot be asked.
func TestWhatCannotBeTriedIsFetchedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.publish("list", records(1, 8000))
	full := manifestIn(t, w.repo.Dir, "list").Full.Size
	try := []string{"/nonexistent/command"}
	with := func(u *updater.Updater) {
		u.Engines = map[string]*modules.Engine{"list": {Base: "list", TryCommand: try}}
	}
	for i := range 3 {
		if res := w.update(updater.Failed, with); (res.Bytes > full) != (i == 0) {
			t.Errorf("run %d: %d bytes, the full image has %d", i+1, res.Bytes, full)
		}
	}
	try = []string{"/bin/true"}
	if res := w.update(updater.Updated, with); res.Bytes > full {
		t.Errorf("%d bytes when it could be asked", res.Bytes)
	}
	w.expect("list", 1)
	w.checkTidy()
	w.publish("list", records(2, 8000))
	try = []string{"/bin/false"}
	w.update(updater.Failed, with)
	w.update(updater.NothingNew, with)
	w.checkTidy()
}

// TestEnginesThatFailAtOnceAreAllTold has them fail in goroutines of their own.
func TestEnginesThatFailAtOnceAreAllTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	engines := map[string]*modules.Engine{}
	for i := range 8 {
		name := fmt.Sprint("list", i)
		w.publish(name, records(1, 100))
		engines[name] = &modules.Engine{Base: name, TookCommand: []string{"/nonexistent/command"}}
	}
	res := w.updater(func(u *updater.Updater) { u.Engines = engines }).Run(t.Context(), "test", nil)
	for name := range engines {
		if !strings.Contains(strings.Join(res.Notes, "\n"), name) {
			t.Errorf("%s is not told of: %q", name, res.Notes)
		}
	}
}
