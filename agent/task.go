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
	"github.com/freshet/freshet/internal/settings"
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
	a.mu.Lock()
	defer a.mu.Unlock()
	def, err := a.definitionOf(id)
	if err != nil {
		return started, nil, err
	}
	if a.run != nil && a.run.task == id && (path == "" || path == a.run.from.path) {
		return api.Started{Task: id, Run: a.run.id, Joined: true}, nil, nil
	}
	if a.run != nil && a.run.yields {
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
	r.yields = def.kind == api.TypeVerify
	r.limited(a.planOf(def).limit, a.Clock)
	work := a.work(def, r, why, path)
	a.runs.Go(func() {
		var f finished
		if why == updater.OnSchedule { // nobody waits for it
			updater.Background(func() { f = work(ctx) })
		} else {
			f = work(ctx)
		}
		a.finish(r, f)
	})
	return api.Started{Task: id, Run: r.id}, nil, nil
}

// work is what a run of a task does. The caller holds a.mu; what it returns is
// called without.
func (a *Agent) work(def definition, r *run, why, path string) func(context.Context) finished {
	f, names, ready := a.force, []string(nil), error(nil)
	if def.own != nil {
		names = def.own.Bases
		f, ready = f.ordered(def.own.Sources)
	}
	if r.from.path = path; path != "" {
		f = f.alone(path)
	}
	u := a.updater(f)
	var enrol *enrolment
	if def.id == api.TaskUpdate && path == "" {
		enrol = a.enrolling()
	}
	switch {
	case enrol != nil:
		u, ready = a.enrolled(enrol)
	case ready == nil:
		ready = a.ready(f)
	}
	r.from.listen(u)
	switch {
	case def.kind == api.TypeRollback:
		return func(ctx context.Context) finished { return a.rollBack(ctx, u) }
	case def.kind == api.TypeVerify:
		return func(ctx context.Context) finished { return a.repair(ctx, u, names, r) }
	case ready != nil:
		return func(ctx context.Context) finished {
			out := a.refuse(ready, len(f.sources) > 0)
			a.endEnrolment(ctx, enrol, &out.result)
			return out
		}
	}
	if u.Only = names; path != "" {
		u.Bandwidth = 0 // a person waits, and loads no network
	}
	return func(ctx context.Context) finished {
		res := u.Run(ctx, why, func(p updater.Progress) { r.report(api.Progress(p)) })
		out := resultOf(res)
		r.from.explain(&out, a.emit)
		a.noteClock(u, &out)
		a.endEnrolment(ctx, enrol, &out)
		return finished{out, res.RetryAfter}
	}
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
	if _, err := a.hold(context.Background(), false); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	r := &run{task: id, name: name, cancel: cancel, done: make(chan struct{})}
	a.run = r
	return r, ctx, nil
}

// exclusively does short work that no task stands for, alone; beside anything
// else it is refused.
func (a *Agent) exclusively(ctx context.Context, name string, work func(context.Context, *updater.Updater) error) error {
	a.mu.Lock()
	return a.alone(ctx, name, work)
}

// inTurn is exclusively, but waits for the end of a task's run.
func (a *Agent) inTurn(ctx context.Context, name string, work func(context.Context, *updater.Updater) error) error {
	a.mu.Lock()
	for a.run != nil && a.run.task != 0 {
		done := a.run.done
		a.mu.Unlock()
		select {
		case <-done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		a.mu.Lock()
	}
	return a.alone(ctx, name, work)
}

// alone does the work with a.mu held when it is called, and let go meanwhile.
func (a *Agent) alone(ctx context.Context, name string, work func(context.Context, *updater.Updater) error) error {
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
	a.takeBackDelivered()
	a.mu.Unlock()
	a.nudge()
	signal(a.wall.again)
	return err
}

// stop ends the running run of a task.
func (a *Agent) stop(id int) error {
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

// repair is task 8, and those of users that are like it.
func (a *Agent) repair(ctx context.Context, u *updater.Updater, names []string, r *run) finished {
	res := api.Result{Outcome: api.Whole, Started: a.Clock.Now().UTC(), Bases: []api.Change{}}
	all, err := u.Repair(ctx, names, func(p updater.Progress) { r.report(api.Progress(p)) })
	if err == nil && len(names) == 0 {
		var slots []updater.Verified
		slots, err = u.VerifyModules(ctx, true, func(p updater.Progress) { r.report(api.Progress(p)) })
		all = append(all, slots...)
	}
	for _, v := range all {
		if v.Module {
			if v.Error != "" {
				res.Outcome, res.Error = api.Failed, "module "+v.Name+" is damaged"
			}
			if v.Repaired || v.Error != "" {
				res.Modules = append(res.Modules, api.ModuleChange{Name: v.Name, From: v.Release, To: v.Release, Error: v.Error})
			}
		}
		if v.Repaired && res.Outcome == api.Whole {
			res.Outcome = api.Repaired
		}
		if v.Module {
			continue
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

// refuse is the end of an update that cannot begin. That there is no source is
// said once: a machine may live on bundles.
func (a *Agent) refuse(err error, sourced bool) finished {
	now := a.Clock.Now().UTC()
	if sourced {
		a.emit(event.UpdateFailed, map[string]string{"error": err.Error()})
	} else {
		a.emit(event.WithoutSource, nil)
	}
	return finished{result: api.Result{Outcome: api.Failed, Error: err.Error(), Started: now, Ended: now, Bases: []api.Change{}}}
}

// finished is a run's result and how long the sources want to be left alone.
type finished struct {
	result     api.Result
	retryAfter time.Duration
}

// finish keeps a run's result and plans the next.
func (a *Agent) finish(r *run, f finished) {
	over := r.overtime()
	r.cancel(nil)
	a.mu.Lock()
	if over > 0 && f.result.Outcome == api.Stopped {
		f.result.Outcome = api.Failed
		a.emit(event.TaskTimedOut, map[string]string{"task": fmt.Sprint(r.task), "name": r.name, "limit": settings.Duration(over).String()})
	}
	f.result.Imported = r.from.path != ""
	before := a.records.Tasks[r.task]
	rec := before.finished(f.result)
	def, err := a.definitionOf(r.task)
	if err == nil && def.usual != nil && !f.result.Imported {
		now, stopped := a.Clock.Now().UTC(), f.result.Outcome == api.Stopped
		rec = a.planOf(def).after(rec, now, stopped, f.retryAfter, rand.Float64())
	}
	if f.result.Imported { // it says nothing about the sources
		rec.Failures = before.Failures
	}
	a.records.Tasks[r.task] = rec
	a.fetched.bytes += f.result.Bytes
	a.fetched.requests += f.result.Requests
	a.trigger(r.task, f.result)
	a.recallAgain()
	if err := a.records.save(a.Disk, a.Dir); err != nil {
		a.warn("the result is not kept over a restart", err)
	}
	a.run, a.seen = nil, nil
	a.takeBackDelivered()
	a.mu.Unlock()
	r.finish(f.result)
	close(r.done)
	a.nudge()
	signal(a.wall.again) // a block list, or the mechanism, may be another
	// An update, and what follows it, need memory that an idle agent does not.
	time.AfterFunc(time.Second, debug.FreeOSMemory)
}

// trigger plans the tasks that an update of a base makes due, but for the one
// that made it. The caller holds a.mu.
func (a *Agent) trigger(task int, res api.Result) {
	var changed []string
	for _, c := range res.Bases {
		if c.Error == "" && c.To > c.From && (res.Outcome == api.Updated || res.Outcome == api.Partly) {
			changed = append(changed, c.Name)
		}
	}
	now := a.Clock.Now().UTC()
	for _, d := range a.scheduled() {
		p, rec := a.planOf(d), a.records.Tasks[d.id]
		if slot, due := p.AfterBases(now, changed); due && p.enabled && d.id != task {
			a.records.Tasks[d.id] = p.at(rec, slot, rand.Float64())
		}
	}
}

// task is a task as the API shows it. The caller holds a.mu.
func (a *Agent) task(d definition) api.Task {
	rec := a.records.Tasks[d.id]
	p := a.planOf(d)
	t := api.Task{
		ID: d.id, Name: d.name, Type: d.kind, Does: d.does, Own: d.own != nil, Enabled: true, Timing: p.timing,
		Running: a.run != nil && a.run.task == d.id, Run: rec.Runs,
		Last: rec.Last, LastSuccess: rec.LastSuccess, LastBytes: rec.Transfer, Failures: rec.Failures,
		MakeUp: p.makeUp, Limit: api.Duration(p.limit), Overlap: api.Queue,
	}
	if p.skip {
		t.Overlap = api.Skip
	}
	if d.own != nil {
		t.Bases, t.Sources = d.own.Bases, d.own.Sources
	}
	if d.usual != nil {
		t.Scheduled = p.Kind() != api.Manual
		t.Enabled, t.Every, t.RandomDelay = p.enabled, p.timing.Every, api.Duration(p.Random())
		if a.service && p.enabled && !t.Running {
			t.Next = rec.Next
		}
	}
	return t
}
