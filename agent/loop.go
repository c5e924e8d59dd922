package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/event"
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
	// Only who holds the lock may take the socket over.
	ln, err := Listen(socket)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.serve(ctx, ln) })
	group.Go(func() error { return a.watchSettings(ctx) })
	group.Go(func() error { return a.watchImports(ctx) })
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
	resume, err := a.hold(ctx)
	if err != nil {
		return err
	}
	a.service = true
	a.emit(event.AgentStarted, map[string]string{"version": a.Version})
	if a.refused != "" {
		a.tellRefused()
	}
	a.planAll(resume)
	return nil
}

// planAll says when each task runs first after a start. The caller holds a.mu.
func (a *Agent) planAll(resume bool) {
	now := a.Clock.Now().UTC()
	for _, d := range scheduled() {
		rec := a.records.Tasks[d.id]
		s := rec.schedule(d.usual(a.force))
		if rec.Next.IsZero() && !d.atOnce {
			rec.Next = s.after(now, rand.Float64())
		}
		if d.id == api.TaskUpdate && rec.Next.After(now) && a.awaited(rec.Last) {
			rec.Next = now
		}
		rec.Next = s.atStart(now, rec.Next, rand.Float64())
		if resume && d.id == api.TaskUpdate {
			rec.Next = now
		}
		a.records.Tasks[d.id] = rec
	}
}

// loop is the agent's main loop: it sleeps until something is due.
func (a *Agent) loop(ctx context.Context) error {
	w := &watcher{told: a.lastState()}
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
		timer.Reset(a.pass(w))
	}
}

// pass does what is due and gives the time until it must be called again.
func (a *Agent) pass(w *watcher) time.Duration {
	sleep := defaultRecheck
	if a.Recheck > 0 {
		sleep = a.Recheck
	}
	if a.Beat != nil && a.BeatEvery > 0 {
		sleep = min(sleep, a.BeatEvery)
	}
	if d, ok := a.startDue(); ok {
		sleep = min(sleep, d)
	}
	s, err := a.look()
	if err != nil {
		a.warn("the age of the bases is unknown", err)
		return sleep
	}
	j := w.watch(s, a.Clock.Now(), a.emit)
	if j.changes > 0 {
		sleep = min(sleep, j.changes)
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
	s, err := look(a.updater(a.force))
	if err != nil {
		return nil, err
	}
	if a.run == nil { // a run may change all this again
		a.seen = s
	}
	return s, nil
}

// startDue starts a task that is due, else says how long until one is. While
// something runs nothing is due: its end wakes the loop.
func (a *Agent) startDue() (time.Duration, bool) {
	id, next, ok := a.nextDue()
	now := a.Clock.Now()
	switch {
	case !ok:
		return 0, false
	case next.After(now):
		return next.Sub(now), true
	}
	if _, err := a.start(id, "on schedule"); err != nil {
		a.warn(fmt.Sprintf("task %d does not start", id), err)
		return firstRetry, true
	}
	return 0, false
}

// nextDue is the task that runs next by itself.
func (a *Agent) nextDue() (id int, next time.Time, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.run != nil || a.ending {
		return 0, next, false
	}
	for _, d := range scheduled() {
		rec := a.records.Tasks[d.id]
		s := rec.schedule(d.usual(a.force))
		rec.Next = s.bound(a.Clock.Now(), rec.Next)
		a.records.Tasks[d.id] = rec
		if s.Enabled && (!ok || rec.Next.Before(next)) {
			id, next, ok = d.id, rec.Next, true
		}
	}
	return id, next, ok
}

func (a *Agent) cancelRun() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ending = true
	if a.run != nil {
		a.run.cancel(errEnding)
	}
}
