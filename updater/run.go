package updater

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/internal/source"
	"github.com/freshet/freshet/modules"
	"github.com/freshet/freshet/rollback"
)

// Run is the update task, whole. Whatever happens, a whole version of each
// base stays in use; what went wrong is in the result and in events. The
// caller holds the lock.
func (u *Updater) Run(ctx context.Context, why string, progress func(Progress)) Result {
	r := &reporter{to: progress}
	res := Result{Started: u.Clock.Now().UTC(), Bases: []Change{}}
	before := u.numbers()
	u.notes, u.failed = nil, nil
	if len(u.Sources) > 0 {
		u.emit(event.UpdateStarted, "why", why)
	}
	_, err := u.Start(ctx)
	if err == nil {
		err = u.askOpen(ctx, why)
	}
	if err == nil {
		if err = u.run(ctx, why, r, &res); err != nil {
			// Who is here did not die: a disk that fails at the switch or at the
			// confirmation is no bad end of what was tried.
			err = errors.Join(err, u.Orderly())
		}
	}
	if err == nil && res.switchedModules() {
		// All is done. That the new version's agent has this one end now, which it
		// may do at once, stops nothing.
		ctx = context.WithoutCancel(ctx)
	}
	if ctx.Err() != nil {
		err = errors.Join(err, u.breakOff(ctx))
	}
	u.tellFull(err)
	u.closeIdle()
	after := u.numbers()
	res.Requests, res.Bytes = after.Requests-before.Requests, after.BodyBytes-before.BodyBytes
	res.Ended = u.Clock.Now().UTC()
	u.conclude(ctx, &res, err)
	res.Notes = u.notes
	r.done()
	return res
}

// askOpen asks the engines again that were not seen to accept what is in use.
func (u *Updater) askOpen(ctx context.Context, why string) error {
	_, gen, err := u.load()
	if err == nil {
		u.askAgain(ctx, gen, why == OnSchedule)
	}
	return err
}

// switchedModules says whether modules were put on trial.
func (r *Result) switchedModules() bool {
	return slices.ContainsFunc(r.Modules, func(c ModuleChange) bool { return c.Error == "" && !c.Fetched })
}

// breakOff returns from a trial that is stopped on purpose to the good
// generation, as the next start would. The trial is taken up again later.
func (u *Updater) breakOff(ctx context.Context) error {
	if err := u.Orderly(); err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer stop()
	_, err := u.Start(ctx)
	return err
}

func (u *Updater) run(ctx context.Context, why string, r *reporter, res *Result) error {
	r.phase(PhaseRefresh, "")
	s, err := u.survey(ctx)
	if err != nil {
		return err
	}
	err = u.runBases(ctx, s, why, r, res)
	if ctx.Err() != nil {
		return err
	}
	return errors.Join(err, u.runModules(ctx, s.offer, r, why == OnSchedule, res))
}

// runBases is the part of the update task that is about bases.
func (u *Updater) runBases(ctx context.Context, s *survey, why string, r *reporter, res *Result) error {
	for _, j := range s.jobs {
		j.thrifty = why == OnSchedule
	}
	res.Source = s.offer.source.Name()
	u.tellLicence(s)
	r.phase(PhasePlan, "")
	u.dropStale(s)
	if err := u.ceiling(s); err != nil {
		return err
	}
	u.room(s)
	plan := u.describe(s)
	res.Full = plan.Full
	r.plan(plan)
	ready, err := u.prepare(ctx, s, r, res)
	// A set that something is installed of counts as well: an older one would offer
	// less than what is installed.
	if whole := !s.lacks && len(u.Only) == 0; err == nil && (whole || len(ready) > 0) {
		err = s.offer.view.Complete()
	}
	if u.Proving && len(ready) == 0 && len(s.jobs) > 0 {
		s.drop = nil
	}
	if err != nil || len(ready)+len(s.drop) == 0 {
		return errors.Join(err, s.unlicensed)
	}
	gen, err := u.commit(ctx, s, ready, r)
	if err != nil {
		return err
	}
	return errors.Join(u.judge(ctx, s, gen, ready, r, res), s.unlicensed)
}

// prepare obtains, checks and tries each job's version. A base that fails
// keeps its version and does not hold up the others.
func (u *Updater) prepare(ctx context.Context, s *survey, r *reporter, res *Result) ([]*job, error) {
	var ready []*job
	for _, j := range s.jobs {
		if j.held != "" {
			u.note(fmt.Sprintf("%s stays at version %d: %d is held back (%s) until freshet bases unhold %s",
				j.name, s.now.Bases[j.name].Version, j.manifest.Version, j.held, j.name))
			continue
		}
		if why := u.deferred(j); why != "" {
			u.note(fmt.Sprintf("%s stays at version %d: %s", j.name, s.now.Bases[j.name].Version, why))
			continue
		}
		change := Change{Name: j.name, From: s.now.Bases[j.name].Version}
		if u.Foreign {
			change.From = 0
		}
		err := j.err
		if err == nil {
			change.To, change.Full = j.manifest.Version, j.manifest.Whole()
			err = u.prepareOne(ctx, s, j, r)
			change.Bytes = r.spent(j)
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		var unknown *unknownError
		if errors.As(err, &unknown) {
			change.Error, change.Unknown = err.Error(), true
			u.emit(event.BaseUnknown, "base", j.name, "error", err.Error())
		} else if err != nil {
			change.Error = err.Error()
			res.RetryAfter = max(res.RetryAfter, retryAfter(err))
			var refused *refusedError
			s.lacks = s.lacks || !errors.As(err, &refused)
			u.baseFailed(s, j, err)
		} else {
			ready = append(ready, j)
		}
		res.Bases = append(res.Bases, change)
	}
	return ready, nil
}

func (u *Updater) prepareOne(ctx context.Context, s *survey, j *job, r *reporter) error {
	r.phase(PhaseFetch, j.name)
	if err := u.obtain(ctx, s.offer, j, r); err != nil {
		return err
	}
	if err := u.keepManifest(j); err != nil {
		return err
	}
	engine, ok := u.Engines[j.name]
	if !ok {
		return nil
	}
	r.phase(PhaseTry, j.name)
	if err := engine.Try(ctx, u.version(j.name, j.ref(), s.now)); err != nil {
		if modules.IsVeto(err) {
			return errors.Join(&refusedError{fmt.Errorf("its engine does not take it: %w", err)}, u.dropParts(j))
		}
		if modules.IsTimeout(err) && ctx.Err() == nil {
			err = u.deferTry(j.name, j.ref(), "try", err)
		}
		return fmt.Errorf("its engine could not be asked: %w", err)
	}
	var err error
	used, had := s.now.Bases[j.name]
	j.healthy, err = engine.Baseline(ctx, u.version(j.name, used, s.now))
	// Without a health command, that it accepted a version before is all there is
	// to say that a failure now is the version's.
	j.baseline = j.healthy && (engine.HasHealth() || had && !u.unsettled(j.name, used))
	return err
}

func (u *Updater) baseFailed(s *survey, j *job, err error) {
	version := "unknown"
	if j.manifest != nil {
		version = fmt.Sprint(j.manifest.Version)
	}
	code := event.BaseUpdateFailed
	var refused *refusedError
	if errors.As(err, &refused) {
		code = event.BaseRefused
	}
	if refused != nil && j.err == nil && !u.Foreign { // its content; what its manifest says is seen again at no cost
		u.keepEvidence(j.name, j.manifest.Version, err)
		if next, e := u.withdraw(rollback.Withdrawn{Base: j.name, Version: j.manifest.Version, Keys: j.keys, Reason: err.Error()}); e == nil {
			s.state = next
		}
	}
	u.emit(code, "base", j.name, "version", version, "error", err.Error())
	u.tellFull(err)
}

// commit makes the generation that holds the ready versions the current one.
// Until state.json is replaced nothing has changed.
func (u *Updater) commit(ctx context.Context, s *survey, ready []*job, r *reporter) (rollback.Generation, error) {
	r.phase(PhaseSwitch, "")
	refs := map[string]rollback.Ref{}
	for _, j := range ready {
		refs[j.name] = j.ref()
	}
	var gen rollback.Generation
	st, err := u.change(func(st rollback.State) (rollback.State, error) {
		now, err := u.store().Generation(st.Current) // its modules may be others than when the survey was made
		if err != nil {
			return st, err
		}
		gen = now.With(refs)
		for _, name := range s.drop {
			delete(gen.Bases, name)
		}
		gen.Why, gen.Made = "update", u.Clock.Now().UTC()
		if st, gen, err = u.tryBases(st, gen); err != nil {
			return st, err
		}
		return st, u.beginTrial(gen.Number)
	})
	if err != nil {
		return gen, err
	}
	s.state = st
	return gen, errors.Join(u.show(ctx, gen), u.dropParts(ready...))
}

// judge has the engines take the new versions, watches them, and confirms or
// reverts. A trial that is broken off goes on at the next start.
func (u *Updater) judge(ctx context.Context, s *survey, gen rollback.Generation, ready []*job, r *reporter, res *Result) error {
	r.phase(PhaseWatch, "")
	bad := u.takeAndWatch(ctx, ready, gen, s.now)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if len(bad) == 0 {
		return u.confirm(s, gen, ready)
	}
	if err := u.revert(ctx, s, gen, bad); err != nil {
		return err
	}
	for i := range res.Bases {
		if err := bad[res.Bases[i].Name]; err != nil {
			res.Bases[i].Error = "rolled back: " + err.Error()
		}
	}
	return nil
}

func (u *Updater) confirm(s *survey, gen rollback.Generation, ready []*job) error {
	st, err := u.change(func(st rollback.State) (rollback.State, error) {
		st, err := u.settleBases(st, gen)
		if err == nil {
			err = u.spend(s, st.Good, gen)
		}
		if u.Foreign {
			st = st.Disown()
		}
		if err != nil {
			return st, err
		}
		kept, err := u.store().Generations()
		return st.Forget(gen.Bases, kept), err
	})
	if err != nil {
		return err
	}
	s.state = st
	u.endTrial()
	var text []string
	for _, j := range ready {
		if err := u.settleTry(j.name); err != nil {
			return err
		}
		if e, ok := u.Engines[j.name]; ok { // its files stay from now on
			if err := e.MarkFirst(false); err != nil {
				u.engineFailed(j.name, "deliver", err)
			}
		}
		text = append(text, fmt.Sprintf("%s to version %d", j.name, j.manifest.Version))
	}
	for _, name := range s.drop {
		text = append(text, name+" removed, as it is no longer wanted")
		u.note(name + " was removed: the settings do not name it any more; files delivered into an engine's folder stay there")
	}
	u.emit(event.BasesUpdated, "bases", strings.Join(text, ", "))
	return u.prune(st)
}

// revert returns to the good generation and withdraws what failed. What came
// with it and did not fail is then switched to without another download. What
// its engine gave no answer to is not withdrawn, but tried again later.
func (u *Updater) revert(ctx context.Context, s *survey, gen rollback.Generation, bad map[string]error) error {
	var gone []rollback.Withdrawn
	kept := maps.Clone(gen.Bases)
	for _, name := range slices.Sorted(maps.Keys(bad)) {
		if modules.IsTimeout(bad[name]) {
			bad[name] = u.deferTry(name, gen.Bases[name], "health", bad[name])
		} else {
			u.keepEvidence(name, gen.Bases[name].Version, bad[name])
			gone = append(gone, rollback.Withdrawn{Base: name, Version: gen.Bases[name].Version, At: u.Clock.Now().UTC(), Reason: bad[name].Error(), Keys: gen.Bases[name].Keys})
		}
		if before, ok := s.now.Bases[name]; ok {
			kept[name] = before
		} else {
			delete(kept, name)
		}
	}
	rest := rollback.Generation{Made: u.Clock.Now().UTC(), Why: "update", Bases: kept}
	st, err := u.change(func(st rollback.State) (rollback.State, error) {
		switch {
		case st.Layer != 0:
			st = st.EndBases()
		case st.Current == gen.Number: // else who judges modules has ended it already
			st = st.Revert()
		}
		st = st.Withdraw(gone...)
		if len(rest.Changed(s.now)) == 0 {
			return st, nil
		}
		st, err := u.settleBases(st, rest)
		if err == nil {
			err = u.spend(s, st.Good, rest)
		}
		return st, err
	})
	if err != nil {
		return err
	}
	back, err := u.store().Generation(st.Current)
	if err != nil {
		return err
	}
	s.state = st
	u.endTrial()
	err = u.show(ctx, back)
	for _, name := range slices.Sorted(maps.Keys(bad)) {
		u.take(ctx, name, back, gen)
		u.emit(event.BaseRolledBack, "base", name, "from", fmt.Sprint(gen.Bases[name].Version),
			"to", fmt.Sprint(back.Bases[name].Version), "error", rollback.Brief(bad[name].Error()))
	}
	return errors.Join(err, u.prune(st))
}

// conclude sums up: the outcome, and the event that tells it.
func (u *Updater) conclude(ctx context.Context, res *Result, err error) {
	good, failed := 0, []string{}
	for _, c := range res.Bases {
		switch {
		case c.Error == "":
			good++
		case !c.Unknown || u.empty(): // with nothing installed it is all that there is to tell
			failed = append(failed, c.Name+": "+c.Error)
		}
	}
	for _, c := range res.Modules {
		if c.Error == "" {
			good++
		} else {
			failed = append(failed, strings.TrimSpace("module "+c.Name)+": "+c.Error)
		}
	}
	switch {
	case ctx.Err() != nil:
		res.Outcome, res.Error = Stopped, context.Cause(ctx).Error()
		u.emit(event.UpdateStopped, "error", res.Error)
		return
	case isUnlicensed(err) && good > 0:
		res.Outcome, res.Error = Partly, err.Error()
	case errors.Is(err, errNoSource): // as on a machine that lives on bundles
		res.Outcome, res.Error = Failed, err.Error()
		u.emit(event.WithoutSource)
		return
	case err != nil && !onlyBehind(err):
		res.Outcome, res.Error = Failed, err.Error()
		res.RetryAfter, res.Hint = retryAfter(err), lapsedHint(err)
		u.emit(event.UpdateFailed, "error", res.Error)
		return
	case err == nil && len(failed) > 0 && good > 0:
		res.Outcome, res.Error = Partly, strings.Join(failed, "; ")
	case err == nil && len(failed) > 0:
		res.Outcome, res.Error = Failed, strings.Join(failed, "; ")
		u.emit(event.UpdateFailed, "error", res.Error)
		return
	case good > 0:
		res.Outcome = Updated
	case err != nil:
		res.Outcome, res.Reason = NothingNew, ReasonBehind
		res.Error, res.Hint = err.Error(), behindHint
		u.emit(event.SourcesBehind, "error", res.Error)
		return
	default:
		res.Outcome = NothingNew
		u.emit(event.NothingNew, "source", res.Source)
		return
	}
	u.emit(event.UpdateFinished, "result", res.Outcome, "bytes", fmt.Sprint(res.Bytes))
}

// empty says whether no base is installed.
func (u *Updater) empty() bool {
	_, gen, err := u.load()
	return err == nil && len(gen.Bases) == 0
}

// numbers sums the sources' counters.
func (u *Updater) numbers() source.Numbers {
	if u.Count == nil {
		return source.Numbers{}
	}
	return u.Count.Numbers()
}
