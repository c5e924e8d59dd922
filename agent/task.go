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

// start begins a run of a task, or joins the one that is going on. The daily
// verification gives way to other tasks.
func (a *Agent) start(id int, why string) (api.Started, error) {
	return a.startFrom(id, why, "")
}

// startFrom is start, with the folder or archive at path in place of the
// sources unless that is "".
func (a *Agent) startFrom(id int, why, path string) (api.Started, error) {
	for {
		started, wait, err := a.tryStart(id, why, path)
		if wait == nil {
			return started, err
		}
		<-wait
	}
}

// tryStart is startFrom, but for a channel that closes when what gives way has.
func (a *Agent) tryStart(id int, why, path string) (started api.Started, wait <-chan struct{}, err error) {
	def, err := definitionOf(id)
	if err != nil {
		return started, nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.run != nil && a.run.task == id && (path == "" || path == a.run.from.path) {
		return api.Started{Task: id, Run: a.run.id, Joined: true}, nil, nil
	}
	if a.run != nil && a.run.task == api.TaskVerify {
		a.run.cancel(fmt.Errorf("gave way to %s", def.name))
		return started, a.run.done, nil
	}
	r, ctx, err := a.begin(id, def.name)
	if err != nil {
		return started, nil, err
	}
	rec := a.records.Tasks[id]
	rec.Runs++
	r.id = rec.Runs
	a.records.Tasks[id] = rec
	a.last[id] = r
	f := a.force
	if r.from.path = path; path != "" {
		f = f.alone(path)
	}
	u, ready := a.updater(f), a.ready(f)
	r.from.listen(u)
	a.runs.Go(func() {
		switch {
		case id == api.TaskRollback:
			a.finish(r, a.rollBack(ctx, u))
		case id == api.TaskVerify:
			a.finish(r, a.repair(ctx, u, r))
		case ready != nil:
			a.finish(r, a.refuse(ready))
		default:
			res := u.Run(ctx, why, func(p updater.Progress) { r.report(api.Progress(p)) })
			out := resultOf(res)
			r.from.explain(&out, a.emit)
			a.finish(r, finished{out, res.RetryAfter})
		}
	})
	return api.Started{Task: id, Run: r.id}, nil, nil
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
	r := &run{task: id, name: name, cancel: cancel, done: make(chan struct{})}
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

// rollBack is task 7.
func (a *Agent) rollBack(ctx context.Context, u *updater.Updater) finished {
	res := api.Result{Outcome: api.RolledBack, Started: a.Clock.Now().UTC()}
	changes, err := u.RollBack(ctx, nil)
	if err != nil {
		res.Outcome, res.Error = api.Failed, err.Error()
	}
	res.Bases, res.Ended = changesOf(changes), a.Clock.Now().UTC()
	return finished{result: res}
}

// repair is task 8.
func (a *Agent) repair(ctx context.Context, u *updater.Updater, r *run) finished {
	res := api.Result{Outcome: api.Whole, Started: a.Clock.Now().UTC(), Bases: []api.Change{}}
	all, err := u.Repair(ctx, nil, func(p updater.Progress) { r.report(api.Progress(p)) })
	for _, v := range all {
		if v.Repaired && res.Outcome == api.Whole {
			res.Outcome = api.Repaired
		}
		if v.Error != "" {
			res.Outcome, res.Error = api.Failed, "base "+v.Name+" is damaged"
		}
		if v.Repaired || v.Error != "" {
			res.Bases = append(res.Bases, api.Change{Name: v.Name, From: v.Version, To: v.Version, Error: v.Error})
		}
	}
	switch {
	case ctx.Err() != nil:
		res.Outcome, res.Error = api.Stopped, context.Cause(ctx).Error()
	case err != nil:
		res.Outcome, res.Error = api.Failed, err.Error()
	}
	res.Ended = a.Clock.Now().UTC()
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
	before := a.records.Tasks[r.task]
	rec := before.finished(f.result)
	if def, err := definitionOf(r.task); err == nil && def.usual != nil && r.from.path == "" {
		rec.Next = a.nextRun(def, rec, f)
	}
	if r.from.path != "" { // it says nothing about the sources
		rec.Failures = before.Failures
	}
	a.records.Tasks[r.task] = rec
	if err := a.records.save(a.Disk, a.Dir); err != nil {
		a.warn("the result is not kept over a restart", err)
	}
	a.run, a.seen = nil, nil
	a.mu.Unlock()
	r.finish(f.result)
	close(r.done)
	a.nudge()
	// An update needs memory that an idle agent does not.
	debug.FreeOSMemory()
}

func (a *Agent) nextRun(def definition, rec record, f finished) time.Time {
	s, now := rec.schedule(def.usual(a.force)), a.Clock.Now().UTC()
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
	if def.usual == nil {
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
	a.reschedule(def, false)
	if err := a.records.save(a.Disk, a.Dir); err != nil {
		a.records.Tasks[id] = before
		return api.Task{}, err
	}
	a.nudge()
	return a.task(def), nil
}

// reschedule plans a task's next run anew after its schedule changed; now says
// that there is reason not to wait. The caller holds a.mu.
func (a *Agent) reschedule(def definition, now bool) {
	rec := a.records.Tasks[def.id]
	if rec.Next.IsZero() {
		return // it is due
	}
	s, clock := rec.schedule(def.usual(a.force)), a.Clock.Now().UTC()
	if now {
		rec.Next = clock
	} else {
		rec.Next = s.bound(clock, rec.Next)
	}
	a.records.Tasks[def.id] = rec
}

// task is a task as the API shows it. The caller holds a.mu.
func (a *Agent) task(d definition) api.Task {
	rec := a.records.Tasks[d.id]
	t := api.Task{
		ID: d.id, Name: d.name, Does: d.does, Scheduled: d.usual != nil, Enabled: true,
		Running: a.run != nil && a.run.task == d.id, Run: rec.Runs,
		Last: rec.Last, LastSuccess: rec.LastSuccess, LastBytes: rec.Transfer, Failures: rec.Failures,
	}
	if d.usual != nil {
		s := rec.schedule(d.usual(a.force))
		t.Enabled, t.Every, t.RandomDelay = s.Enabled, api.Duration(s.Every), api.Duration(s.RandomDelay)
		if a.service && s.Enabled && !t.Running {
			t.Next = rec.Next
		}
	}
	return t
}
