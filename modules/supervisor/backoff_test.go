package supervisor_test

import (
	"slices"
	"testing"
	"time"

	"github.com/freshet/freshet/modules/supervisor"
)

// TestHowLongAProgramThatEndsByItselfWaits gives each end of a program: its slot
// and how long it had worked; the pause after each is what is expected.
func TestHowLongAProgramThatEndsByItselfWaits(t *testing.T) {
	type end struct {
		dir    string
		worked time.Duration
	}
	const s = time.Second
	again := func(dir string, n int, worked time.Duration) []end {
		return slices.Repeat([]end{{dir, worked}}, n)
	}
	for _, row := range []struct {
		name  string
		ends  []end
		pause []time.Duration
	}{
		{"each pause is twice the one before, up to the longest", again("1", 7, 0), []time.Duration{s, 2 * s, 4 * s, 8 * s, 16 * s, 20 * s, 20 * s}},
		{"crashes weeks apart do not add up", again("1", 4, 14*24*time.Hour), []time.Duration{s, s, s, s}},
		{"a run that is too short to be healthy counts on", again("1", 3, 9*s), []time.Duration{s, 2 * s, 4 * s}},
		{"a healthy run is as long as the gate", again("1", 3, 10*s), []time.Duration{s, s, s}},
		{"nor is it shorter than the pause before it", append(again("1", 5, 0), again("1", 2, 15*s)...), []time.Duration{s, 2 * s, 4 * s, 8 * s, 16 * s, 20 * s, 20 * s}},
		{"a new version does not inherit the ends of the old one", append(again("1", 5, 0), again("2", 2, 0)...), []time.Duration{s, 2 * s, 4 * s, 8 * s, 16 * s, s, 2 * s}},
	} {
		t.Run(row.name, func(t *testing.T) {
			times := supervisor.Times{Gate: 10 * s, Pause: s, Rest: 20 * s}
			var b supervisor.Backoff
			var got []time.Duration
			now := time.Hour
			for _, e := range row.ends {
				now += e.worked
				b = b.Failed(e.dir, now, e.worked, times)
				got = append(got, b.Pause())
				if !b.Waits(e.dir, now+b.Pause()-1) || b.Waits(e.dir, now+b.Pause()) {
					t.Errorf("after a pause of %s it does not start when it is over", b.Pause())
				}
				if b.Waits("another", now) {
					t.Error("another version waits for what this one did")
				}
				now += b.Pause()
			}
			if !slices.Equal(got, row.pause) {
				t.Errorf("the pauses were %v, not %v", got, row.pause)
			}
		})
	}
}
