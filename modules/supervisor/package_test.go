package supervisor_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Where the program of the good version cannot be started any more, and what the
// package brought can, that serves: databases go on being updated.
func TestThePackagesProgramServesWhereTheSlotsCannotBeStarted(t *testing.T) {
	for _, row := range []struct {
		name  string
		spoil func(w *world, program string) error
	}{
		{"it may not be executed, as on a file system mounted noexec", func(_ *world, program string) error { return os.WriteFile(program, []byte("#!/bin/sh\n"), 0o644) }},
		{"it is gone", func(*world, string) error { return nil }},
		{"it is for another machine", func(w *world, program string) error {
			return os.Rename(filepath.Join(w.store.Dir, "modules/agent", w.slot("0.1.0", "is for another machine").Dir, "freshet"), program)
		}},
		{"its interpreter is missing", func(w *world, program string) error {
			w.write(program, "#!/lib/ld-not-there.so\n")
			return os.Chmod(program, 0o755)
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, quick, "TEST_PACKAGE_VERSION=0.9.0")
			pack := filepath.Join(w.dir, "package", "freshet")
			w.env = append(w.env, "TEST_PACKAGE="+pack)
			w.linkOwn(pack)
			w.install()
			w.stop()
			program := filepath.Join(w.store.Dir, "modules/agent/1.0.0/freshet")
			if err := os.Remove(program); err != nil { // the test's own is the same file
				t.Fatal(err)
			}
			if err := row.spoil(w, program); err != nil {
				t.Fatal(err)
			}
			w.start()
			w.until("the package's program serves", func() bool { p, err := w.ask(); return err == nil && p == pack })
			w.until("the operator is told", func() bool { return strings.Contains(w.told(), "AgentOfPackage\tthe agent 1.0.0 cannot be started") })
			if n := strings.Count(w.output(), "AgentOfPackage: "); n != 1 {
				t.Errorf("it was told %d times", n)
			}
			if st, err := w.store.Load(); err != nil || len(st.Quarantine) > 0 {
				t.Errorf("%+v, %v", st, err)
			}
			w.check()
		})
	}
}

// What a package brought is no version while it cannot be started from its slot.
func TestAPackagesProgramThatCannotBeStartedFromItsSlotIsNoVersion(t *testing.T) {
	w := newWorld(t, quick, "TEST_PACKAGE_VERSION=1.1.0")
	pack := filepath.Join(w.dir, "package", "freshet")
	w.env = append(w.env, "TEST_PACKAGE="+pack)
	w.linkOwn(pack)
	w.write(filepath.Join(w.dir, "package", "how"), "")
	// Its copy cannot be started: it was there before, and lost its mode.
	w.copyOwn(w.packagedSlot("1.1.0", pack))
	if err := os.Chmod(w.packagedSlot("1.1.0", pack), 0o644); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.until("the package's program serves", func() bool { p, err := w.ask(); return err == nil && p == pack })
	if st, err := w.store.Load(); err != nil || st.Last != 0 {
		t.Errorf("it was registered: %+v, %v", st, err)
	}
	w.stop()
	if err := os.Chmod(w.packagedSlot("1.1.0", pack), 0o755); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.until("it is a version once it can be started", func() bool { return w.isGood("agent", "1.1.0") })
	w.until("and serves", func() bool { p, err := w.ask(); return err == nil && p == w.packagedSlot("1.1.0", pack) })
}
