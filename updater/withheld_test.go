package updater_test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/updater"
)

// withhold has a mirror answer for the files of a pattern that they are not there.
func withhold(m *mirror, pattern string, code int) {
	m.serve(func(w http.ResponseWriter, r *http.Request) bool {
		ok, _ := filepath.Match(pattern, r.URL.Path)
		if ok {
			w.WriteHeader(code)
		}
		return ok
	})
}

// TestAMirrorThatWithholdsStarvesNobody has the first mirror relay the newest
// timestamp, and not give a file that it leads to.
func TestAMirrorThatWithholdsStarvesNobody(t *testing.T) {
	s := newStage(t)
	rows := []struct {
		name, file string
		code       int
	}{
		{"the snapshot", "/metadata/4.snapshot.json", 404},
		{"the snapshot, as buckets do", "/metadata/4.snapshot.json", 403},
		{"the snapshot, by failing at it", "/metadata/4.snapshot.json", 500},
		{"the list of bases", "/metadata/4.bases.json", 404},
		{"the manifest", "/targets/bases/*", 404},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			for _, fresh := range []bool{false, true} {
				a := s.attack(t)
				if fresh {
					if err := os.RemoveAll(filepath.Join(a.world.dir, "state")); err != nil {
						t.Fatal(err)
					}
					a.fresh = true
				}
				withhold(a.mirror, r.file, r.code)
				a.become(a.good, 2) // whole, and behind
				want := updater.NothingNew
				if fresh {
					want = updater.Updated
				}
				for range 2 {
					a.outcome(want, a.mirror, a.good)
					a.told(event.SourceWithholds, "status", "administrator")
					if a.saw(event.SourceBehind) {
						t.Errorf("the whole mirror is taken for one that is behind:\n%s", a.events())
					}
					a.expect("list", 2)
					want, a.fresh = updater.NothingNew, false
				}
				// Below the last complete set nothing is accepted.
				a.become(a.good, 1)
				a.run(a.mirror, a.good)
				a.told(event.SourceBehind, "timestamp", "administrator")
				a.expect("list", 2)
				// The named files are taken from any source.
				a.become(a.good, 3)
				a.outcome(updater.Updated, a.mirror, a.good)
				a.told(event.SourceWithholds, "status", "administrator")
				a.expect("list", 3)
				a.become(a.good, 2)
				a.mirror.serve(func(w http.ResponseWriter, r *http.Request) bool { w.WriteHeader(500); return true })
				a.run(a.mirror, a.good)
				a.told(event.SourceBehind, "timestamp", "administrator")
				a.expect("list", 3)
			}
		})
	}
}

// TestOfTwoOlderSetsTheNewerIsTaken has the newest set be withheld before any was
// complete, and two whole mirrors behind it.
func TestOfTwoOlderSetsTheNewerIsTaken(t *testing.T) {
	s := newStage(t)
	for _, row := range []struct{ first, second int }{{2, 1}, {1, 2}} {
		a := s.attack(t)
		a.forget()
		withhold(a.mirror, "/metadata/4.snapshot.json", 404)
		first, second := a.newMirror(row.first), a.newMirror(row.second)
		a.outcome(updater.Updated, a.mirror, first, second)
		a.expect("list", 2)
		a.told(event.SourceBehind, "signed at", "administrator")
	}
}

// TestOneManifestThatIsMissingStopsNoOtherBase has no source that gives it.
func TestOneManifestThatIsMissingStopsNoOtherBase(t *testing.T) {
	s := newStage(t)
	a := s.attack(t)
	a.publish("other", records(1, 100))
	a.world.content["list/4"] = records(4, 8000)
	a.publish("list", a.world.content["list/4"])
	withhold(a.mirror, "/targets/bases/*.other.json", 404)
	res := a.run(a.mirror)
	if res.Outcome != updater.Partly {
		t.Errorf("%q (%s)\n%s", res.Outcome, res.Error, a.events())
	}
	a.expect("list", 4)
	a.told(event.SourceWithholds, "other", "administrator")
	a.run(a.good) // an older set would offer less than what is installed
	a.told(event.SourceBehind, "timestamp", "administrator")
	if a.saw(event.BaseRefused) {
		t.Errorf("a mirror that is behind is taken for a publisher that goes back:\n%s", a.events())
	}
	a.mirror.serve(nil)
	a.outcome(updater.Updated, a.mirror)
	a.expect("other", 1)
}

// TestASetWithoutItsBlobsIsNotComplete has all sources give its metadata alone.
func TestASetWithoutItsBlobsIsNotComplete(t *testing.T) {
	a := newStage(t).attack(t)
	withhold(a.mirror, "/blobs/*", 404)
	withhold(a.good, "/blobs/*", 404)
	a.outcome(updater.Failed, a.mirror, a.good)
	a.become(a.good, 2)
	a.outcome(updater.NothingNew, a.good)
	if a.saw(event.SourceBehind) {
		t.Errorf("a set that nobody could have is held against another:\n%s", a.events())
	}
	a.mirror.serve(nil)
	a.outcome(updater.Updated, a.mirror)
	a.run(a.good)
	a.told(event.SourceBehind, "timestamp", "administrator")
	a.expect("list", 3)
}
