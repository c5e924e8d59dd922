package agent

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"time"

	"github.com/freshet/freshet/internal/api"
)

// planOf is when and how a task runs. The caller holds a.mu.
func (a *Agent) planOf(d definition) plan {
	usual := d.usual
	if usual == nil {
		usual = manual
	}
	timing, random := usual(a.force)
	p, err := a.records.Tasks[d.id].plan(timing, random, a.zone())
	if err != nil { // what was sound does not fit the settings any more
		a.warn(fmt.Sprintf("task %d runs as the settings say", d.id), err)
	}
	return p
}

// zone is the host's.
func (a *Agent) zone() *time.Location {
	if a.Zone != nil {
		return a.Zone
	}
	return time.Local
}

// set changes a task's schedule, over restarts.
func (a *Agent) set(d definition, c api.TaskChange) (api.Task, error) {
	if d.usual == nil {
		return api.Task{}, badRequest("task %d (%s) runs only when told to", d.id, d.name)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, err := a.hold(context.Background(), false); err != nil {
		return api.Task{}, err
	}
	d, err := a.definitionOf(d.id) // another may have deleted it
	if err != nil {
		return api.Task{}, err
	}
	before := a.records.Tasks[d.id]
	rec, err := a.changed(d, before, c)
	if err != nil {
		return api.Task{}, err
	}
	was := a.planOf(d)
	a.records.Tasks[d.id] = rec
	if d, err = a.definitionOf(d.id); err != nil {
		return api.Task{}, err
	}
	switch now := a.planOf(d); {
	case now.Kind() == api.Interval && was.Kind() == api.Interval:
		a.reschedule(d, false)
	case !reflect.DeepEqual(now.timing, was.timing):
		a.planAnew(d)
	}
	if err := a.records.save(a.Disk, a.Dir); err != nil {
		a.records.Tasks[d.id] = before
		return api.Task{}, err
	}
	a.nudge()
	return a.task(d), nil
}

// changed is a task's record with c applied, all of it within its bounds. The
// caller holds a.mu.
func (a *Agent) changed(d definition, rec record, c api.TaskChange) (record, error) {
	rec, err := rec.change(c)
	if err != nil {
		return rec, err
	}
	switch {
	case d.own == nil && (c.Bases != nil || c.Sources != nil):
		return rec, badRequest("task %d (%s) is about all bases and sources of the settings: make one of your own", d.id, d.name)
	case d.own != nil:
		o := *d.own
		if c.Bases != nil {
			o.Bases = *c.Bases
		}
		if c.Sources != nil {
			o.Sources = *c.Sources
		}
		if err := o.check(); err != nil {
			return rec, err
		}
		if c.Bases != nil || c.Sources != nil {
			if err := o.fits(a.force); err != nil {
				return rec, err
			}
		}
		if o.Type == api.TypeVerify && len(o.Sources) > 0 {
			return rec, badRequest("a verification asks the sources in the settings' order")
		}
		rec.Own = &o
	}
	timing, random := d.usual(a.force)
	_, err = rec.plan(timing, random, a.zone())
	return rec, err
}

// planAnew plans a task whose timing is another than before. Without a service
// the next start does. The caller holds a.mu.
func (a *Agent) planAnew(d definition) {
	rec, now := a.records.Tasks[d.id], a.Clock.Now().UTC()
	rec.Next, rec.Slot, rec.Served, rec.queued = time.Time{}, time.Time{}, time.Time{}, false
	a.records.Tasks[d.id] = a.planOf(d).next(rec, now, rand.Float64())
}

// reschedule bounds a task's next run by its schedule, which changed; now says
// that there is reason not to wait. The caller holds a.mu.
func (a *Agent) reschedule(def definition, now bool) {
	rec := a.records.Tasks[def.id]
	if rec.Next.IsZero() {
		return // it is due at the start, or never by itself
	}
	clock := a.Clock.Now().UTC()
	if now {
		rec.Next = clock
	} else {
		rec = a.planOf(def).bound(rec, clock)
	}
	a.records.Tasks[def.id] = rec
}
