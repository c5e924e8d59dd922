package agent_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/clock"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/publish"
)

// quiet is a service whose daily tasks are off.
func (w *world) quiet() *service {
	w.t.Helper()
	s := w.start().settled()
	off := false
	s.change("PATCH", "/v1/tasks/6", api.TaskChange{Enabled: &off})
	s.change("PATCH", "/v1/tasks/8", api.TaskChange{Enabled: &off})
	return s
}

// signedAhead has the publisher sign once by a clock that is 30 days ahead.
func (w *world) signedAhead(now time.Time) {
	w.t.Helper()
	w.setClock(now)
	ahead := &publish.Repository{Dir: w.repo.Dir, Clock: &clock.Clock{Wall: func() time.Time { return now.AddDate(0, 0, 30) }}}
	if _, err := ahead.Refresh(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// TestAPublisherThatWasAhead has an endpoint with a synchronised clock see it: it is
// told, nothing grows old by it, and once the publisher is right again one run is
// all that it takes, without any key.
func TestAPublisherThatWasAhead(t *testing.T) {
	w := newWorld(t)
	w.sync.Store(int32(clock.Synchronised))
	now := *w.now.Load()
	w.publish("a.example")
	s := w.quiet()
	now = now.Add(time.Hour)
	w.signedAhead(now)
	res := s.run(api.TaskUpdate)
	if res.Outcome != api.NothingNew || !strings.Contains(strings.Join(res.Notes, "\n"), "the publisher signed in the future") {
		t.Fatalf("outcome %q (%s), notes %q", res.Outcome, res.Error, res.Notes)
	}
	w.eventually("it is told", func() bool { return s.events(event.SignedInFuture) == 1 })
	st := s.status()
	if st.State != "up to date" || !st.Now.Equal(now) || st.Bases[0].Age != 3600 {
		t.Fatalf("%s at %s, age %d: the publisher's clock counts", st.State, st.Now, st.Bases[0].Age)
	}
	s.stop()
	s = w.quiet()
	if st := s.status(); st.State != "up to date" || !st.Now.Equal(now) {
		t.Fatalf("after a restart: %s at %s", st.State, st.Now)
	}
	w.publish("b.example") // by the right clock
	if res := s.run(api.TaskUpdate); res.Outcome != api.Updated || len(res.Notes) > 0 {
		t.Fatalf("the first run after the fix: %q (%s), notes %q", res.Outcome, res.Error, res.Notes)
	}
	if n := s.events(event.BasesAreOutOfDate) + s.events(event.BasesAreTotallyOutOfDate) + s.events(event.MetadataExpired) + s.events(event.ClockBehind); n > 0 {
		t.Errorf("%d false alarms", n)
	}
}

// TestAPublisherThatWasAheadAndAClockThatNobodyKeeps has an endpoint whose clock is
// not known to be right: the time of signing counts. Either of two recoveries
// brings it back in one run: its clock is synchronised, or the key is replaced.
func TestAPublisherThatWasAheadAndAClockThatNobodyKeeps(t *testing.T) {
	for name, recover := range map[string]func(*world){
		"a synchronised clock": func(w *world) { w.sync.Store(int32(clock.Synchronised)) },
		"the key is replaced": func(w *world) {
			if _, err := w.repo.ReplaceKeys(w.t.Context(), publish.Rotation{What: []string{"timestamp"}}); err != nil {
				w.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.sync.Store(int32(clock.Unsynchronised))
			now := *w.now.Load()
			w.publish("a.example")
			s := w.quiet()
			w.signedAhead(now)
			if res := s.run(api.TaskUpdate); res.Outcome != api.NothingNew || !strings.Contains(strings.Join(res.Notes, "\n"), "30 d 0 h behind") {
				t.Fatalf("outcome %q (%s), notes %q", res.Outcome, res.Error, res.Notes)
			}
			w.eventually("it is told", func() bool { return s.events(event.ClockBehind) == 1 })
			w.publish("b.example")
			if res := s.run(api.TaskUpdate); res.Outcome != api.Failed || !strings.Contains(res.Error, "not known to be synchronised") {
				t.Fatalf("before the recovery: %q (%s)", res.Outcome, res.Error)
			}
			recover(w)
			if res := s.run(api.TaskUpdate); res.Outcome != api.Updated {
				t.Fatalf("the first run after the recovery: %q (%s)", res.Outcome, res.Error)
			}
			if st := s.status(); st.State != "up to date" || !st.Now.Equal(now) {
				t.Errorf("%s at %s", st.State, st.Now)
			}
		})
	}
}

// TestTLSTakesTheSignedTime has a board without a battery boot in 1970, after it
// learnt of a later time: certificates are not held against the former.
func TestTLSTakesTheSignedTime(t *testing.T) {
	w := newWorld(t)
	now := *w.now.Load()
	w.publish("a.example")
	w.quiet().stop()
	a := w.core()
	defer a.Close()
	for _, row := range []struct {
		clock time.Time
		sync  clock.Sync
		want  time.Time
	}{
		{time.Unix(0, 0), clock.Unsynchronised, now},
		{now.Add(time.Hour), clock.Unsynchronised, now.Add(time.Hour)},
		{now.Add(-time.Hour), clock.Synchronised, now},
		{now.AddDate(0, 0, -2), clock.Synchronised, now.AddDate(0, 0, -2)},
	} {
		w.setClock(row.clock)
		w.sync.Store(int32(row.sync))
		if got := a.TimeOfTLS(); !got.Equal(row.want) {
			t.Errorf("at %s (%v): %s, want %s", row.clock, row.sync, got, row.want)
		}
	}
}

// TestAnUpdateWithoutAServiceNamesTheClock, as nobody else does.
func TestAnUpdateWithoutAServiceNamesTheClock(t *testing.T) {
	w := newWorld(t)
	w.publish("a.example")
	w.quiet().stop()
	w.setClock(time.Unix(0, 0))
	a := w.core()
	defer a.Close()
	s := &service{Client: api.Local(a.Handler(), api.Caller{UID: os.Geteuid()}), w: w}
	res := s.run(api.TaskUpdate)
	if res.Outcome != api.NothingNew || !strings.Contains(strings.Join(res.Notes, "\n"), "clock is") || s.events(event.ClockBehind) != 1 {
		t.Errorf("outcome %q (%s), notes %q, %d events", res.Outcome, res.Error, res.Notes, s.events(event.ClockBehind))
	}
}
