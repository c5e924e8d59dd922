package agent

import (
	"context"
	"maps"
	"path/filepath"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/updater"
)

// Files of the state that the disk does not give, or that a newer version wrote,
// are left as they are (see [durable.Left]). What reads them notes so; here they
// are asked for again, and used as at a start once they can be read.

func (a *Agent) statePath() string { return filepath.Join(a.Dir, "state.json") }

// leftMeans says what a file's being left means for the operator.
var leftMeans = map[string]string{
	"tasks.json":                "tasks are as their copy says, results of runs are kept in memory alone, and no task can be changed",
	"enroll.json":               "the enrolment that was begun waits",
	"settings-accepted.json":    "nothing that was delivered is taken away meanwhile",
	"settings.yaml":             "settings that were accepted before cannot stand in for a settings file that is wrong",
	"settings-after-trial.json": "whether the settings file suits this version is settled later",
}

// tellLeft logs which files are left now and which are back. The caller holds a.mu.
func (a *Agent) tellLeft() {
	if a.eventLog() == nil {
		return // it is told once there is a log
	}
	left, back := a.left.News()
	for path, err := range left {
		if path == a.statePath() {
			a.emit(event.StateUnread, map[string]string{"error": err.Error()})
			continue
		}
		a.emit(event.FileUnread, map[string]string{"file": path, "error": err.Error(), "instead": leftMeans[filepath.Base(path)]})
	}
	for _, path := range back {
		a.emit(event.FileBack, map[string]string{"file": path})
	}
}

// retryLeft asks again for each file whose time has come, and says whether any
// is left. The caller holds a.mu.
func (a *Agent) retryLeft() bool {
	now := a.Clock.Now()
	if a.lock == nil || !a.left.Any() {
		return false
	}
	if a.left.Due(recordsPath(a.Dir), now) {
		a.recallAgain()
	}
	if a.left.Due(a.enrolmentPath(), now) && a.enrolling() != nil {
		a.reschedule(predefined[0], true)
	}
	if a.left.Due(a.historyPath(), now) && a.force.read() {
		f := *a.force
		h, err := a.history()
		a.left.Note(a.historyPath(), err, now)
		f.keeps = h.keeps(f.text) || durable.Lasting(err)
		a.force = &f
	}
	if a.left.Due(a.acceptedPath(), now) {
		a.acceptAgain()
	}
	if a.left.Due(a.statePath(), now) && !a.starting {
		a.starting = true
		a.runs.Go(a.startAgain) // it takes its time, and this loop beats
	}
	a.tellLeft()
	return a.left.Any()
}

// recallAgain takes up the records of tasks that could not be read, once they can
// be. The caller holds a.mu and the state folder.
func (a *Agent) recallAgain() {
	if a.records.left == nil {
		return
	}
	now := a.Clock.Now()
	recs, damaged, err := recall(a.Disk, a.Dir)
	a.left.Note(recordsPath(a.Dir), err, now)
	defer a.tellLeft()
	if err != nil {
		return
	}
	known := a.records
	a.records = recs.after(known)
	for _, d := range a.scheduled() {
		if known.blind && known.Tasks[d.id].Runs == 0 && a.service {
			a.planFirst(d, false)
		}
	}
	if a.setAside(damaged); damaged == nil {
		if err := a.records.save(a.Disk, a.Dir); err != nil {
			a.warn("the tasks are not kept over a restart", err)
		}
	}
	a.nudge()
}

// after gives the records with what happened while they could not be read, which
// known holds: runs, and nothing that people set, since no change was accepted.
func (r records) after(known records) records {
	if !known.blind {
		known.left = nil
		return known // it is all that was read, and what happened since
	}
	all := maps.Clone(r.Tasks)
	for id, now := range known.Tasks {
		was, ok := all[id]
		if now.Runs == 0 {
			continue
		}
		if !ok {
			was = record{Own: now.Own}
		}
		was.Runs += now.Runs
		was.Next, was.Slot, was.Served, was.queued = now.Next, now.Slot, now.Served, now.queued
		if now.Last != nil {
			was.Last, was.Failures = now.Last, now.Failures
		}
		if !now.LastSuccess.IsZero() {
			was.LastSuccess = now.LastSuccess
		}
		if now.Transfer != nil {
			was.Transfer = now.Transfer
		}
		all[id] = was
	}
	r.Tasks, r.LastID = all, max(r.LastID, known.LastID)
	return r
}

// acceptAgain puts in force what was accepted before, where a settings file is
// wrong and that could not be read until now. The caller holds a.mu.
func (a *Agent) acceptAgain() {
	last, ok := a.accepted()
	if !ok || a.refused == "" || a.force.read() {
		return
	}
	a.relog(a.force.settings.Log, last.settings.Log)
	a.force, a.seen = last, nil
	a.reschedule(predefined[0], true)
	a.nudge()
	signal(a.rewatch)
	signal(a.remetrics)
	signal(a.wall.again)
}

// startAgain does what a start does on a state that could not be read then. Where
// something else runs it is tried again after that: what runs may have begun while
// the state could not be read yet.
func (a *Agent) startAgain() {
	now, resume := a.Clock.Now(), false
	err := a.exclusively(context.Background(), "bringing the state into order", func(ctx context.Context, u *updater.Updater) (err error) {
		resume, err = u.Start(ctx)
		return err
	})
	a.mu.Lock()
	defer a.mu.Unlock()
	a.starting = false
	if err != nil && (api.CodeOf(err) == api.Busy || api.CodeOf(err) == api.Stopping) {
		return
	}
	a.left.Note(a.statePath(), err, now)
	a.tellLeft()
	if err != nil && !durable.Lasting(err) {
		a.warn("the state is not brought into order; each run tries again", err)
	}
	if resume {
		a.reschedule(predefined[0], true)
		a.nudge()
	}
}
