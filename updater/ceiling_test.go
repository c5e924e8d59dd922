package updater_test

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/updater"
)

// used is what the state folder takes.
func (w *world) used() int64 { w.t.Helper(); return w.plan().Used }

// tight is a world whose state folder has a ceiling, and what events say there.
type tight struct {
	*world
	told []string
}

func newTight(t *testing.T) *tight { return &tight{world: newWorld(t)} }

func (w *tight) ceiling(bytes int64) func(*updater.Updater) {
	w.events, w.told = nil, nil
	return func(u *updater.Updater) {
		emit := u.Emit
		u.Ceiling = bytes
		u.Emit = func(c event.Code, fields map[string]string) {
			w.told = append(w.told, event.New(time.Time{}, c, fields).Text)
			emit(c, fields)
		}
	}
}

// spoil flips a bit of an installed version of hosts, by a glob of its folder.
func (w *world) spoil(version string) {
	w.t.Helper()
	paths, _ := filepath.Glob(filepath.Join(w.dir, "state", "bases", "hosts", version, "hosts.txt"))
	if len(paths) != 1 {
		w.t.Fatalf("%s: %v", version, paths)
	}
	if err := damages["a bit flipped"](paths[0]); err != nil {
		w.t.Fatal(err)
	}
}

// saysCeiling holds an error, and the event, against what an operator needs.
func (w *tight) saysCeiling(text, what string) {
	w.t.Helper()
	for _, want := range []string{"the disk ceiling of ", " takes ", " more are needed", "raise disk.ceiling in the settings"} {
		if !strings.Contains(text, want) {
			w.t.Errorf("it does not say %q: %s", want, text)
		}
	}
	if !slices.ContainsFunc(w.told, func(e string) bool { return strings.HasPrefix(e, what+" does not fit below the disk ceiling") }) {
		w.t.Errorf("no event tells of %s: %q", what, w.told)
	}
}

func TestRepairKeepsToTheCeilingBeforeTheFirstByte(t *testing.T) {
	w := newTight(t)
	w.publish("hosts", records(1, 40_000))
	w.update(updater.Updated)
	w.spoil("1-*")
	asked, used := w.fetched(), w.used()
	found, err := w.updater(w.ceiling(used+100_000)).Repair(t.Context(), nil, nil)
	if err != nil || len(found) != 1 || found[0].Error == "" || found[0].Repaired {
		t.Fatalf("%+v, %v", found, err)
	}
	w.saysCeiling(found[0].Error, "base hosts")
	if n := asked.Load(); n > 0 || w.used() > used {
		t.Errorf("%d files were fetched, %d bytes came", n, w.used()-used)
	}
	found, err = w.updater(w.ceiling(3*used)).Repair(t.Context(), nil, nil)
	if err != nil || !found[0].Repaired {
		t.Fatalf("%+v, %v", found, err)
	}
	w.expect("hosts", 1)
}

func TestVersionsToGoBackToMakeRoomForARepair(t *testing.T) {
	w := newTight(t)
	w.publish("hosts", records(1, 40_000), daysAgo(1))
	w.update(updater.Updated)
	w.publish("hosts", records(2, 40_000))
	w.update(updater.Updated)
	w.spoil("1-*")
	w.spoil("2-*")
	found, err := w.updater(w.ceiling(w.used()+200_000)).Repair(t.Context(), nil, nil)
	if err != nil || len(found) != 1 || found[0].Version != 2 || !found[0].Repaired {
		t.Fatalf("%+v, %v", found, err)
	}
	if !w.saw(event.VersionGivenUp) || w.saw(event.DiskCeiling) {
		t.Errorf("%v", w.events)
	}
	w.expect("hosts", 2)
}

func TestAVersionToGoBackToTakesNoRoomFromOthers(t *testing.T) {
	w := newTight(t)
	w.publish("urls", records(1, 40_000))
	w.publish("hosts", records(1, 40_000))
	w.update(updater.Updated)
	w.publish("urls", records(2, 40_000))
	w.publish("hosts", records(2, 40_000))
	w.update(updater.Updated)
	w.spoil("1-*")
	used := w.used()
	found, err := w.updater(w.ceiling(used)).Repair(t.Context(), []string{"hosts"}, nil)
	if err != nil || len(found) != 2 || found[0].Error != "" || found[1].Error == "" {
		t.Fatalf("%+v, %v", found, err)
	}
	if w.saw(event.VersionGivenUp) {
		t.Errorf("a version was given up for one that is not in use: %v", w.events)
	}
}

func TestTheWayAfterAFailedDeltaKeepsToTheCeiling(t *testing.T) {
	w := newTight(t)
	w.publish("hosts", records(1, 40_000), daysAgo(1))
	w.update(updater.Updated)
	w.publish("hosts", records(2, 40_000))
	p := w.plan()
	full := p.Bases[0].Full
	var whole int64
	w.serve(func(rw http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, "/blobs/") {
			return false
		}
		if st, err := os.Stat(filepath.Join(w.repo.Dir, r.URL.Path)); err == nil && st.Size() == full {
			whole++
		}
		rw.WriteHeader(http.StatusNotFound)
		return true
	})
	res := w.updater(w.ceiling(p.Used+p.Disk+1000)).Run(t.Context(), "test", nil)
	if res.Outcome != updater.Failed || whole != 0 {
		t.Fatalf("the full image was asked for %d times: %+v", whole, res)
	}
	w.saysCeiling(res.Error, "base hosts")
	w.expect("hosts", 1)
}

func TestModulesKeepToTheCeilingBeforeTheFirstByte(t *testing.T) {
	w := newTight(t)
	w.publish("hosts", records(1, 100))
	w.publishModule("scanner", "1.0.0")
	wants := policy("1.0.0", named("scanner", updater.ModulesInstall))
	w.update(updater.Updated, policy("1.0.0"))
	asked, used := w.fetched(), w.used()
	res := w.updater(wants, w.ceiling(used+1000)).Run(t.Context(), "test", nil)
	if len(res.Modules) != 1 || res.Modules[0].Error == "" {
		t.Fatalf("%+v", res)
	}
	w.saysCeiling(res.Modules[0].Error, "module scanner")
	if n := asked.Load(); n > 0 {
		t.Errorf("%d files were fetched", n)
	}
	w.update(updater.Updated, wants)
	w.judge(true)

	slots, _ := filepath.Glob(filepath.Join(w.dir, "state", "modules", "scanner", "*", "share", "data.txt"))
	if len(slots) != 1 {
		t.Fatal(slots)
	}
	if err := os.Chmod(slots[0], 0o644); err != nil {
		t.Fatal(err)
	}
	if err := damages["a bit flipped"](slots[0]); err != nil {
		t.Fatal(err)
	}
	asked.Store(0)
	found, err := w.updater(wants, w.ceiling(w.used()+1000)).VerifyModules(t.Context(), true, nil)
	if err != nil || len(found) != 1 || found[0].Repaired {
		t.Fatalf("%+v, %v", found, err)
	}
	w.saysCeiling(found[0].Error, "module scanner")
	if n := asked.Load(); n > 0 {
		t.Errorf("%d files were fetched for a repair", n)
	}
	found, err = w.updater(wants).VerifyModules(t.Context(), true, nil)
	if err != nil || !found[0].Repaired {
		t.Fatalf("%+v, %v", found, err)
	}
}
