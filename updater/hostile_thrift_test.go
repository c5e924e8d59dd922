package updater_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/updater"
)

func TestAMirrorThatDoesNotResumeStillGivesTheWhole(t *testing.T) {
	s := newStage(t)
	rows := []struct {
		name string
		rest func(w http.ResponseWriter)
	}{
		{"it refuses the range", func(w http.ResponseWriter) { w.WriteHeader(http.StatusRequestedRangeNotSatisfiable) }},
		{"it gives another range", func(w http.ResponseWriter) {
			w.Header().Set("Content-Range", "bytes 0-0/1")
			w.WriteHeader(http.StatusPartialContent)
			w.Write([]byte("x"))
		}},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			a := s.attack(t)
			broken := false
			a.mirror.serve(func(w http.ResponseWriter, q *http.Request) bool {
				switch {
				case !isBlob(q):
					return false
				case !broken:
					broken = true
					half(a, w, q)
					return true
				case q.Header.Get("Range") != "":
					r.rest(w)
					return true
				}
				return false
			})
			a.outcome(updater.Failed, a.mirror)
			a.outcome(updater.Updated, a.mirror)
			if a.saw(event.DeltaFailed) {
				t.Errorf("the delta was given up:\n%s", a.events())
			}
			a.expect("list", 3)
		})
	}
}

// TestAFullImageThatCameWrongIsNotFetchedEachHour has a mirror spoil all
// content: the schedule asks again in six hours, a person at once.
func TestAFullImageThatCameWrongIsNotFetchedEachHour(t *testing.T) {
	s := newStage(t)
	spoilt := func(t *testing.T) *attack {
		a := s.attack(t)
		a.mirror.serve(func(w http.ResponseWriter, r *http.Request) bool {
			if isBlob(r) {
				data, _ := os.ReadFile(filepath.Join(a.mirror.dir, r.URL.Path))
				w.Write(make([]byte, len(data)))
			}
			return isBlob(r)
		})
		a.outcome(updater.Failed, a.mirror)
		before := a.mirror.bytes.Load()
		for hour := 1; hour < 6; hour++ {
			a.later(time.Duration(hour) * time.Hour)
			a.outcome(updater.Failed, a.mirror)
			a.told(event.BaseUpdateFailed, "is not fetched again before", "the installed version stays in use")
		}
		if spent := a.mirror.bytes.Load() - before; spent > 5*small {
			t.Errorf("%d bytes were spent in five hours, the full image has %d", spent, a.full)
		}
		a.mirror.serve(nil)
		os.Remove(filepath.Join(a.mirror.dir, manifestIn(t, a.mirror.dir, "list").Deltas[0].Path()))
		os.Remove(filepath.Join(a.mirror.dir, manifestIn(t, a.mirror.dir, "list").Deltas[1].Path()))
		return a
	}
	rows := []struct {
		name  string
		then  func(a *attack)
		other bool
	}{
		{"after six hours the schedule fetches it", func(a *attack) { a.later(7 * time.Hour) }, false},
		{"a person who asks gets it at once", func(a *attack) { a.why = "by hand" }, false},
		{"other sources are asked at once", func(*attack) {}, true},
		{"a clock set back does not hold it up", func(a *attack) { a.later(-time.Hour) }, false},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			a := spoilt(t)
			r.then(a)
			mirrors := []*mirror{a.mirror}
			if r.other {
				mirrors = append(mirrors, a.good)
			}
			a.outcome(updater.Updated, mirrors...)
			a.expect("list", 3)
			a.checkTidy()
		})
	}
}

// TestDownloadsOfWhatIsNoLongerOnOfferAreRemoved has a mirror die half way
// through each of many versions.
func TestDownloadsOfWhatIsNoLongerOnOfferAreRemoved(t *testing.T) {
	a := newStage(t).attack(t)
	a.mirror.serve(func(w http.ResponseWriter, r *http.Request) bool {
		if isBlob(r) {
			half(a, w, r)
		}
		return isBlob(r)
	})
	for range 4 {
		a.outcome(updater.Failed, a.mirror)
		parts, _ := filepath.Glob(filepath.Join(a.world.dir, "state/tmp/*"))
		if len(parts) != 1 || !strings.HasSuffix(parts[0], ".part") {
			t.Errorf("left over: %v", parts)
		}
		a.release(a.mirror)
	}
	a.mirror.serve(nil)
	a.outcome(updater.Updated, a.mirror)
	a.expect("list", 7)
	a.checkTidy()
}

func TestABaseThatDoesNotFitDoesNotHoldUpTheOthers(t *testing.T) {
	a := newStage(t).attack(t)
	f := a.forger()
	huge := f.next(records(4, 8000))
	huge.Name, huge.Image.Size = "huge", 1<<40
	f.release(huge)
	a.outcome(updater.Partly, a.mirror)
	a.told(event.DiskFull, fmt.Sprint(a.world.dir), "free some space")
	a.expect("list", 3)
}

// TestAFileThatASourceFailsAtIsGoneAround has a mirror answer for one delta as
// servers do that do not list, or are broken at one file: another path leads to
// the version, for a failure of the mirror's own after some runs.
func TestAFileThatASourceFailsAtIsGoneAround(t *testing.T) {
	s := newStage(t)
	rows := []struct {
		status, runs int
		header       []string
	}{
		{http.StatusForbidden, 1, nil},
		{http.StatusInternalServerError, 3, nil},
		{http.StatusBadGateway, 3, nil},
		{http.StatusServiceUnavailable, 3, nil},
		{http.StatusServiceUnavailable, 0, []string{"Retry-After", "60"}},
		{http.StatusTooManyRequests, 0, nil},
		{http.StatusUnauthorized, 0, nil},
	}
	for _, r := range rows {
		t.Run(fmt.Sprint(r.status, r.header), func(t *testing.T) {
			t.Parallel()
			a := s.attack(t)
			bad := manifestIn(t, a.mirror.dir, "list").Deltas[0].Path()
			a.mirror.serve(func(w http.ResponseWriter, q *http.Request) bool {
				if q.URL.Path == "/"+bad {
					status(r.status, r.header...)(w, q)
				}
				return q.URL.Path == "/"+bad
			})
			for n := 1; n <= 4; n++ {
				if n == r.runs {
					a.outcome(updater.Updated, a.mirror)
					a.expect("list", 3)
					a.checkTidy()
					return
				}
				a.outcome(updater.Failed, a.mirror)
				a.expect("list", 2)
			}
			if r.runs > 0 {
				t.Errorf("it was not gone around in %d runs", r.runs)
			}
		})
	}
}

// TestAFailureThatPassesIsForgotten has a mirror fail at a delta twice: what it
// gives then is no reason to fetch more, nor are two failures later on.
func TestAFailureThatPassesIsForgotten(t *testing.T) {
	a := newStage(t).attack(t)
	down := func(w http.ResponseWriter, q *http.Request) bool {
		if isBlob(q) {
			w.WriteHeader(http.StatusBadGateway)
		}
		return isBlob(q)
	}
	a.mirror.serve(down)
	a.outcome(updater.Failed, a.mirror)
	a.outcome(updater.Failed, a.mirror)
	notes := func() int {
		list, _ := filepath.Glob(filepath.Join(a.world.dir, "state/spent/blob.*"))
		return len(list)
	}
	if notes() != 1 {
		t.Errorf("%d notes", notes())
	}
	a.mirror.serve(nil)
	a.outcome(updater.Updated, a.mirror)
	if a.saw(event.DeltaFailed) || notes() != 0 {
		t.Errorf("%d notes are left\n%s", notes(), a.events())
	}
}
