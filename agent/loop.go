package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/updater"
)

const defaultRecheck = 15 * time.Minute

// Run is the service: it holds the state folder, serves the API on socket, runs
// tasks at their times and tells how old the bases are, until ctx ends. ready
// is called once it does all that.
func (a *Agent) Run(ctx context.Context, socket string, ready func()) error {
	if err := a.begun(ctx); err != nil {
		return err
	}
	err := a.live(ctx, socket, ready)
	a.emit(event.AgentStopped, nil)
	return errors.Join(err, a.Close())
}

func (a *Agent) live(ctx context.Context, socket string, ready func()) error {
	ln, err := a.listen(socket)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.serve(ctx, ln) })
	group.Go(func() error { return a.watchSettings(ctx) })
	group.Go(func() error { return a.watchImports(ctx) })
	group.Go(func() error { return a.serveMetrics(ctx) })
	group.Go(func() error { return a.watchFirewall(ctx) })
	group.Go(func() error { return a.loop(ctx) })
	if ready != nil {
		ready()
	}
	return group.Wait()
}

// begun takes the lock and plans the first update.
func (a *Agent) begun(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	resume, err := a.hold(ctx, true)
	if err != nil {
		return err
	}
	a.service = true
	a.emit(event.AgentStarted, map[string]string{"version": a.Version})
	a.settleTrial()
	if a.refused != "" {
		a.tellRefused()
	}
	a.planAll(resume || a.enrolling() != nil)
	a.tellLeft()
	return nil
}

// planAll says when each task runs first after a start. The caller holds a.mu.
func (a *Agent) planAll(resume bool) {
	for _, d := range a.scheduled() {
		a.planFirst(d, resume)
	}
}

// planFirst is planAll for one task.
func (a *Agent) planFirst(d definition, resume bool) {
	now := a.Clock.Now().UTC()
	p, rec, missed := a.planOf(d), a.records.Tasks[d.id], false
	if d.id == api.TaskUpdate && rec.Next.After(now) && a.awaited(rec.Last) {
		rec.Next = now
	}
	rec, missed = p.atStart(rec, now, d.atOnce && p.Kind() != api.Manual, rand.Float64())
	if missed && p.enabled {
		a.skipped(d, whyMissed)
	}
	if resume && d.id == api.TaskUpdate {
		rec.Next = now
	}
	a.records.Tasks[d.id] = rec
}

// Why a run is left out.
const (
	whyMissed = "its time was missed, and it is not made up for"
	whyBusy   = "something else was running"
)

func (a *Agent) skipped(d definition, why string) {
	a.emit(event.TaskSkipped, map[string]string{"task": fmt.Sprint(d.id), "name": d.name, "why": why})
}

// loop is the agent's main loop: it sleeps until something is due.
func (a *Agent) loop(ctx context.Context) error {
	w, m := &watcher{told: a.lastState()}, &metricsFile{}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			a.cancelRun()
			return nil
		case <-timer.C:
		case <-a.wake:
		}
		if a.Beat != nil {
			a.Beat()
		}
		timer.Reset(a.pass(w, m))
	}
}

// pass does what is due and gives the time until it must be called again.
func (a *Agent) pass(w *watcher, m *metricsFile) time.Duration {
	sleep := defaultRecheck
	if a.Recheck > 0 {
		sleep = a.Recheck
	}
	if a.Beat != nil && a.BeatEvery > 0 {
		sleep = min(sleep, a.BeatEvery)
	}
	a.mu.Lock()
	a.settleTrial() // it may have ended before what was tried took over
	if a.retryLeft() {
		sleep = min(sleep, a.Clock.Timer(durable.RetryLeft))
	}
	a.mu.Unlock()
	if d, ok := a.startDue(); ok {
		sleep = min(sleep, a.Clock.Timer(d))
	}
	s, err := a.look()
	if err != nil {
		a.warn("the age of the bases is unknown", err)
		return sleep
	}
	j := w.watch(s, a.Clock.Read(), a.emit)
	m.write(a, s)
	if j.changes > 0 {
		sleep = min(sleep, a.Clock.Timer(j.changes))
	}
	return max(sleep, time.Millisecond)
}

// look gives what ages are judged by, read anew after each change.
func (a *Agent) look() (*seen, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.seen != nil {
		return a.seen, nil
	}
	now := a.Clock.Now()
	s, err := look(a.updater(a.force))
	if err != nil {
		return nil, err
	}
	if s.unread != nil { // that it can be read again is not enough, see startAgain
		a.left.Note(a.statePath(), s.unread, now)
		a.tellLeft()
	}
	if a.run == nil { // a run may change all this again
		a.seen = s
	}
	return s, nil
}

// startDue starts a task that is due, else says how long until one is.
func (a *Agent) startDue() (time.Duration, bool) {
	id, next := a.nextDue()
	if id > 0 {
		if _, err := a.start(id, updater.OnSchedule); err != nil {
			a.warn(fmt.Sprintf("task %d does not start", id), err)
			return firstRetry, true
		}
		return 0, false
	}
	return next.Sub(a.Clock.Now()), !next.IsZero()
}

// nextDue is the task to start now, 0 for none, and when the next is due; zero:
// never. While something runs none is started: a task that comes due waits for
// its end, or is left out.
func (a *Agent) nextDue() (id int, next time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ending {
		return 0, next
	}
	now, since := a.Clock.Now(), time.Time{}
	for _, d := range a.scheduled() {
		p := a.planOf(d)
		if !p.enabled || a.run != nil && a.run.task == d.id {
			continue
		}
		rec, missed := p.late(p.bound(a.records.Tasks[d.id], now), now.UTC(), rand.Float64())
		due := !rec.Next.IsZero() && !rec.Next.After(now)
		switch {
		case missed:
			a.skipped(d, whyMissed)
		case due && a.run != nil && p.skip:
			a.skipped(d, whyBusy)
			rec, due = p.pass(rec, now.UTC(), rand.Float64()), false
		case due && a.run != nil:
			rec.queued = true
		case due && (id == 0 || rec.Next.Before(since)):
			id, since = d.id, rec.Next
		}
		a.records.Tasks[d.id] = rec
		if !due && !rec.Next.IsZero() && (next.IsZero() || rec.Next.Before(next)) {
			next = rec.Next
		}
	}
	return id, next
}

func (a *Agent) cancelRun() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ending = true
	if a.run != nil {
		a.run.cancel(errEnding)
	}
}
