package updater_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/updater"
)

// TestTooFewInodesAreSeenBeforeTheFirstByteIsFetched has a file system with
// room for bytes and hardly any for files. It takes root to make one.
func TestTooFewInodesAreSeenBeforeTheFirstByteIsFetched(t *testing.T) {
	w := newWorld(t)
	w.publish("list", records(1, 300))
	w.dir = t.TempDir()
	state := filepath.Join(w.dir, "state")
	if err := os.Mkdir(state, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", state, "tmpfs", 0, "size=200m,nr_inodes=80"); err != nil {
		t.Skipf("no file system can be mounted: %v", err)
	}
	defer unix.Unmount(state, 0)
	w.events = nil
	res := w.updater().Run(t.Context(), "test", nil)
	if res.Outcome != updater.Failed || !strings.Contains(res.Error, "not enough inodes at "+state) || !w.saw(event.DiskFull) {
		t.Errorf("%+v; %v", res, w.events)
	}
	if parts, _ := filepath.Glob(filepath.Join(state, "tmp", "*")); len(parts) > 0 {
		t.Errorf("fetched all the same: %v", parts)
	}
	if err := unix.Mount("tmpfs", state, "tmpfs", unix.MS_REMOUNT, "size=200m,nr_inodes=400"); err != nil {
		t.Fatal(err)
	}
	w.update(updater.Updated)
	w.expect("list", 1)
}
