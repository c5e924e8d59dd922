package agent

import (
	"time"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/schedule"
	"github.com/freshet/freshet/internal/source"
)

// plan is when and how a task runs. Its methods are pure: they take a record
// and give the next.
type plan struct {
	schedule.Schedule
	timing  api.Timing
	enabled bool
	makeUp  bool
	skip    bool // it does not wait for another run
	limit   time.Duration
	zone    *time.Location
}

const (
	// soon bounds the random delay of a run that is made up for.
	soon = time.Minute
	// firstRetry is the wait after the first failure; it doubles.
	firstRetry = time.Minute
	// grace is how late a run may begin without having been missed. It is more
	// than the agent sleeps without a look at the clock.
	grace = 20 * time.Minute
)

// next plans the first slot after now.
func (p plan) next(r record, now time.Time, random float64) record {
	r.Slot, r.Next = time.Time{}, time.Time{}
	if slot, ok := p.Next(now, r.Served, p.zone); ok {
		r.Slot, r.Next = slot, p.Delayed(slot, random)
	}
	return r
}

// at plans a slot that something else than the clock gave.
func (p plan) at(r record, slot time.Time, random float64) record {
	r.Slot, r.Next = slot, p.Delayed(slot, random)
	return r
}

// atStart plans after a start of the agent. atOnce says that a task without a
// plan is due; missed, that a run was left out.
func (p plan) atStart(r record, now time.Time, atOnce bool, random float64) (_ record, missed bool) {
	if slot, ok := p.AfterStart(now); ok {
		return p.at(r, slot, random), false
	}
	switch {
	case r.Next.IsZero() && atOnce:
		r.Next = now
		return r, false
	case r.Next.IsZero():
		return p.next(r, now, random), false
	case r.Next.After(now):
		return p.bound(r, now), false
	}
	if r, missed = p.late(r, now, random); missed {
		return r, true
	}
	r.Next = now.Add(schedule.Part(min(p.Random(), soon), random))
	return r, false
}

// late leaves a run out that is late, if it is not to be made up for.
func (p plan) late(r record, now time.Time, random float64) (_ record, missed bool) {
	if p.makeUp || r.queued || r.Next.IsZero() || now.Sub(r.Next) <= grace {
		return r, false
	}
	return p.pass(r, now, random), true
}

// pass goes on to the next slot without a run.
func (p plan) pass(r record, now time.Time, random float64) record {
	r.Served = r.Slot
	return p.next(r, now, random)
}

// bound keeps what is planned within what can be: it may stem from a clock
// that was wrong.
func (p plan) bound(r record, now time.Time) record {
	if last := p.Latest(now, r.Served, p.zone); !last.IsZero() && r.Next.After(last) {
		r.Next = last
	}
	return r
}

// after plans what follows a run that ended now. Failures in a row are tried
// again sooner than the next slot, but no sooner than the sources allow.
func (p plan) after(r record, now time.Time, stopped bool, allowed time.Duration, random float64) record {
	if !r.Slot.IsZero() && !r.Slot.After(now) {
		r.Served = r.Slot
	}
	r.queued = false
	r = p.next(r, now, random)
	most := p.RetryAtMost()
	if r.Failures == 0 || stopped || most == 0 {
		return r
	}
	try := now.Add(source.Backoff{First: min(firstRetry, most), Max: most}.Delay(r.Failures, random))
	if until := now.Add(allowed); until.After(try) {
		r.Next = until
		return r
	}
	if r.Next.IsZero() || p.Kind() == api.Interval || try.Before(r.Next) {
		r.Next = try
	}
	return r
}
