package clock_test

import (
	"testing"
	"time"

	"github.com/freshet/freshet/internal/clock"
)

// TestAWatchStandsStillWhereNobodyWatched gives turns that are due within a
// second, as the clock without sleep says, and how long the machine had slept by
// then.
func TestAWatchStandsStillWhereNobodyWatched(t *testing.T) {
	type turn struct{ clock, asleep time.Duration }
	const s, start = time.Second, 1000 * time.Second
	for _, row := range []struct {
		name  string
		turns []turn
		now   time.Duration // since the first turn
		gaps  int
	}{
		{"turns in time count", []turn{{s, 0}, {2 * s, 0}, {3 * s, 0}}, 3 * s, 0},
		{"so does one that is somewhat late", []turn{{s, 0}, {21 * s, 0}}, 21 * s, 0},
		{"a sleep is a gap, however short the time awake", []turn{{s, 0}, {2 * s, 8 * time.Hour}, {3 * s, 8 * time.Hour}}, 2 * s, 1},
		{"so is a short sleep", []turn{{s, 0}, {2 * s, 20 * s}}, s, 1},
		{"two clocks that are read one after the other are none", []turn{{s, s / 2}, {2 * s, 0}, {3 * s, s / 2}}, 3 * s, 0},
		{"a pause that no clock calls sleep is one", []turn{{s, 0}, {601 * s, 0}, {602 * s, 0}}, 2 * s, 1},
		{"time after a gap counts", []turn{{s, 0}, {601 * s, 0}, {602 * s, 3600 * s}, {605 * s, 3600 * s}}, 4 * s, 2},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := clock.Watch{}.Turn(start, 0, 0)
			if w.Now != start || w.Gaps != 0 {
				t.Fatalf("it begins at %s with %d gaps", w.Now, w.Gaps)
			}
			for _, turn := range row.turns {
				w = w.Turn(start+turn.clock, turn.asleep, time.Second)
			}
			if w.Now-start != row.now || w.Gaps != row.gaps {
				t.Errorf("%s passed, with %d gaps; not %s with %d", w.Now-start, w.Gaps, row.now, row.gaps)
			}
		})
	}
}
