package updater_test

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/internal/source"
	"github.com/freshet/freshet/publish"
	"github.com/freshet/freshet/updater"
)

// TestAThiefOfTheOnlineKeysCannotEndABase has all keys that lie online stolen,
// and a version signed that nothing could follow. Once the keys are replaced
// the publisher's own versions do.
func TestAThiefOfTheOnlineKeysCannotEndABase(t *testing.T) {
	for _, row := range []struct {
		name   string
		forge  func(f *forger, m *bases.Manifest)
		before func(w *world) // what happens before the keys are replaced
	}{
		{"the highest version that there is", func(_ *forger, m *bases.Manifest) { m.Version = math.MaxInt64 }, nil},
		{"the version that the publisher comes to next", func(*forger, *bases.Manifest) {}, nil},
		{"the highest version, and an operator rolled back", func(_ *forger, m *bases.Manifest) { m.Version = math.MaxInt64 }, func(w *world) {
			if _, err := w.updater().RollBack(w.t.Context(), nil); err != nil {
				w.t.Fatal(err)
			}
			w.expect("list", 2)
		}},
		{"signed and published ten years ahead", func(f *forger, m *bases.Manifest) {
			f.now = f.now.AddDate(10, 0, 0)
			m.Version, m.Published = math.MaxInt64, f.now
		}, nil}, // by that time the root has expired: nothing of it is installed
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			for v := 1; v <= 2; v++ {
				w.publish("list", records(v, 300))
				w.update(updater.Updated)
			}
			thief := filepath.Join(t.TempDir(), "mirror")
			if err := os.CopyFS(thief, os.DirFS(w.repo.Dir)); err != nil {
				t.Fatal(err)
			}
			f := loadForger(t, thief, filepath.Join(filepath.Dir(w.repo.Dir), "keys"))
			m := f.next(records(66, 300))
			row.forge(f, m)
			f.release(m)
			w.content[fmt.Sprintf("list/%d", m.Version)] = records(66, 300)
			from := func(u *updater.Updater) { u.Sources = []source.Source{&source.Folder{Path: thief}} }
			if m.Published.Before(time.Now().AddDate(1, 0, 0)) {
				w.update(updater.Updated, from)
				w.expect("list", m.Version)
			} else {
				w.update(updater.Failed, from)
				w.expect("list", 2)
			}
			if row.before != nil {
				row.before(w)
			}
			own := records(3, 300)
			w.content["list/own"] = own
			path := filepath.Join(t.TempDir(), "list.txt")
			if err := os.WriteFile(path, []byte(own), 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := w.repo.ReplaceKeys(t.Context(), publish.Rotation{What: []string{"bases", "snapshot", "timestamp"}}); err != nil {
				t.Fatal(err)
			}
			if _, err := w.repo.Publish(t.Context(), publish.Release{Name: "list", Path: path}); err != nil {
				t.Fatal(err)
			}
			w.update(updater.Updated)
			if v, content := w.installed("list"); v != 3 || content != own {
				t.Fatalf("version %d", v)
			}
			w.update(updater.NothingNew, from) // the thief tries it again
			if v, content := w.installed("list"); v != 3 || content != own {
				t.Fatalf("version %d after the thief came again", v)
			}
			w.publish("list", records(4, 300))
			w.update(updater.Updated)
			w.expect("list", 4)
			w.checkTidy()
			if held, err := w.updater().Release(t.Context(), "list"); err == nil {
				t.Errorf("still held back: %+v", held)
			}
		})
	}
}

// TestAPublisherWithTheThiefsVersionsBeginsAgain has the thief sit at the
// publisher: its own repository is at versions that nothing follows.
func TestAPublisherWithTheThiefsVersionsBeginsAgain(t *testing.T) {
	w := newWorld(t)
	w.publish("list", records(1, 300))
	w.update(updater.Updated)
	f := loadForger(t, w.repo.Dir, filepath.Join(filepath.Dir(w.repo.Dir), "keys"))
	m := f.next(records(66, 300))
	m.Version = math.MaxInt64
	w.content[fmt.Sprintf("list/%d", m.Version)] = records(66, 300)
	f.roles["bases"].Signed.Version, f.snapshot.Signed.Version, f.timestamp.Signed.Version = math.MaxInt64-1, math.MaxInt64-1, math.MaxInt64-1
	f.release(m)
	w.update(updater.Updated)

	path := filepath.Join(t.TempDir(), "list.txt")
	if err := os.WriteFile(path, []byte(records(2, 300)), 0o644); err != nil {
		t.Fatal(err)
	}
	w.content["list/2"] = records(2, 300)
	again := publish.Release{Name: "list", Path: path}
	if _, err := w.repo.Publish(t.Context(), again); err == nil || !strings.Contains(err.Error(), "which no publisher comes to by counting") {
		t.Errorf("publishing above it: %v", err)
	}
	if _, err := w.repo.ReplaceKeys(t.Context(), publish.Rotation{What: []string{"bases", "snapshot", "timestamp"}}); err != nil {
		t.Fatal(err)
	}
	again.Version = 2
	if _, err := w.repo.Publish(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	w.update(updater.Updated)
	w.expect("list", 2)
	w.publish("list", records(3, 300))
	w.update(updater.Updated)
	w.expect("list", 3)
	if v, err := w.repo.Verify(t.Context()); err != nil || len(v.Wrong) > 0 {
		t.Errorf("%+v, %v", v, err)
	}
}

// TestALowerVersionIsRefusedAsLongAsTheKeysStay holds the rule against what it
// must not let in.
func TestALowerVersionIsRefusedAsLongAsTheKeysStay(t *testing.T) {
	w := newWorld(t)
	for v := 1; v <= 3; v++ {
		w.publish("list", records(v, 300))
	}
	w.update(updater.Updated)
	f := loadForger(t, w.repo.Dir, filepath.Join(filepath.Dir(w.repo.Dir), "keys"))
	m := f.next(records(2, 300))
	m.Version = 2
	f.now = f.now.Add(time.Second)
	f.release(m)
	res := w.update(updater.Failed)
	if !strings.Contains(res.Error, "version 2 is offered, 3 is installed") {
		t.Errorf("%s", res.Error)
	}
	// Keys of other roles set nothing free.
	if _, err := w.repo.ReplaceKeys(t.Context(), publish.Rotation{What: []string{"snapshot", "timestamp"}}); err != nil {
		t.Fatal(err)
	}
	res = w.update(updater.Failed)
	if !strings.Contains(res.Error, "version 2 is offered, 3 is installed") {
		t.Errorf("%s", res.Error)
	}
	w.expect("list", 3)
}
