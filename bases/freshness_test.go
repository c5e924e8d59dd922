package bases_test

import (
	"testing"
	"time"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/internal/clock"
)

const day = 24 * time.Hour

func TestFreshnessChangesAtThreeAndSevenDaysToTheSecond(t *testing.T) {
	published := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration) time.Time { return published.Add(d) }
	never := time.Time{}
	rows := []struct {
		name          string
		clock, signed time.Time
		want          bases.Freshness
	}{
		{"a base published this second is up to date", at(0), never, bases.UpToDate},
		{"one second before 3 days it is up to date", at(3*day - time.Second), never, bases.UpToDate},
		{"at 3 days exactly it is up to date", at(3 * day), never, bases.UpToDate},
		{"one second after 3 days it is out of date", at(3*day + time.Second), never, bases.OutOfDate},
		{"one second before 7 days it is out of date", at(7*day - time.Second), never, bases.OutOfDate},
		{"at 7 days exactly it is totally out of date", at(7 * day), never, bases.TotallyOutOfDate},
		{"years later it is totally out of date", at(1000 * day), never, bases.TotallyOutOfDate},
		{"a clock years behind is corrected by the time of signing", at(-1000 * day), at(7 * day), bases.TotallyOutOfDate},
		{"a clock at 1970 is corrected by the time of signing", time.Unix(0, 0), at(3*day + time.Second), bases.OutOfDate},
		{"an older time of signing changes nothing", at(3*day + time.Second), at(0), bases.OutOfDate},
		{"a clock a year ahead makes it stale, which is safe", at(365 * day), at(day), bases.TotallyOutOfDate},
		{"a publication in the future is up to date and does not raise the time", at(-day), at(-2 * day), bases.UpToDate},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			age := clock.Reading{At: r.clock}.Now(r.signed).Sub(published)
			if got := bases.DefaultThresholds.Freshness(age); got != r.want {
				t.Errorf("at age %s: %q, want %q", age, got, r.want)
			}
		})
	}
}

func TestChangesSaysWhenTheStateIsAnotherAndNotBefore(t *testing.T) {
	th := bases.ThresholdsFor(time.Hour)
	for age := -day; age < 8*day; age += 7 * time.Hour {
		d := th.Changes(age)
		if d == 0 {
			if th.Freshness(age) != bases.TotallyOutOfDate {
				t.Fatalf("age %s: it will change, Changes says never", age)
			}
			continue
		}
		if th.Freshness(age+d) == th.Freshness(age) {
			t.Errorf("age %s: no change after %s", age, d)
		}
		if th.Freshness(age+d-1) != th.Freshness(age) {
			t.Errorf("age %s: changed before %s", age, d)
		}
	}
}

func TestThresholdsFollowASlowPublisher(t *testing.T) {
	rows := []struct {
		name       string
		every      time.Duration
		out, total time.Duration
	}{
		{"an hourly base has 3 and 7 days", time.Hour, 3 * day, 7 * day},
		{"a daily base has 3 and 7 days", day, 3 * day, 7 * day},
		{"a weekly base has 3 and 7 weeks", 7 * day, 21 * day, 49 * day},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			th := bases.ThresholdsFor(r.every)
			if th.OutOfDate.Duration() != r.out || th.TotallyOutOfDate.Duration() != r.total {
				t.Errorf("got %s and %s", th.OutOfDate.Duration(), th.TotallyOutOfDate.Duration())
			}
		})
	}
}

func TestTheStalestBaseDecides(t *testing.T) {
	states := []bases.Freshness{bases.UpToDate, bases.OutOfDate, bases.TotallyOutOfDate}
	for i, a := range states {
		for j, b := range states {
			if got := bases.Stalest(a, b); got != states[max(i, j)] {
				t.Errorf("of %q and %q: %q", a, b, got)
			}
		}
	}
}
