package modules_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/settings"
	"github.com/freshet/freshet/modules"
)

// takeBack has nothing delivered any more but by engines.
func takeBack(t *testing.T, e *modules.Engine, engines ...*modules.Engine) []modules.TakenBack {
	t.Helper()
	return modules.TakeBack(t.Context(), nil, e.Delivery.StateDir, byBase(engines))
}

func byBase(engines []*modules.Engine) map[string]*modules.Engine {
	all := map[string]*modules.Engine{}
	for _, e := range engines {
		all[e.Base] = e
	}
	return all
}

// checkForgotten asserts that nothing is remembered of what was taken back.
func checkForgotten(t *testing.T, e *modules.Engine) {
	t.Helper()
	if left, _ := filepath.Glob(filepath.Join(e.Delivery.StateDir, "delivered", "*")); len(left) > 0 {
		t.Errorf("still remembered: %v", left)
	}
	if again := takeBack(t, e); len(again) > 0 {
		t.Errorf("taken back again: %+v", again)
	}
}

func TestWhatIsNoLongerDeliveredIsTakenBack(t *testing.T) {
	for name, mode := range map[string]uint32{"links": 0, "copies": 0o640} {
		t.Run(name, func(t *testing.T) {
			others := map[string]string{"main.cvd": "theirs", "sub/mine.txt": "mine"}
			to, one := tree(t, others), tree(t, versionOne)
			e := delivering(t, to)
			e.Delivery.Mode = mode
			deliver(t, e, one)
			if got := takeBack(t, e, e); len(got) > 0 {
				t.Errorf("while it is delivered: %+v", got)
			}
			got := takeBack(t, e)
			if len(got) != 1 || got[0].Base != "hashes" || got[0].To != to || got[0].Removed != 3 || len(got[0].Left) > 0 || got[0].Err != nil {
				t.Errorf("%+v", got)
			}
			checkFolder(t, to, others)
			checkFolder(t, one, versionOne)
			checkForgotten(t, e)
		})
	}
}

func TestWhatOthersMadeOfADeliveredFileIsLeft(t *testing.T) {
	outside := tree(t, map[string]string{"b.db": "same", "deep/b.db": "same"})
	rows := map[string]struct {
		left   string
		change func(to string) error
	}{
		"written to": {"a.db", func(to string) error { return os.WriteFile(to+"/a.db", []byte("own"), 0o640) }},
		"replaced by a file of the same size": {"a.db", func(to string) error {
			return errors.Join(os.Remove(to+"/a.db"), os.WriteFile(to+"/a.db", []byte("uno"), 0o640))
		}},
		"replaced by a link": {"a.db", func(to string) error {
			return errors.Join(os.Remove(to+"/a.db"), os.Symlink(outside+"/b.db", to+"/a.db"))
		}},
		"replaced by a folder": {"a.db", func(to string) error {
			return errors.Join(os.Remove(to+"/a.db"), os.Mkdir(to+"/a.db", 0o755))
		}},
		"in a folder that is a link now": {"sub/deep/b.db", func(to string) error {
			return errors.Join(os.RemoveAll(to+"/sub"), os.Symlink(outside, to+"/sub"))
		}},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			to := t.TempDir()
			e := delivering(t, to)
			e.Delivery.Mode = 0o640
			deliver(t, e, tree(t, versionOne))
			if err := row.change(to); err != nil {
				t.Fatal(err)
			}
			got := takeBack(t, e)
			if len(got) != 1 || got[0].Removed != 2 || !slices.Equal(got[0].Left, []string{row.left}) || got[0].Err != nil {
				t.Errorf("%+v", got)
			}
			left, err := os.ReadDir(to)
			if err != nil || len(left) != 1 || left[0].Name() != strings.Split(row.left, "/")[0] {
				t.Errorf("the folder holds %v, %v", left, err)
			}
			checkFolder(t, outside, map[string]string{"b.db": "same", "deep/b.db": "same"})
			checkForgotten(t, e)
		})
	}
}

func TestWhatAnotherEngineIsDeliveredStays(t *testing.T) {
	for name, mode := range map[string]uint32{"links": 0, "copies": 0o640} {
		t.Run(name, func(t *testing.T) {
			to, one := t.TempDir(), tree(t, versionOne)
			e := delivering(t, to)
			e.Delivery.Mode = mode
			deliver(t, e, one)
			t.Run("of another base, in the same folder", func(t *testing.T) {
				other := &modules.Engine{Base: "other", Delivery: &modules.Delivery{To: to, StateDir: e.Delivery.StateDir, Mode: mode}}
				deliver(t, other, tree(t, map[string]string{"a.db": "one"}))
				if got := takeBack(t, e, other); len(got) != 1 || got[0].Removed != 2 || len(got[0].Left) > 0 || got[0].Err != nil {
					t.Errorf("%+v", got)
				}
				checkFolder(t, to, map[string]string{"a.db": "one"})
				takeBack(t, e)
				checkFolder(t, to, map[string]string{})
			})
			t.Run("by another name of the same folder", func(t *testing.T) {
				deliver(t, e, one)
				alias := filepath.Join(t.TempDir(), "alias")
				if err := os.Symlink(to, alias); err != nil {
					t.Fatal(err)
				}
				now := &modules.Engine{Base: e.Base, Delivery: &modules.Delivery{To: alias, StateDir: e.Delivery.StateDir, Mode: mode}}
				deliver(t, now, one)
				if got := takeBack(t, e, now); len(got) != 1 || got[0].Removed != 0 || len(got[0].Left) > 0 || got[0].Err != nil {
					t.Errorf("%+v", got)
				}
				checkFolder(t, to, versionOne)
			})
		})
	}
}

func TestAFolderThatIsNotThereOrARecordThatIsDamaged(t *testing.T) {
	to := filepath.Join(t.TempDir(), "engine")
	e := delivering(t, to)
	begin := func() string {
		if err := os.MkdirAll(to, 0o755); err != nil {
			t.Fatal(err)
		}
		deliver(t, e, tree(t, versionOne))
		files, _ := filepath.Glob(filepath.Join(e.Delivery.StateDir, "delivered", "*.json"))
		return files[0]
	}
	begin()
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	if got := takeBack(t, e); len(got) != 1 || got[0].Err != nil {
		t.Errorf("without the folder: %+v", got)
	}
	checkForgotten(t, e)

	record := begin()
	whole, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := tree(t, versionOne)
	for _, damaged := range []string{"{", strings.Replace(string(whole), to, elsewhere, 1), strings.Replace(string(whole), "a.db", "../a.db", 1)} {
		if err := os.WriteFile(record, []byte(damaged), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := takeBack(t, e); len(got) != 1 || got[0].Err == nil || !strings.Contains(got[0].Err.Error(), "damaged") {
			t.Errorf("%s: %+v", damaged, got)
		}
		checkFolder(t, to, versionOne)
		checkFolder(t, elsewhere, versionOne)
	}
}

func TestWhatWasMadeToBeDeliveredGoesToo(t *testing.T) {
	to, state := t.TempDir(), t.TempDir()
	e := modules.From(settings.Base{Name: "av", Engine: settings.EngineClamAV, Deliver: &settings.Deliver{To: to}, ClamAV: &settings.ClamAV{}}, state)
	deliver(t, e, tree(t, map[string]string{"a.hdb": "x"}))
	if there, _ := os.ReadDir(to); len(there) != 2 {
		t.Fatalf("%v", there)
	}
	plain := &modules.Engine{Base: "av", Delivery: &modules.Delivery{To: to, StateDir: state}}
	if got := takeBack(t, e, plain); len(got) != 1 || got[0].Removed != 1 {
		t.Errorf("the marker alone: %+v", got)
	}
	checkFolder(t, to, map[string]string{"a.hdb": "x"})
	takeBack(t, e)
	checkFolder(t, to, map[string]string{})
	checkForgotten(t, e)
}

// TestTakingBackThatEndsAnywhereIsTakenUpAgain stops it before and after each
// step, also of a delivery that was itself killed half way.
func TestTakingBackThatEndsAnywhereIsTakenUpAgain(t *testing.T) {
	cases := 0
	for _, mode := range []uint32{0, 0o640} {
		for killed := range 16 { // 0: the delivery was complete
			for _, happened := range []bool{false, true} {
				for stop := 1; takeBackStops(t, mode, killed, stop, happened); stop++ {
					cases++
				}
				if t.Failed() {
					t.Fatalf("mode %o, delivery killed at step %d, the last step done: %v", mode, killed, happened)
				}
			}
		}
	}
	if t.Logf("%d cases", cases); cases < 200 {
		t.Errorf("only %d cases", cases)
	}
}

// takeBackStops stops taking back at a step; false where there are not as many.
func takeBackStops(t *testing.T, mode uint32, killed, stop int, happened bool) bool {
	t.Helper()
	theirs := map[string]string{"theirs": "t", "sub/theirs": "t"}
	to := tree(t, theirs)
	e := delivering(t, to)
	version := filepath.Join(e.Delivery.StateDir, "bases/hashes/1-x")
	write(t, version, versionOne)
	e.Delivery.Mode = mode
	e.Disk = endingAt(killed, false)
	if err := deliverTo(e, version); err != nil && killed == 0 {
		t.Fatal(err)
	}
	hit := false
	for _, got := range modules.TakeBack(t.Context(), endingAt(stop, happened), e.Delivery.StateDir, nil) {
		hit = hit || got.Err != nil
		if len(got.Left) > 0 {
			t.Errorf("left: %v", got.Left)
		}
	}
	if hit {
		for _, got := range takeBack(t, e) {
			if got.Err != nil || len(got.Left) > 0 {
				t.Errorf("the next time: %+v", got)
			}
		}
	}
	checkFolder(t, to, theirs)
	checkFolder(t, version, versionOne)
	checkForgotten(t, e)
	return hit && !t.Failed()
}

// endingAt is the disk of a process that ends at its n-th step, or after it.
func endingAt(n int, after bool) *durable.Disk {
	seen := 0
	end := func(op, path string) error {
		if seen++; n > 0 && seen >= n {
			return fmt.Errorf("%s %s: stopped", op, path)
		}
		return nil
	}
	if after {
		return &durable.Disk{After: end}
	}
	return &durable.Disk{Step: end}
}

// TestTheRecordIsForgottenLast: what the power cut after it brings back must
// still be known.
func TestTheRecordIsForgottenLast(t *testing.T) {
	to := t.TempDir()
	e := delivering(t, to)
	deliver(t, e, tree(t, versionOne))
	var removed []string // and not yet synced
	record := false
	disk := &durable.Disk{After: func(op, path string) error {
		switch dir := filepath.Dir(path); {
		case op == "syncdir":
			removed = slices.DeleteFunc(removed, func(d string) bool { return d == path || strings.HasPrefix(d, path+"/") && !exists(d) })
		case op == "remove" && strings.HasPrefix(path, to+"/"):
			removed = append(removed, dir)
		case op == "remove":
			if record = true; len(removed) > 0 {
				t.Errorf("%s is gone, and the names in %v are not synced", path, removed)
			}
		}
		return nil
	}}
	if got := modules.TakeBack(t.Context(), disk, e.Delivery.StateDir, nil); len(got) != 1 || got[0].Err != nil || !record {
		t.Errorf("%+v; the record went: %v", got, record)
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
