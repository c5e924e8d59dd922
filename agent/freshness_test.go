package agent_test

import (
	"testing"
	"time"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/event"
)

// TestFreshnessIsToldOnce walks a base through its ages, to the second and on
// both sides, with a restart after each step: what was told is not told again.
func TestFreshnessIsToldOnce(t *testing.T) {
	w := newWorld(t)
	published := *w.now.Load()
	w.publish("a.example", "b.example")
	s := w.start().settled()
	off := false
	s.change("PATCH", "/v1/tasks/6", api.TaskChange{Enabled: &off})
	s.change("PATCH", "/v1/tasks/8", api.TaskChange{Enabled: &off})

	type told struct{ fresh, out, totally, behind int }
	steps := []struct {
		name   string
		age    time.Duration // by the clock
		before func()
		state  string
		told   told
	}{
		{"a new base is up to date", 0, nil, "up to date", told{1, 0, 0, 0}},
		{"three days to the second are up to date", 72 * time.Hour, nil, "up to date", told{1, 0, 0, 0}},
		{"a second more is out of date", 72*time.Hour + time.Second, nil, "out of date", told{1, 1, 0, 0}},
		{"a second before seven days is out of date", 168*time.Hour - time.Second, nil, "out of date", told{1, 1, 0, 0}},
		{"seven days to the second are totally out of date", 168 * time.Hour, nil, "totally out of date", told{1, 1, 1, 0}},
		{"a clock set back behind the signing is told, and counts from the signing", -time.Hour, nil, "up to date", told{2, 1, 1, 1}},
		{"a silent publisher's base goes out of date", 100 * time.Hour, func() { w.refreshAndUpdate(s) }, "out of date", told{2, 2, 1, 1}},
		{"a clock set back then makes nothing fresh", 0, nil, "out of date", told{2, 2, 1, 2}},
		{"a new version is up to date again", 101 * time.Hour, func() { w.publish("c.example", "d.example"); s.run(api.TaskUpdate) }, "up to date", told{3, 2, 1, 2}},
	}
	for _, step := range steps {
		w.setClock(published.Add(step.age))
		if step.before != nil {
			step.before()
		}
		check := func(when string) {
			t.Helper()
			w.eventually(step.name+", "+when, func() bool { return s.status().State == step.state })
			got := func() told {
				return told{s.events(event.BasesAreUpToDate), s.events(event.BasesAreOutOfDate), s.events(event.BasesAreTotallyOutOfDate), s.events(event.ClockBehind)}
			}
			w.eventually(step.name+", events "+when, func() bool {
				g := got()
				// The clock has no state that would survive: each start tells it.
				return g.fresh == step.told.fresh && g.out == step.told.out && g.totally == step.told.totally && g.behind >= step.told.behind
			})
			s.never(step.name+", told twice "+when, func() bool { g := got(); g.behind = step.told.behind; return g != step.told })
		}
		check("while it runs")
		s.stop()
		s = w.start()
		check("after a restart")
	}
}

// refreshAndUpdate has the publisher sign, but publish nothing, and the agent
// see that.
func (w *world) refreshAndUpdate(s *service) {
	w.t.Helper()
	if _, err := w.repo.Refresh(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	if res := s.run(api.TaskUpdate); res.Outcome != api.NothingNew {
		w.t.Fatalf("outcome %q (%s), want nothing new", res.Outcome, res.Error)
	}
}

func TestSilentPublisherAndDeadSourceAreToldApart(t *testing.T) {
	w := newWorld(t)
	published := *w.now.Load()
	w.publish("a.example", "b.example")
	s := w.start().settled()
	off := false
	s.change("PATCH", "/v1/tasks/6", api.TaskChange{Enabled: &off})
	s.change("PATCH", "/v1/tasks/8", api.TaskChange{Enabled: &off})

	w.setClock(published.Add(80 * time.Hour))
	w.refreshAndUpdate(s)
	silent := s.status().Why
	w.setClock(published.Add(160 * time.Hour))
	dead := s.status().Why
	if silent == "" || dead == "" || silent == dead {
		t.Fatalf("silent publisher: %q, dead source: %q", silent, dead)
	}
}

func TestAgentWithoutBasesSaysSo(t *testing.T) {
	w := newWorld(t) // nothing is published
	s := w.start().settled()
	if st := s.status(); st.State != "without databases" || len(st.Bases) != 0 {
		t.Fatalf("state %q with %d bases", st.State, len(st.Bases))
	}
	if n := s.events(event.WithoutBases); n != 1 {
		t.Fatalf("told %d times", n)
	}
	w.publish("a.example")
	if res := s.run(api.TaskUpdate); res.Outcome != api.Updated {
		t.Fatalf("outcome %q (%s)", res.Outcome, res.Error)
	}
	w.eventually("the first base is told", func() bool { return s.events(event.BasesAreUpToDate) == 1 })
}

// TestBaseFromTheFuture has a publisher whose clock was wrong when it
// published, and right when it signed.
func TestBaseFromTheFuture(t *testing.T) {
	w := newWorld(t)
	now := *w.now.Load()
	w.setClock(now.Add(time.Hour))
	w.publish("a.example")
	w.setClock(now)
	if _, err := w.repo.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := w.start().settled()
	w.eventually("it is told", func() bool { return s.events(event.PublishedInFuture) == 1 })
	st := s.status()
	if len(st.Bases) != 1 || st.Bases[0].Age != -3600 || st.State != "up to date" {
		t.Fatalf("status %+v", st)
	}
	s.never("it is told again", func() bool { return s.events(event.PublishedInFuture) != 1 })
}
