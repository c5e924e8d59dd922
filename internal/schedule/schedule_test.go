package schedule_test

import (
	"errors"
	"testing"
	"time"
	_ "time/tzdata" // the tests' zones, whatever the host has

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/schedule"
)

const day = 24 * time.Hour

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func parse(t *testing.T, timing api.Timing, random time.Duration) schedule.Schedule {
	t.Helper()
	s, err := schedule.Parse(timing, random)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// at reads a time with its offset.
func at(t *testing.T, s string) time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func daily(at string) api.Timing { return api.Timing{Kind: api.Daily, At: at} }

func weekly(at string, days ...string) api.Timing {
	return api.Timing{Kind: api.Weekly, At: at, Days: days}
}

func TestNextSlot(t *testing.T) {
	rows := []struct {
		name   string
		timing api.Timing
		zone   string
		now    string
		served string // "": none
		want   string
	}{
		{"later today", daily("03:30"), "UTC", "2026-11-22T03:29:59Z", "", "2026-11-22T03:30:00Z"},
		{"tomorrow, at the very time", daily("03:30"), "UTC", "2026-11-22T03:30:00Z", "", "2026-11-23T03:30:00Z"},
		{"in the host's zone, which is a day ahead", daily("08:00"), "Pacific/Auckland", "2026-11-22T18:30:00Z", "", "2026-11-22T19:00:00Z"},
		{"over the end of a year", daily("00:00"), "UTC", "2026-12-31T00:00:01Z", "", "2027-01-01T00:00:00Z"},
		{"on the next of the days", weekly("04:00", "mon", "thu"), "UTC", "2026-11-22T12:00:00Z", "", "2026-11-23T04:00:00Z"},
		{"a week later on the same day", weekly("04:00", "sun"), "UTC", "2026-11-22T04:00:00Z", "", "2026-11-29T04:00:00Z"},
		{"the day is the zone's, not that of UTC", weekly("01:00", "mon"), "Asia/Tokyo", "2026-11-22T15:30:00Z", "", "2026-11-22T16:00:00Z"},

		{"the skipped hour: as much later", daily("02:30"), "Europe/Berlin", "2026-03-28T23:00:00Z", "", "2026-03-29T03:30:00+02:00"},
		{"and once: next comes the next day", daily("02:30"), "Europe/Berlin", "2026-03-29T03:30:00+02:00", "", "2026-03-30T02:30:00+02:00"},
		{"its first minute", daily("02:00"), "Europe/Berlin", "2026-03-29T00:00:00+01:00", "", "2026-03-29T03:00:00+02:00"},
		{"the hour after it is as ever", daily("03:00"), "Europe/Berlin", "2026-03-29T00:00:00+01:00", "", "2026-03-29T03:00:00+02:00"},
		{"the doubled hour: the first", daily("02:30"), "Europe/Berlin", "2026-10-25T00:00:00+02:00", "", "2026-10-25T02:30:00+02:00"},
		{"and not the second", daily("02:30"), "Europe/Berlin", "2026-10-25T02:30:00+02:00", "", "2026-10-26T02:30:00+01:00"},
		{"half an hour skipped", daily("02:15"), "Australia/Lord_Howe", "2026-10-03T20:00:00+10:30", "", "2026-10-04T02:45:00+11:00"},
		{"clocks go forward at midnight", daily("00:30"), "America/Santiago", "2026-09-05T20:00:00-04:00", "", "2026-09-06T01:30:00-03:00"},
		{"a day that a zone left out", daily("12:00"), "Pacific/Apia", "2011-12-30T09:59:00Z", "", "2011-12-30T22:00:00Z"},

		{"a clock set back a little does not bring it again", daily("03:30"), "UTC", "2026-11-22T03:29:50Z", "2026-11-22T03:30:00Z", "2026-11-23T03:30:00Z"},
		{"nor one that was set back an hour by hand", daily("03:30"), "UTC", "2026-11-22T02:30:10Z", "2026-11-22T03:30:00Z", "2026-11-23T03:30:00Z"},
		{"a clock set back by days counts anew", daily("03:30"), "UTC", "2026-11-20T12:00:00Z", "2026-11-22T03:30:00Z", "2026-11-21T03:30:00Z"},
		{"a clock set ahead by a year goes on there", daily("03:30"), "UTC", "2027-11-22T12:00:00Z", "2026-11-22T03:30:00Z", "2027-11-23T03:30:00Z"},

		{"an interval counts from now", api.Timing{Kind: api.Interval, Every: api.Duration(90 * time.Minute)}, "Europe/Berlin", "2026-10-25T00:30:00Z", "", "2026-10-25T02:00:00Z"},
	}
	for _, row := range rows {
		s := parse(t, row.timing, 0)
		var served time.Time
		if row.served != "" {
			served = at(t, row.served)
		}
		got, ok := s.Next(at(t, row.now), served, zone(t, row.zone))
		if want := at(t, row.want); !ok || !got.Equal(want) {
			t.Errorf("%s: %v, want %s", row.name, got, row.want)
		}
	}
}

// Each zone's whole year has one slot to each of its days, the clocks' changes
// included.
func TestEachDayHasOneSlot(t *testing.T) {
	for _, name := range []string{"UTC", "Europe/Berlin", "America/New_York", "America/Santiago", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Kolkata"} {
		z := zone(t, name)
		for _, clock := range []string{"00:00", "00:30", "01:30", "02:00", "02:30", "03:00", "23:59"} {
			s := parse(t, daily(clock), 0)
			now := time.Date(2026, 1, 1, 0, 0, 0, 0, z).Add(-time.Nanosecond)
			for n := range 365 {
				slot, ok := s.Next(now, now, z)
				date := time.Date(2026, 1, 1+n, 12, 0, 0, 0, time.UTC)
				if local := slot.In(z); !ok || !slot.After(now) || local.Month() != date.Month() || local.Day() != date.Day() {
					t.Fatalf("%s at %s: slot %d is %v, want one on %s", name, clock, n+1, local, date.Format(time.DateOnly))
				}
				now = slot
			}
		}
	}
}

func TestTimingsWithoutSlots(t *testing.T) {
	now := at(t, "2026-11-22T12:00:00Z")
	for _, kind := range []string{api.Manual, api.AtStart, api.OnBase} {
		s := parse(t, api.Timing{Kind: kind}, 0)
		if slot, ok := s.Next(now, time.Time{}, time.UTC); ok {
			t.Errorf("%s: %v", kind, slot)
		}
	}
	start := parse(t, api.Timing{Kind: api.AtStart, Delay: api.Duration(5 * time.Minute)}, 0)
	if slot, ok := start.AfterStart(now); !ok || slot.Sub(now) != 5*time.Minute {
		t.Errorf("after start: %v, %v", slot, ok)
	}
	if _, ok := parse(t, daily("03:00"), 0).AfterStart(now); ok {
		t.Error("a daily task is due after a start")
	}
	rows := []struct {
		name    string
		bases   []string
		changed []string
		want    bool
	}{
		{"any base", nil, []string{"hosts"}, true},
		{"a named one", []string{"urls", "hosts"}, []string{"hosts"}, true},
		{"another one", []string{"urls"}, []string{"hosts"}, false},
		{"none", nil, nil, false},
	}
	for _, row := range rows {
		s := parse(t, api.Timing{Kind: api.OnBase, Bases: row.bases}, 0)
		if _, ok := s.AfterBases(now, row.changed); ok != row.want {
			t.Errorf("%s: %v", row.name, ok)
		}
	}
}

func TestNothingIsPlannedBeyondTheNextSlot(t *testing.T) {
	now := at(t, "2026-11-22T12:00:00Z")
	for _, row := range []struct {
		name   string
		timing api.Timing
		want   time.Duration
	}{
		{"an interval and its delay", api.Timing{Kind: api.Interval, Every: api.Duration(time.Hour)}, time.Hour + time.Minute},
		{"a day's slot and its delay", daily("13:00"), time.Hour + time.Minute},
		{"a start, with room for tries", api.Timing{Kind: api.AtStart}, time.Hour},
		{"a long delay after a base", api.Timing{Kind: api.OnBase, Delay: api.Duration(2 * time.Hour)}, 2*time.Hour + time.Minute},
	} {
		if got := parse(t, row.timing, time.Minute).Latest(now, time.Time{}, time.UTC).Sub(now); got != row.want {
			t.Errorf("%s: %s, want %s", row.name, got, row.want)
		}
	}
}

func TestBoundsOfEveryField(t *testing.T) {
	hour := api.Duration(time.Hour)
	many := make([]string, schedule.MaxBases+1)
	rows := []struct {
		name   string
		timing api.Timing
		random time.Duration
	}{
		{"no kind", api.Timing{}, 0},
		{"an unknown kind", api.Timing{Kind: "hourly"}, 0},
		{"an interval of nothing", api.Timing{Kind: api.Interval}, 0},
		{"an interval under a minute", api.Timing{Kind: api.Interval, Every: api.Duration(59 * time.Second)}, 0},
		{"an interval over 30 days", api.Timing{Kind: api.Interval, Every: api.Duration(30*day + 1)}, 0},
		{"a negative interval", api.Timing{Kind: api.Interval, Every: -hour}, 0},
		{"an interval at a time", api.Timing{Kind: api.Interval, Every: hour, At: "03:00"}, 0},
		{"a random delay longer than the interval", api.Timing{Kind: api.Interval, Every: hour}, time.Hour + 1},
		{"a negative random delay", daily("03:00"), -1},
		{"a random delay over a day", daily("03:00"), day + 1},
		{"daily at no time", api.Timing{Kind: api.Daily}, 0},
		{"daily at 24:00", daily("24:00"), 0},
		{"daily at 3:00", daily("3:00"), 0},
		{"daily at a time with seconds", daily("03:00:00"), 0},
		{"daily on days", api.Timing{Kind: api.Daily, At: "03:00", Days: []string{"mon"}}, 0},
		{"weekly on no day", weekly("03:00"), 0},
		{"weekly on an unknown day", weekly("03:00", "monday"), 0},
		{"weekly on a day twice", weekly("03:00", "mon", "tue", "MON"), 0},
		{"manual every hour", api.Timing{Kind: api.Manual, Every: hour}, 0},
		{"a negative delay", api.Timing{Kind: api.AtStart, Delay: -1}, 0},
		{"a delay over 30 days", api.Timing{Kind: api.OnBase, Delay: api.Duration(31 * day)}, 0},
		{"after a start of bases", api.Timing{Kind: api.AtStart, Bases: []string{"hosts"}}, 0},
		{"after a base with a path for a name", api.Timing{Kind: api.OnBase, Bases: []string{"../x"}}, 0},
		{"after a base twice", api.Timing{Kind: api.OnBase, Bases: []string{"a", "a"}}, 0},
		{"after too many bases", api.Timing{Kind: api.OnBase, Bases: many}, 0},
	}
	for _, row := range rows {
		_, err := schedule.Parse(row.timing, row.random)
		var known *api.Error
		if !errors.As(err, &known) || known.Code != api.BadRequest {
			t.Errorf("%s: %v", row.name, err)
		}
	}
}

func TestTimingInWords(t *testing.T) {
	for want, timing := range map[string]api.Timing{
		"every 30m":                      {Kind: api.Interval, Every: api.Duration(30 * time.Minute)},
		"daily at 03:30":                 daily("03:30"),
		"mon,fri at 03:30":               weekly("03:30", "mon", "fri"),
		"when started":                   {Kind: api.Manual},
		"after start":                    {Kind: api.AtStart},
		"5m after start":                 {Kind: api.AtStart, Delay: api.Duration(5 * time.Minute)},
		"after an update":                {Kind: api.OnBase},
		"1m after an update of a-b,urls": {Kind: api.OnBase, Delay: api.Duration(time.Minute), Bases: []string{"a-b", "urls"}},
	} {
		if got := schedule.Words(timing); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
