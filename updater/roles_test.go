package updater_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/clock"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/publish"
	"github.com/freshet/freshet/updater"
)

// goTo moves the clocks of publisher and endpoint.
func (w *world) goTo(at time.Time) func(*updater.Updater) {
	c := &clock.Clock{Wall: func() time.Time { return at }}
	w.repo.Clock = c
	return func(u *updater.Updater) { u.Clock = c }
}

// TestAListOfModulesThatNamesNothingMayExpire lives on for 100 days beside a publisher
// who has no modules, and never takes the offline keys of that role out.
func TestAListOfModulesThatNamesNothingMayExpire(t *testing.T) {
	w := newWorld(t)
	w.publish("list", records(1, 500))
	w.update(updater.Updated, policy("1.0.0"))
	late := w.goTo(time.Now().Add(100 * 24 * time.Hour))
	w.publish("list", records(2, 500))
	w.update(updater.Updated, policy("1.0.0"), late)
	res := w.update(updater.NothingNew, policy("1.0.0"), late)
	if w.saw(event.MetadataExpired) || len(res.Modules) > 0 || res.Requests != 2 {
		t.Errorf("%+v, %v", res, w.events)
	}
	roles, err := updater.Roles(w.updater(policy("1.0.0"), late))
	if err != nil || len(roles) != 6 {
		t.Fatalf("%+v, %v", roles, err)
	}
	for _, r := range roles {
		if expired := r.Expires.Before(w.repo.Clock.Now()); expired != (r.Role == "modules") || r.Unneeded != (r.Role == "modules") {
			t.Errorf("%+v", r)
		}
	}
	t.Run("where a module is wanted it is told as before", func(t *testing.T) {
		w.update(updater.Failed, policy("1.0.0", named("scanner", "")), late)
		if !w.saw(event.MetadataExpired) {
			t.Errorf("%v", w.events)
		}
	})
	t.Run("where one is installed too", func(t *testing.T) {
		w := newWorld(t)
		w.publish("list", records(1, 500))
		w.publishModule("scanner", "1.0.0")
		w.update(updater.Updated, policy("1.0.0", named("scanner", "")))
		w.judge(true)
		late := w.goTo(time.Now().Add(100 * 24 * time.Hour))
		w.publish("list", records(2, 500))
		w.update(updater.Partly, policy("1.0.0"), late)
		if !w.saw(event.MetadataExpired) {
			t.Errorf("%v", w.events)
		}
	})
}

// copied is a copy of the publisher as it is now.
func (w *world) copied() *publish.Repository {
	w.t.Helper()
	dir := filepath.Join(w.t.TempDir(), "repo")
	if err := os.CopyFS(dir, os.DirFS(w.repo.Dir)); err != nil {
		w.t.Fatal(err)
	}
	return &publish.Repository{Dir: dir, Keys: []string{filepath.Join(filepath.Dir(w.repo.Dir), "keys")}}
}

// TestAPublisherThatCameBackFromABackup signs numbers a second time.
func TestAPublisherThatCameBackFromABackup(t *testing.T) {
	w := newWorld(t)
	w.publish("list", records(1, 500))
	backup := w.copied()
	w.publish("list", records(2, 500))
	w.update(updater.Updated)

	w.repo.Dir, w.repo.Keys = swap(t, w.repo.Dir, backup.Dir), backup.Keys
	res := w.update(updater.NothingNew)
	if res.Reason != updater.ReasonBehind || res.Hint == "" || !strings.Contains(res.Error, "version 2, but version 3 was seen") {
		t.Errorf("numbers below those seen: %+v", res)
	}
	if !w.saw(event.SourcesBehind) || w.saw(event.UpdateFailed) {
		t.Errorf("numbers below those seen: %v", w.events)
	}
	w.publish("other", records(7, 500))
	res = w.update(updater.NothingNew)
	if !w.saw(event.NumbersReused) || res.Reason != "" || len(res.Notes) != 1 || !strings.Contains(res.Notes[0], "timestamp metadata: reused: version 3") {
		t.Errorf("the number of the timestamp again: %+v, %v", res, w.events)
	}
	swap(t, w.repo.Dir, backup.Dir)
	for range 2 {
		if _, err := w.repo.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	w.publish("list", records(3, 500), func(rel *publish.Release) { rel.Version = 3 })
	res = w.update(updater.Updated)
	if notes := strings.Join(res.Notes, "\n"); !w.saw(event.NumbersReused) || !strings.Contains(notes, "snapshot metadata") || !strings.Contains(notes, "bases metadata") {
		t.Errorf("the numbers of snapshot and bases again: %+v, %v", res, w.events)
	}
	w.expect("list", 3)
	w.update(updater.NothingNew)
	if w.saw(event.NumbersReused) || w.saw(event.SourcesBehind) {
		t.Errorf("when all is well again: %v", w.events)
	}
}

// swap puts the folder from in the place of dir, which web servers go on reading.
func swap(t *testing.T, dir, from string) string {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return dir
}
