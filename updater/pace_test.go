package updater_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet/freshet/internal/clock"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/internal/source"
	"github.com/freshet/freshet/updater"
)

// slowed is a source of a name of its own that gives content at a pace, in bytes
// a second of a synctest bubble.
type slowed struct {
	source.Source
	name  string
	pace  int
	cut   bool // it has metadata and no content
	asked int  // for content
	gave  int  // bytes of it
}

func (s *slowed) Name() string { return s.name }

func (s *slowed) Open(ctx context.Context, path string, offset, size int64) (io.ReadCloser, int64, error) {
	s.asked++
	if s.cut {
		return nil, 0, source.ErrNotFound
	}
	r, start, err := s.Source.Open(ctx, path, offset, size)
	return &drop{r, s}, start, err
}

type drop struct {
	io.ReadCloser
	of *slowed
}

func (d *drop) Read(b []byte) (int, error) {
	n, err := d.ReadCloser.Read(b[:min(len(b), 1<<10)])
	time.Sleep(time.Duration(n) * time.Second / time.Duration(d.of.pace))
	d.of.gave += n
	return n, err
}

// paced has an endpoint install a base from sources of some paces, in turn.
type paced struct {
	list    []*slowed
	restart bool // what was learnt of paces is lost between the runs
	every   time.Duration
}

func (p paced) run(t *testing.T, w *world, runs int) (took []time.Duration) {
	t.Helper()
	now := time.Now()
	synctest.Test(t, func(t *testing.T) {
		began, learnt := time.Now(), &updater.Pace{}
		for range runs {
			if p.restart {
				learnt = &updater.Pace{}
			}
			u := w.updater(func(u *updater.Updater) {
				u.Clock = &clock.Clock{Wall: func() time.Time { return now.Add(time.Since(began)) }}
				u.Sources, u.Pace, u.Every, u.Dir = nil, learnt, p.every, filepath.Join(w.dir, "state")
				for _, s := range p.list {
					s.Source = source.Local(w.repo.Dir, u.Count)
					u.Sources = append(u.Sources, s)
				}
			})
			if err := os.RemoveAll(u.Dir); err != nil {
				t.Fatal(err)
			}
			w.events = nil
			from := time.Now()
			if res := u.Run(t.Context(), "test", nil); res.Outcome != updater.Updated {
				t.Fatalf("%+v", res)
			}
			took = append(took, time.Since(from))
		}
	})
	w.expect("hosts", 1)
	return took
}

func TestASlowSourceIsLeftForOthers(t *testing.T) {
	const fast = 10 << 20
	w := newWorld(t)
	w.publish("hosts", records(1, 160_000))
	full := manifestIn(t, w.repo.Dir, "hosts").Full.Size
	if full < 350<<10 || full > 2<<20 {
		t.Fatalf("the full image has %d bytes: the rows below are about others", full)
	}
	rows := []struct {
		name  string
		paces []int
		every time.Duration
		most  time.Duration // of the first run
		left  bool
	}{
		{"1 KiB a second beside a fast one", []int{1 << 10, fast}, time.Hour, 15 * time.Second, true},
		{"5 KiB a second beside a fast one", []int{5 << 10, fast}, time.Hour, 15 * time.Second, true},
		{"a quarter of the interval is too much", []int{8 << 10, fast}, time.Minute, 15 * time.Second, true},
		{"two slow ones, the second is not left as the last", []int{1 << 10, 2 << 10}, time.Hour, time.Duration(full) * time.Second / 1900, true},
		{"one that is quick enough is not left", []int{30 << 10, fast}, time.Hour, time.Duration(full) * time.Second / (20 << 10), false},
		{"the only one is not left", []int{8 << 10}, time.Minute, time.Duration(full) * time.Second / (7 << 10), false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			p := paced{every: row.every}
			for i, pace := range row.paces {
				p.list = append(p.list, &slowed{name: string(rune('a' + i)), pace: pace})
			}
			took := p.run(t, w, 1)
			if took[0] > row.most {
				t.Errorf("it took %s, at most %s are right", took[0], row.most)
			}
			if w.saw(event.SourceSlow) != row.left {
				t.Errorf("events %v", w.events)
			}
			if w.saw(event.SourceFailed) {
				t.Errorf("being slow is told as a failure: %v", w.events)
			}
			gave := 0
			for _, s := range p.list {
				gave += s.gave
			}
			if int64(gave) > full+64<<10 {
				t.Errorf("%d bytes were fetched of %d: what came was not kept", gave, full)
			}
		})
	}
}

func TestTheLastSourceThatHasAFileIsNotLeft(t *testing.T) {
	w := newWorld(t)
	w.publish("hosts", records(1, 160_000))
	full := manifestIn(t, w.repo.Dir, "hosts").Full.Size
	slow, empty := &slowed{name: "slow", pace: 8 << 10}, &slowed{name: "empty", pace: 1, cut: true}
	took := paced{list: []*slowed{slow, empty}, every: time.Minute}.run(t, w, 1)
	if empty.asked != 1 || slow.asked != 2 || int64(slow.gave) > full+64<<10 {
		t.Errorf("asked %d and %d times, %d bytes of %d", slow.asked, empty.asked, slow.gave, full)
	}
	if most := time.Duration(full) * time.Second / (7 << 10); took[0] > most {
		t.Errorf("it took %s", took[0])
	}
}

// TestPacesAreRememberedAcrossRuns has a source that was slow be asked last in
// the next run, if the process remembers.
func TestPacesAreRememberedAcrossRuns(t *testing.T) {
	w := newWorld(t)
	w.publish("hosts", records(1, 160_000))
	for _, restart := range []bool{false, true} {
		slow, fast := &slowed{name: "slow", pace: 1 << 10}, &slowed{name: "fast", pace: 1 << 20}
		paced{list: []*slowed{slow, fast}, every: time.Hour, restart: restart}.run(t, w, 3)
		want := 1
		if restart {
			want = 3
		}
		if slow.asked != want || fast.asked != 3 {
			t.Errorf("restart %v: asked %d and %d times", restart, slow.asked, fast.asked)
		}
	}
}

func TestASlowSourceIsTriedAgainAfterSomeHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &updater.Pace{}
		names := func() []string {
			list := []source.Source{&slowed{name: "a"}, &slowed{name: "b"}, &slowed{name: "c"}}
			updater.OrderByPace(p, list)
			var out []string
			for _, s := range list {
				out = append(out, s.Name())
			}
			return out
		}
		updater.SetPace(p, "a", 1000)
		updater.SetPace(p, "c", 20_000)
		if got := names(); !slices.Equal(got, []string{"b", "c", "a"}) {
			t.Errorf("%v", got)
		}
		time.Sleep(7 * time.Hour)
		if got := names(); !slices.Equal(got, []string{"a", "b", "c"}) {
			t.Errorf("after hours %v", got)
		}
	})
}
