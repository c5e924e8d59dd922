package updater_test

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/rollback"
	"github.com/freshet/freshet/updater"
)

// A disk that fails at the confirmation is no death of what is tried, however
// often: the version is in no quarantine, and the next run confirms it.
func TestAConfirmationThatTheDiskRefusesIsNoBadEnd(t *testing.T) {
	w := newWorld(t)
	w.publish("list", records(1, 50))
	w.update(updater.Updated)
	w.publish("list", records(2, 50))
	full := func(u *updater.Updater) {
		u.Disk = &durable.Disk{Step: func(_, path string) error {
			st, err := rollback.Store{Dir: u.Dir}.Load()
			if err == nil && st.OnTrial() && filepath.Dir(path) == u.Dir {
				return syscall.ENOSPC
			}
			return nil
		}}
	}
	for i := range rollback.MaxBadEnds + 1 {
		w.update(updater.Failed, full)
		if _, err := w.updater().Start(t.Context()); err != nil { // the disk has room again
			t.Fatal(err)
		}
		if st := w.check(); st.BadEnds > 0 || len(st.Quarantine) > 0 || st.Trial == 0 {
			t.Fatalf("after failure %d: %+v", i+1, st)
		}
	}
	w.update(updater.Updated)
	w.expect("list", 2)
}
