package updater_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/modules"
	"github.com/freshet/freshet/updater"
)

// delivering has the base hosts copied into a folder.
func (w *world) delivering(to string) func(*updater.Updater) {
	return func(u *updater.Updater) {
		d := &modules.Delivery{To: to, Mode: 0o640, StateDir: filepath.Join(w.dir, "state")}
		u.Engines = map[string]*modules.Engine{"hosts": {Base: "hosts", Delivery: d}}
	}
}

// TestCopiesForAnEngineAreCountedWhereTheyLie has clamd's folder, say, on a file
// system of its own that is too small. It takes root to make one.
func TestCopiesForAnEngineAreCountedWhereTheyLie(t *testing.T) {
	w := newWorld(t)
	w.publish("hosts", records(1, 80_000)) // 1.7 MB
	w.publish("urls", records(1, 100))
	to := t.TempDir()
	if err := unix.Mount("tmpfs", to, "tmpfs", 0, "size=65m"); err != nil { // 64 MiB are left free
		t.Skipf("no file system can be mounted: %v", err)
	}
	defer unix.Unmount(to, 0)
	if err := os.MkdirAll(filepath.Join(w.dir, "state"), 0o755); err != nil {
		t.Fatal(err)
	}
	p, err := w.updater(w.delivering(to)).Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d := p.Bases[0].Delivery; d == nil || d.To != to || d.Disk != int64(len(records(1, 80_000))) || d.Free > 65<<20 {
		t.Errorf("the plan says %+v", d)
	}
	asked := w.fetched()
	w.events = nil
	res := w.updater(w.delivering(to)).Run(t.Context(), "test", nil)
	if res.Outcome != updater.Partly || !strings.Contains(res.Error, "hosts: not enough disk at "+to+", where its engine reads it") || !w.saw(event.DiskFull) {
		t.Fatalf("%+v; %v", res, w.events)
	}
	if n := asked.Load(); n != 1 { // of urls, which is not delivered
		t.Errorf("%d files were fetched", n)
	}
	w.expect("urls", 1)
	if err := unix.Mount("tmpfs", to, "tmpfs", unix.MS_REMOUNT, "size=70m"); err != nil {
		t.Fatal(err)
	}
	w.update(updater.Updated, w.delivering(to))
	data, err := os.ReadFile(filepath.Join(to, "hosts.txt"))
	if err != nil || string(data) != records(1, 80_000) {
		t.Errorf("%d bytes were delivered: %v", len(data), err)
	}
}

// On the same file system they are added to what the version itself takes.
func TestCopiesForAnEngineAreAddedToThePlan(t *testing.T) {
	w := newWorld(t)
	w.publish("hosts", records(1, 1000))
	if err := os.MkdirAll(filepath.Join(w.dir, "state"), 0o755); err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(w.dir, "engine")
	if err := os.Mkdir(to, 0o755); err != nil {
		t.Fatal(err)
	}
	with, err := w.updater(w.delivering(to)).Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if more := with.Disk - w.plan().Disk; more != int64(len(records(1, 1000))) {
		t.Errorf("%d bytes are added for the copy", more)
	}
}
