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
		a.emit(event.SettingsRefused, map[string]string{"file": a.Settings, "error": a.refused})
	}
	rec := a.records.Tasks[api.TaskUpdate]
	now := a.Clock.Now().UTC()
	rec.Next = rec.schedule(a.force.schedule()).atStart(now, rec.Next, rand.Float64())
	if resume {
		rec.Next = now
	}
	a.records.Tasks[api.TaskUpdate] = rec
	return nil
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

// startDue starts the update if it is due, else says how long until it is.
// While something runs nothing is due: its end wakes the loop.
func (a *Agent) startDue() (time.Duration, bool) {
	a.mu.Lock()
	rec := a.records.Tasks[api.TaskUpdate]
	s := rec.schedule(a.force.schedule())
	now := a.Clock.Now()
	rec.Next = s.bound(now, rec.Next)
	a.records.Tasks[api.TaskUpdate] = rec
	idle := a.run == nil && !a.ending
	a.mu.Unlock()
	switch {
	case !s.Enabled || !idle:
		return 0, false
	case rec.Next.After(now):
		return rec.Next.Sub(now), true
	}
	if _, err := a.start(api.TaskUpdate, "on schedule"); err != nil {
		a.warn(fmt.Sprintf("task %d does not start", api.TaskUpdate), err)
		return firstRetry, true
	}
	return 0, false
}

func (a *Agent) cancelRun() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ending = true
	if a.run != nil {
		a.run.cancel(errEnding)
	}
}
