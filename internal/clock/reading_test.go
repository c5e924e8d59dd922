package clock_test

import (
	"testing"
	"time"

	"github.com/freshet/freshet/internal/clock"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const (
	day  = 24 * time.Hour
	none = clock.Unknown
	good = clock.Synchronised
	bad  = clock.Unsynchronised
)

// TestNowAndFloor has a floor of before, then something verified that was signed
// at another time; offsets are from the clock.
func TestNowAndFloor(t *testing.T) {
	never := time.Time{}
	at := func(d time.Duration) time.Time { return t0.Add(d) }
	rows := map[string]struct {
		sync          clock.Sync
		prior, signed time.Time
		now, floor    time.Time // now is by the prior floor
	}{
		"nothing is known":                                                     {good, never, never, t0, never},
		"the first signature":                                                  {good, never, at(-time.Hour), t0, at(-time.Hour)},
		"an older signature lowers nothing":                                    {bad, at(-day), at(-2 * day), t0, at(-day)},
		"a newer signature raises":                                             {bad, at(-2 * day), at(-day), t0, at(-day)},
		"a clock years behind is corrected":                                    {bad, at(1000 * day), at(1001 * day), at(1000 * day), at(1001 * day)},
		"also where nobody can be asked":                                       {none, at(1000 * day), at(1001 * day), at(1000 * day), at(1001 * day)},
		"without a synchronised clock an earlier one lowers nothing":           {bad, at(30 * day), at(day), at(30 * day), at(30 * day)},
		"nor where nobody can be asked":                                        {none, at(30 * day), at(day), at(30 * day), at(30 * day)},
		"a day ahead raises a synchronised clock":                              {good, at(day), at(day), at(day), at(day)},
		"a second more does not":                                               {good, at(day + time.Second), at(day + time.Second), t0, at(day + time.Second)},
		"what did not raise is no floor":                                       {good, at(-day), at(30 * day), t0, at(-day)},
		"what raised is lowered by a synchronised clock and a newer signature": {good, at(30 * day), at(-time.Hour), t0, at(-time.Hour)},
		"and by nothing less":                                                  {good, at(30 * day), never, t0, at(30 * day)},
		"what raised by less than a day stays":                                 {good, at(20 * time.Hour), at(time.Hour), at(20 * time.Hour), at(20 * time.Hour)},
	}
	for name, row := range rows {
		r := clock.Reading{At: t0, Sync: row.sync}
		if got := r.Now(row.prior); !got.Equal(row.now) {
			t.Errorf("%s: now is %s, want %s", name, got, row.now)
		}
		if got := r.Floor(row.prior, row.signed); !got.Equal(row.floor) {
			t.Errorf("%s: the floor is %s, want %s", name, got, row.floor)
		}
	}
}

func TestAClockThatStandsInSaysNothing(t *testing.T) {
	c := &clock.Clock{Wall: func() time.Time { return t0 }}
	if got := c.Read(); got.Sync != clock.Unknown || !got.At.Equal(t0) {
		t.Errorf("it reads %+v", got)
	}
	c.Synced = func() clock.Sync { return clock.Synchronised }
	if got := c.Read(); got.Sync != clock.Synchronised {
		t.Errorf("it reads %+v", got)
	}
	var system *clock.Clock
	if got := system.Read(); time.Since(got.At) > time.Hour {
		t.Errorf("the system's clock reads %+v", got)
	}
}
