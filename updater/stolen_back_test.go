package updater_test

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/freshet/freshet/publish"
	"github.com/freshet/freshet/updater"
)

// TestAVersionLeftByHandIsHeldBackThoughItsNumberIsLower goes back from the
// publisher's version, made with new keys, to the thief's with a higher number.
func TestAVersionLeftByHandIsHeldBackThoughItsNumberIsLower(t *testing.T) {
	w := newWorld(t)
	w.publish("list", records(1, 300))
	w.update(updater.Updated)
	f := loadForger(t, w.repo.Dir, filepath.Join(filepath.Dir(w.repo.Dir), "keys"))
	m := f.next(records(66, 300))
	m.Version = math.MaxInt64
	w.content[fmt.Sprintf("list/%d", m.Version)] = records(66, 300)
	f.release(m)
	w.update(updater.Updated)
	if _, err := w.repo.ReplaceKeys(t.Context(), publish.Rotation{What: []string{"bases", "snapshot", "timestamp"}}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "list.txt")
	if err := os.WriteFile(path, []byte(records(2, 300)), 0o644); err != nil {
		t.Fatal(err)
	}
	w.content["list/2"] = records(2, 300)
	if _, err := w.repo.Publish(t.Context(), publish.Release{Name: "list", Path: path, Version: 2}); err != nil {
		t.Fatal(err)
	}
	w.update(updater.Updated)
	w.expect("list", 2)

	if _, err := w.updater().GoBack(t.Context(), 0, false); err != nil {
		t.Fatal(err)
	}
	w.expect("list", math.MaxInt64)
	if res := w.updater().Run(t.Context(), "test", nil); res.Outcome == updater.Updated {
		t.Errorf("the version that an operator left came back: %+v", res.Bases)
	}
	w.expect("list", math.MaxInt64)
	w.publish("list", records(3, 300))
	w.update(updater.Updated)
	w.expect("list", 3)
}
