package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/updater"
)

// errStopped ends a run that a person stopped, errEnding one that the agent's
// end did.
var (
	errStopped = errors.New("stopped by an operator")
	errEnding  = errors.New("the agent is stopping")
)

// start begins a run of a task, or joins the one that is going on.
func (a *Agent) start(id int, why string) (api.Started, error) {
	def, err := definitionOf(id)
	if err != nil {
		return api.Started{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.run != nil && a.run.task == id {
		return api.Started{Task: id, Run: a.run.id, Joined: true}, nil
	}
	r, ctx, err := a.begin(id, def.name)
	if err != nil {
		return api.Started{}, err
	}
	rec := a.records.Tasks[id]
	rec.Runs++
	r.id = rec.Runs
	a.records.Tasks[id] = rec
	a.last[id] = r
	u, ready := a.updater(a.force), a.force.ready()
	a.runs.Go(func() {
		if id == api.TaskUpdate && ready != nil {
			a.finish(r, a.refuse(ready))
			return
		}
		a.finish(r, a.perform(ctx, u, id, why, r))
	})
	return api.Started{Task: id, Run: r.id}, nil
}

// begin takes the one place for work that changes the state folder. The caller
// holds a.mu.
func (a *Agent) begin(id int, name string) (*run, context.Context, error) {
	switch {
	case a.ending:
		return nil, nil, &api.Error{Code: api.Stopping, Text: errEnding.Error()}
	case a.run != nil:
		return nil, nil, &api.Error{Code: api.Busy, Text: fmt.Sprintf("%s is running", a.run.name)}
	}
	if _, err := a.hold(context.Background()); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	r := &run{task: id, name: name, started: a.Clock.Now(), cancel: cancel}
	a.run = r
	return r, ctx, nil
}

// exclusively does short work that no task stands for, alone.
func (a *Agent) exclusively(ctx context.Context, name string, work func(context.Context, *updater.Updater) error) error {
	a.mu.Lock()
	r, own, err := a.begin(0, name)
	if err != nil {
		a.mu.Unlock()
		return err
	}
	u := a.updater(a.force)
	a.runs.Add(1)
	a.mu.Unlock()
	defer a.runs.Done()
	stop := context.AfterFunc(ctx, func() { r.cancel(ctx.Err()) })
	defer stop()
	err = work(own, u)
	r.cancel(nil)
	a.mu.Lock()
	a.run, a.seen = nil, nil
	a.mu.Unlock()
	a.nudge()
	return err
}

// stop ends the running run of a task.
func (a *Agent) stop(id int) error {
	if _, err := definitionOf(id); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.run == nil || a.run.task != id {
		return &api.Error{Code: api.NotRunning, Text: fmt.Sprintf("task %d is not running", id)}
	}
	a.run.cancel(errStopped)
	return nil
}

// perform is what each task does.
func (a *Agent) perform(ctx context.Context, u *updater.Updater, id int, why string, r *run) finished {
	if id == api.TaskUpdate {
		res := u.Run(ctx, why, func(p updater.Progress) { r.report(api.Progress(p)) })
		return finished{resultOf(res), res.RetryAfter}
	}
	res := api.Result{Outcome: api.RolledBack, Started: a.Clock.Now().UTC()}
	changes, err := u.RollBack(ctx, nil)
	if err != nil {
		res.Outcome, res.Error = api.Failed, err.Error()
	}
	res.Bases, res.Ended = changesOf(changes), a.Clock.Now().UTC()
	return finished{result: res}
}

// refuse is the end of an update that cannot begin.
func (a *Agent) refuse(err error) finished {
	now := a.Clock.Now().UTC()
	a.emit(event.UpdateFailed, map[string]string{"error": err.Error()})
	return finished{result: api.Result{Outcome: api.Failed, Error: err.Error(), Started: now, Ended: now, Bases: []api.Change{}}}
}

// finished is a run's result and how long the sources want to be left alone.
type finished struct {
	result     api.Result
	retryAfter time.Duration
}

// finish keeps a run's result and plans the next.
func (a *Agent) finish(r *run, f finished) {
	r.cancel(nil)
	a.mu.Lock()
	rec := a.records.Tasks[r.task].finished(f.result)
	if def, err := definitionOf(r.task); err == nil && def.scheduled {
		rec.Next = a.nextRun(rec, f)
	}
	a.records.Tasks[r.task] = rec
	if err := a.records.save(a.Disk, a.Dir); err != nil {
		a.warn("the result is not kept over a restart", err)
	}
	a.run, a.seen = nil, nil
	a.mu.Unlock()
	r.finish(f.result)
	a.nudge()
	// An update needs memory that an idle agent does not.
	debug.FreeOSMemory()
}

func (a *Agent) nextRun(rec record, f finished) time.Time {
	s, now := rec.schedule(a.force.schedule()), a.Clock.Now().UTC()
	if rec.Failures > 0 && f.result.Outcome != api.Stopped {
		return s.retry(now, rec.Failures, now.Add(f.retryAfter), rand.Float64())
	}
	return s.after(now, rand.Float64())
}

// set changes a task's schedule, over restarts.
func (a *Agent) set(id int, c api.TaskChange) (api.Task, error) {
	def, err := definitionOf(id)
	if err != nil {
		return api.Task{}, err
	}
	if !def.scheduled {
		return api.Task{}, &api.Error{Code: api.BadRequest, Text: fmt.Sprintf("task %d (%s) runs only when told to", id, def.name)}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, err := a.hold(context.Background()); err != nil {
		return api.Task{}, err
	}
	before := a.records.Tasks[id]
	rec, err := before.change(c)
	if err != nil {
		return api.Task{}, err
	}
	a.records.Tasks[id] = rec
	a.reschedule(false)
	if err := a.records.save(a.Disk, a.Dir); err != nil {
		a.records.Tasks[id] = before
		return api.Task{}, err
	}
	a.nudge()
	return a.task(def), nil
}

// reschedule plans the next update anew after its schedule changed; now says
// that there is reason not to wait. The caller holds a.mu.
func (a *Agent) reschedule(now bool) {
	rec := a.records.Tasks[api.TaskUpdate]
	if rec.Next.IsZero() {
		return // it is due
	}
	s, clock := rec.schedule(a.force.schedule()), a.Clock.Now().UTC()
	if now {
		rec.Next = clock
	} else {
		rec.Next = s.bound(clock, rec.Next)
	}
	a.records.Tasks[api.TaskUpdate] = rec
}

// task is a task as the API shows it. The caller holds a.mu.
func (a *Agent) task(d definition) api.Task {
	rec := a.records.Tasks[d.id]
	t := api.Task{
		ID: d.id, Name: d.name, Does: d.does, Scheduled: d.scheduled, Enabled: true,
		Running: a.run != nil && a.run.task == d.id, Run: rec.Runs,
		Last: rec.Last, LastSuccess: rec.LastSuccess, LastBytes: rec.Transfer, Failures: rec.Failures,
	}
	if d.scheduled {
		s := rec.schedule(a.force.schedule())
		t.Enabled, t.Every, t.RandomDelay = s.Enabled, api.Duration(s.Every), api.Duration(s.RandomDelay)
		if a.service && s.Enabled && !t.Running {
			t.Next = rec.Next
		}
	}
	return t
}
