// Package schedule says when a task is due: pure functions over a timing, the
// clock and the host's time zone.
//
// A slot is a time that the timing names. What is planned is a slot and its
// random delay, or a retry before the next slot.
//
// Daily and weekly slots are read from the wall clock. In the night that skips
// an hour, a slot within that hour is as much later as was skipped: 02:30 is at
// 03:30. In the night that has an hour twice, the first counts. So each day has
// one slot.
package schedule

import (
	"slices"
	"strings"
	"time"

	"github.com/freshet/freshet/internal/api"
)

// Schedule is a timing that is within its bounds.
type Schedule struct {
	kind   string
	every  time.Duration
	minute int // of the day
	days   [7]bool
	delay  time.Duration
	bases  []string
	random time.Duration
}

// Kind is the timing's.
func (s Schedule) Kind() string { return s.kind }

// Random is the longest random delay.
func (s Schedule) Random() time.Duration { return s.random }

// Period is the time from a slot to the next where the clocks do not change; 0
// if it has no slots of its own.
func (s Schedule) Period() time.Duration {
	const day = 24 * time.Hour
	switch s.kind {
	case api.Interval:
		return s.every
	case api.Daily:
		return day
	case api.Weekly:
		return 7 * day
	}
	return 0
}

// RetryAtMost is the longest wait between two tries of a run that fails; 0: it
// is not tried again.
func (s Schedule) RetryAtMost() time.Duration {
	switch s.kind {
	case api.Interval:
		return s.every
	case api.Manual:
		return 0
	}
	return time.Hour
}

// maxSetBack is how far the clock may be set back for a slot that was served to
// stay served: more than NTP and people correct, less than a day.
const maxSetBack = 3 * time.Hour

// Next is the first slot after now that is not the one served last (zero:
// none). There is none for a timing without slots of its own.
func (s Schedule) Next(now, served time.Time, zone *time.Location) (slot time.Time, ok bool) {
	if s.kind == api.Interval {
		return now.Add(s.every), true
	}
	if s.kind != api.Daily && s.kind != api.Weekly {
		return time.Time{}, false
	}
	from := now
	if ahead := served.Sub(now); ahead > 0 && ahead <= maxSetBack {
		from = served
	}
	date := from.In(zone)
	// A zone may skip a whole day, so that a slot is a day late: begin early.
	for n := -2; n <= 8; n++ {
		day := time.Date(date.Year(), date.Month(), date.Day()+n, 12, 0, 0, 0, time.UTC)
		if s.kind == api.Weekly && !s.days[day.Weekday()] {
			continue
		}
		if slot := s.on(day, zone); slot.After(from) {
			return slot, true
		}
	}
	return time.Time{}, false // not reached: there is a day to a week
}

// on is the slot of a date.
func (s Schedule) on(date time.Time, zone *time.Location) time.Time {
	naive := time.Date(date.Year(), date.Month(), date.Day(), s.minute/60, s.minute%60, 0, 0, time.UTC)
	// Offsets change at most once within these days.
	_, before := naive.Add(-26 * time.Hour).In(zone).Zone()
	_, after := naive.Add(26 * time.Hour).In(zone).Zone()
	at := func(offset int) time.Time { return naive.Add(-time.Duration(offset) * time.Second) }
	if before != after {
		// Of two times that show the same, that with the larger offset is first.
		for _, offset := range []int{max(before, after), min(before, after)} {
			if t := at(offset); shows(t.In(zone), naive) {
				return t
			}
		}
	}
	return at(before)
}

func shows(t, naive time.Time) bool {
	return t.Day() == naive.Day() && t.Hour() == naive.Hour() && t.Minute() == naive.Minute()
}

// AfterStart is when it is due after a start of the agent, if that is what
// makes it due.
func (s Schedule) AfterStart(now time.Time) (slot time.Time, ok bool) {
	return now.Add(s.delay), s.kind == api.AtStart
}

// AfterBases is when it is due after an update of bases, if that is what makes
// it due.
func (s Schedule) AfterBases(now time.Time, changed []string) (slot time.Time, ok bool) {
	if s.kind != api.OnBase || len(changed) == 0 {
		return slot, false
	}
	named := len(s.bases) == 0 || slices.ContainsFunc(changed, func(b string) bool { return slices.Contains(s.bases, b) })
	return now.Add(s.delay), named
}

// Latest is the latest time that can be planned at now: a plan beyond it stems
// from a clock that was wrong, or from another timing. Zero: there is none.
func (s Schedule) Latest(now, served time.Time, zone *time.Location) time.Time {
	if slot, ok := s.Next(now, served, zone); ok {
		return slot.Add(s.random)
	}
	if s.kind == api.AtStart || s.kind == api.OnBase {
		return now.Add(max(s.delay+s.random, s.RetryAtMost()))
	}
	return time.Time{}
}

// Delayed is a slot with its random delay; random lies in [0, 1).
func (s Schedule) Delayed(slot time.Time, random float64) time.Time {
	return slot.Add(Part(s.random, random))
}

// Part is a part of d; random lies in [0, 1).
func Part(d time.Duration, random float64) time.Duration {
	return time.Duration(float64(d) * random)
}

// weekdays are the names of days, from Sunday as [time.Weekday] counts.
var weekdays = [7]string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

func weekday(name string) (int, bool) {
	i := slices.Index(weekdays[:], strings.ToLower(name))
	return i, i >= 0
}
