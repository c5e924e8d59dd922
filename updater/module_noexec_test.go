package updater_test

import (
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/updater"
)

// On a state folder mounted noexec bases are updated, and a release is refused
// before it is fetched, with the reason. It is not held back: once the mount is
// right it is installed.
func TestNothingIsTriedThatCannotBeStartedFromTheStateFolder(t *testing.T) {
	w := newWorld(t)
	w.publish("list", records(1, 100))
	w.publishModule("scan", "1.0.0")
	state := filepath.Join(w.dir, "state")
	if err := (*durable.Disk)(nil).MkdirAll(state, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", state, "tmpfs", unix.MS_NOEXEC, "size=256m"); err != nil {
		t.Skipf("mounting: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(state, unix.MNT_DETACH) })
	var said []string
	wanted := func(u *updater.Updater) {
		policy("1.0.0", named("scan", updater.ModulesInstall))(u)
		emit := u.Emit
		u.Emit = func(c event.Code, fields map[string]string) {
			if c == event.ModuleRefused {
				said = append(said, fields["error"])
			}
			emit(c, fields)
		}
	}
	if res := w.update(updater.Updated, wanted); len(res.Modules) > 0 {
		t.Errorf("something became of modules: %+v", res.Modules)
	}
	w.expect("list", 1)
	st, _, _ := w.state()
	if st.Trial != 0 || len(st.Quarantine) > 0 {
		t.Errorf("%+v", st)
	}
	w.update(updater.NothingNew, wanted)
	if len(said) != 1 || !strings.Contains(said[0], "noexec") {
		t.Errorf("it was told: %q", said)
	}
	if err := unix.Mount("", state, "", unix.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
	w.update(updater.Updated, wanted)
	w.expectModule("scan", "1.0.0", "")
}
