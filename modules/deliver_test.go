package modules_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/modules"
)

// tree makes a folder of files.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, files)
	return dir
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// checkFolder asserts that a folder holds these files and folders for them,
// and nothing else.
func checkFolder(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	got := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, p)
		if e.IsDir() {
			entries, err := os.ReadDir(p)
			if err == nil && len(entries) == 0 && name != "." {
				t.Errorf("folder %s is left empty", name)
			}
			return err
		}
		data, err := os.ReadFile(p)
		got[name] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(got, want) {
		t.Errorf("the folder holds %q, want %q", got, want)
	}
}

func delivering(t *testing.T, to string) *modules.Engine {
	return &modules.Engine{Base: "hashes", Delivery: &modules.Delivery{To: to, StateDir: t.TempDir()}}
}

// deliverTo delivers the version in dir.
func deliverTo(e *modules.Engine, dir string) error {
	_, err := e.DeliverFiles(context.Background(), modules.Delivered{Dir: dir})
	return err
}

func deliver(t *testing.T, e *modules.Engine, dir string) {
	t.Helper()
	if err := deliverTo(e, dir); err != nil {
		t.Fatal(err)
	}
}

var (
	versionOne = map[string]string{"a.db": "one", "sub/deep/b.db": "same", "gone/c.db": "c"}
	versionTwo = map[string]string{"a.db": "two!", "sub/deep/b.db": "same", "new/d.db": "d"}
)

func TestDeliveredFolderFollowsTheVersion(t *testing.T) {
	for name, mode := range map[string]uint32{"by links": 0, "by copies": 0o640} {
		t.Run(name, func(t *testing.T) {
			to := t.TempDir()
			e := delivering(t, to)
			e.Delivery.Mode = mode
			one, two := tree(t, versionOne), tree(t, versionTwo)
			deliver(t, e, one)
			checkFolder(t, to, versionOne)
			deliver(t, e, two)
			checkFolder(t, to, versionTwo)
			deliver(t, e, one)
			checkFolder(t, to, versionOne)
			st, err := os.Stat(filepath.Join(to, "a.db"))
			if err != nil {
				t.Fatal(err)
			}
			source, _ := os.Stat(filepath.Join(one, "a.db"))
			if linked := os.SameFile(st, source); linked != (mode == 0) {
				t.Errorf("a.db is a hard link: %v", linked)
			}
			if mode != 0 && st.Mode().Perm() != fs.FileMode(mode) {
				t.Errorf("a.db has mode %o", st.Mode().Perm())
			}
		})
	}
}

func TestDeliverySetsTheOwnerOfCopiesAlone(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root gives files away")
	}
	to, one := t.TempDir(), tree(t, versionOne)
	e := delivering(t, to)
	e.Delivery.Owner, e.Delivery.Group = "daemon", "12"
	deliver(t, e, one)
	for _, name := range []string{"a.db", "sub", "sub/deep", "sub/deep/b.db"} {
		st, err := os.Stat(filepath.Join(to, name))
		if err != nil {
			t.Fatal(err)
		}
		if own := st.Sys().(*syscall.Stat_t); own.Uid != 1 || own.Gid != 12 {
			t.Errorf("%s belongs to %d:%d", name, own.Uid, own.Gid)
		}
	}
	st, _ := os.Stat(filepath.Join(one, "a.db"))
	if st.Sys().(*syscall.Stat_t).Uid != 0 {
		t.Error("the version's own file was given away")
	}
}

func TestDeliveryMendsWhatOthersChanged(t *testing.T) {
	changes := map[string]func(path string) error{
		"removed":                os.Remove,
		"written to":             func(p string) error { return os.WriteFile(p, []byte("own"), 0o640) },
		"open to all":            func(p string) error { return os.Chmod(p, 0o666) },
		"replaced by a link out": func(p string) error { return errors.Join(os.Remove(p), os.Symlink("/etc/passwd", p)) },
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			to, one := t.TempDir(), tree(t, versionOne)
			e := delivering(t, to)
			e.Delivery.Mode = 0o640
			deliver(t, e, one)
			if err := change(filepath.Join(to, "a.db")); err != nil {
				t.Fatal(err)
			}
			deliver(t, e, one)
			checkFolder(t, to, versionOne)
			st, err := os.Lstat(filepath.Join(to, "a.db"))
			if err != nil || st.Mode() != 0o640 {
				t.Errorf("a.db has mode %v, %v", st.Mode(), err)
			}
			checkFolder(t, one, versionOne)
		})
	}
}

func TestSecondDeliveryWritesNothing(t *testing.T) {
	to, one := t.TempDir(), tree(t, versionOne)
	e := delivering(t, to)
	e.Delivery.Mode = 0o600
	deliver(t, e, one)
	e.Disk = &durable.Disk{Step: func(op, path string) error {
		t.Errorf("%s %s", op, path)
		return nil
	}}
	deliver(t, e, one)
}

func TestDeliveryLeavesFilesOfOthers(t *testing.T) {
	others := map[string]string{"main.cvd": "theirs", "sub/mine.txt": "mine"}
	to := tree(t, others)
	e := delivering(t, to)
	deliver(t, e, tree(t, versionOne))
	want := maps.Clone(others)
	maps.Copy(want, versionOne)
	checkFolder(t, to, want)

	t.Run("also in the place of a delivered file that goes", func(t *testing.T) {
		path := filepath.Join(to, "gone/c.db")
		if err := errors.Join(os.Remove(path), os.WriteFile(path, []byte("now theirs"), 0o600)); err != nil {
			t.Fatal(err)
		}
		deliver(t, e, tree(t, versionTwo))
		want := maps.Clone(others)
		maps.Copy(want, versionTwo)
		want["gone/c.db"] = "now theirs"
		checkFolder(t, to, want)
	})
}

func TestFileOfAnotherInThePlaceOfOneStopsTheDelivery(t *testing.T) {
	to := tree(t, map[string]string{"sub/deep/b.db": "theirs"})
	e := delivering(t, to)
	err := deliverTo(e, tree(t, versionOne))
	if err == nil || !strings.Contains(err.Error(), "sub/deep/b.db is there and was not delivered") {
		t.Fatalf("error %v", err)
	}
	checkFolder(t, to, map[string]string{"sub/deep/b.db": "theirs"})

	t.Run("unless it is the same to the byte", func(t *testing.T) {
		write(t, to, map[string]string{"sub/deep/b.db": "same"})
		deliver(t, e, tree(t, versionOne))
		checkFolder(t, to, versionOne)
	})
}

// TestWhatWasThereBeforeIsAdoptedAndNeverRemoved: a file of others, the same to
// the byte, is theirs.
func TestWhatWasThereBeforeIsAdoptedAndNeverRemoved(t *testing.T) {
	for name, mode := range map[string]uint32{"as it shall be": 0, "with another mode": 0o640} {
		t.Run(name, func(t *testing.T) {
			to := tree(t, map[string]string{"a.db": "one"})
			e := delivering(t, to)
			e.Delivery.Mode = mode
			for i, version := range []map[string]string{versionOne, versionOne, versionTwo} {
				adopted, err := e.DeliverFiles(t.Context(), modules.Delivered{Dir: tree(t, version)})
				if err != nil || len(adopted) > 0 != (i == 0) {
					t.Fatalf("delivery %d: adopted %v, %v", i, adopted, err)
				}
				checkFolder(t, to, version)
			}
			got := takeBack(t, e)
			if len(got) != 1 || got[0].Removed != 2 || len(got[0].Left) > 0 || !slices.Equal(got[0].Adopted, []string{"a.db"}) || got[0].Err != nil {
				t.Errorf("%+v", got)
			}
			checkFolder(t, to, map[string]string{"a.db": "two!"})
			checkForgotten(t, e)
		})
	}
	t.Run("nor when a version does not have it any more", func(t *testing.T) {
		to := tree(t, map[string]string{"gone/c.db": "c"})
		e := delivering(t, to)
		deliver(t, e, tree(t, versionOne))
		deliver(t, e, tree(t, versionTwo))
		takeBack(t, e)
		checkFolder(t, to, map[string]string{"gone/c.db": "c"})
	})
	t.Run("nor after a kill at any step", func(t *testing.T) {
		for stop := 1; ; stop++ {
			to := tree(t, map[string]string{"a.db": "one"})
			e := delivering(t, to)
			e.Delivery.Mode = 0o640
			e.Disk = endingAt(stop, false)
			err := deliverTo(e, tree(t, versionOne))
			e.Disk = nil
			takeBack(t, e)
			if !exists(filepath.Join(to, "a.db")) {
				t.Fatalf("it is gone after a kill at step %d", stop)
			}
			if err == nil {
				break
			}
		}
	})
}

// TestNothingIsDeliveredThatCannotBeRemembered: what is not in the record would
// be taken for a file of others, and never be removed.
func TestNothingIsDeliveredThatCannotBeRemembered(t *testing.T) {
	to := t.TempDir()
	e := delivering(t, to)
	record := filepath.Join(e.Delivery.StateDir, "delivered")
	e.Disk = &durable.Disk{Step: func(op, path string) error {
		if strings.HasPrefix(path, record) {
			return fmt.Errorf("%s %s: no space left on device", op, path)
		}
		return nil
	}}
	if err := deliverTo(e, tree(t, versionOne)); err == nil || !strings.Contains(err.Error(), "remembering what is delivered") {
		t.Errorf("error %v", err)
	}
	checkFolder(t, to, map[string]string{})
}

func TestAFirstVersionThatIsGivenUpLeavesTheFolderAsItWas(t *testing.T) {
	theirs := map[string]string{"main.cvd": "theirs", "a.db": "one"}
	takeBackFirst := func(e *modules.Engine, bases ...string) []modules.TakenBack {
		return modules.TakeBackFirst(t.Context(), nil, e.Delivery.StateDir, byBase([]*modules.Engine{e}), bases)
	}
	first := func(e *modules.Engine) {
		t.Helper()
		if _, err := e.DeliverFiles(t.Context(), modules.Delivered{Dir: tree(t, versionOne), First: true}); err != nil {
			t.Fatal(err)
		}
	}
	to := tree(t, theirs)
	e := delivering(t, to)
	first(e)
	if got := takeBackFirst(e); len(got) > 0 {
		t.Errorf("while the version is in use: %+v", got)
	}
	if got := takeBackFirst(e, "hashes"); len(got) != 1 || got[0].Removed != 2 || got[0].Err != nil {
		t.Errorf("%+v", got)
	}
	checkFolder(t, to, theirs)
	checkForgotten(t, e)

	first(e)
	if err := e.MarkFirst(false); err != nil {
		t.Fatal(err)
	}
	if got := takeBackFirst(e, "hashes"); len(got) > 0 {
		t.Errorf("one that has proved itself: %+v", got)
	}
	if err := e.MarkFirst(true); err != nil {
		t.Fatal(err)
	}
	deliver(t, e, tree(t, versionOne))
	if got := takeBackFirst(e, "hashes"); len(got) > 0 {
		t.Errorf("delivered as one that has: %+v", got)
	}
}

func TestDeliveryFollowsNoLinkInTheFolder(t *testing.T) {
	outside := tree(t, map[string]string{"deep/b.db": "outside"})
	rows := map[string]string{
		"for a folder": "sub",
		"for a file":   "a.db",
	}
	for name, link := range rows {
		t.Run(name, func(t *testing.T) {
			to := t.TempDir()
			if err := os.Symlink(outside, filepath.Join(to, link)); err != nil {
				t.Fatal(err)
			}
			e := delivering(t, to)
			if err := deliverTo(e, tree(t, versionOne)); err == nil {
				t.Error("no error")
			}
			checkFolder(t, outside, map[string]string{"deep/b.db": "outside"})
		})
	}
	t.Run("that came after the delivery", func(t *testing.T) {
		to := t.TempDir()
		e := delivering(t, to)
		deliver(t, e, tree(t, map[string]string{"sub/deep/b.db": "outside"}))
		if err := errors.Join(os.RemoveAll(filepath.Join(to, "sub")), os.Symlink(outside, filepath.Join(to, "sub"))); err != nil {
			t.Fatal(err)
		}
		deliver(t, e, tree(t, map[string]string{"a.db": "x"}))
		checkFolder(t, outside, map[string]string{"deep/b.db": "outside"})
	})
}

func TestDeliveryThatEndsAnywhereIsTakenUpAgain(t *testing.T) {
	theirs := map[string]string{"theirs": "t"}
	want := func(version map[string]string) map[string]string {
		w := maps.Clone(theirs)
		maps.Copy(w, version)
		return w
	}
	one, two := tree(t, versionOne), tree(t, versionTwo)
	for _, mode := range []uint32{0, 0o640} {
		for stop := 1; ; stop++ {
			to := tree(t, theirs)
			e := delivering(t, to)
			e.Delivery.Mode = mode
			deliver(t, e, one)
			n := 0
			e.Disk = &durable.Disk{Step: func(op, path string) error {
				if n++; n >= stop { // the process is gone: nothing more happens
					return fmt.Errorf("stopped before %s %s", op, path)
				}
				return nil
			}}
			err := deliverTo(e, two)
			e.Disk = nil
			if err == nil {
				if stop < 10 {
					t.Errorf("done after %d steps", n)
				}
				break
			}
			next, version := two, versionTwo
			if stop%2 == 0 { // it was refused meanwhile
				next, version = one, versionOne
			}
			deliver(t, e, next)
			checkFolder(t, to, want(version))
			if t.Failed() {
				t.Fatalf("after a stop at step %d", stop)
			}
		}
	}
}

func TestDeliveryIntoAFolderThatIsNotThere(t *testing.T) {
	e := delivering(t, filepath.Join(t.TempDir(), "none"))
	err := deliverTo(e, tree(t, versionOne))
	if err == nil || !strings.Contains(err.Error(), "is the engine installed?") {
		t.Errorf("error %v", err)
	}
}

// TestARecordThatIsNotToBeTouched: what a newer version delivered, or what is not
// known to be ours, is neither replaced nor removed.
func TestARecordThatIsNotToBeTouched(t *testing.T) {
	to := t.TempDir()
	e := delivering(t, to)
	if err := deliverTo(e, tree(t, versionOne)); err != nil {
		t.Fatal(err)
	}
	was := map[string]string{}
	for name, content := range versionOne {
		was[name] = content
	}
	records, err := filepath.Glob(filepath.Join(e.Delivery.StateDir, "delivered", "*.json"))
	if err != nil || len(records) != 1 {
		t.Fatalf("records %q, %v", records, err)
	}
	data, err := os.ReadFile(records[0])
	if err != nil {
		t.Fatal(err)
	}
	newer := []byte(`{"format":2,"min_version":"9.0.0",` + string(data[1:]))
	if err := os.WriteFile(records[0], newer, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := deliverTo(e, tree(t, map[string]string{"a.db": "another"})); err == nil || !strings.Contains(err.Error(), "freshet 9.0.0 or newer") {
		t.Errorf("error %v", err)
	}
	checkFolder(t, to, was)
	if is, err := os.ReadFile(records[0]); err != nil || string(is) != string(newer) {
		t.Errorf("the record was changed: %s, %v", is, err)
	}
}
