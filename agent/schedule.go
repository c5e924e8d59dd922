package agent

import (
	"time"

	"github.com/freshet/freshet/internal/source"
)

// schedule says when a task runs by itself.
type schedule struct {
	Enabled     bool
	Every       time.Duration
	RandomDelay time.Duration // added to Every anew each time, from 0 to this
}

// soon bounds the random delay of a run that is made up for after a start.
const soon = time.Minute

// firstRetry is the wait after the first failure; it doubles up to Every.
const firstRetry = time.Minute

// after is when the run that follows one ended at t is due. random lies in
// [0, 1).
func (s schedule) after(t time.Time, random float64) time.Time {
	return t.Add(s.Every + part(s.RandomDelay, random))
}

// retry is when to try again after failure n (from 1) in a row: sooner than
// the next regular run, but no sooner than the sources allow.
func (s schedule) retry(t time.Time, n int, allowed time.Time, random float64) time.Time {
	next := t.Add(source.Backoff{First: min(firstRetry, s.Every), Max: s.Every}.Delay(n, random))
	if allowed.After(next) {
		return allowed
	}
	return next
}

// atStart is when the first run after a start is due, given what was planned
// before (zero: nothing, so at once). A missed run is made up for soon.
func (s schedule) atStart(now, planned time.Time, random float64) time.Time {
	switch {
	case planned.IsZero():
		return now
	case !planned.After(now):
		return now.Add(part(min(s.RandomDelay, soon), random))
	}
	return s.bound(now, planned)
}

// bound keeps a planned time within one period of now: it may stem from a
// clock that was wrong, or from a longer period.
func (s schedule) bound(now, planned time.Time) time.Time {
	if last := now.Add(s.Every + s.RandomDelay); planned.After(last) {
		return last
	}
	return planned
}

func part(d time.Duration, random float64) time.Duration {
	return time.Duration(float64(d) * random)
}
