package updater

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/freshet/freshet/modules"
	"github.com/freshet/freshet/rollback"
)

// startTime is how long engines may hold up a start. At boot they wait for it.
const startTime = 30 * time.Second

// askEngines has each job's engine say how it will try the version. One that
// cannot, for want of memory, keeps its version, and nothing is fetched for it.
func (u *Updater) askEngines(ctx context.Context, s *survey) {
	for _, j := range s.jobs {
		engine, ok := u.Engines[j.name]
		if !ok || j.err != nil || j.held != "" {
			continue
		}
		if j.engine, j.err = engine.Plan(ctx, j.manifest.Image.Size); j.err != nil {
			j.engine = ""
		}
		j.foresee(engine)
	}
}

// askAgain asks the engines that were not seen to accept their version in g:
// they did not run then, or not in time. One that does now is announced.
func (u *Updater) askAgain(ctx context.Context, g rollback.Generation, scheduled bool) {
	for name, ref := range g.Bases {
		e, ok := u.Engines[name]
		o := u.EngineNote(name).Took
		if !ok || o == nil || o.Dir != ref.Dir || ctx.Err() != nil {
			continue
		}
		if now := u.Clock.Now(); scheduled && now.Before(o.Until) && !now.Before(o.At) {
			continue
		}
		err := errUndelivered
		if !u.undelivered[name] {
			err = e.Take(ctx, u.version(name, ref, g))
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil && rollback.Brief(err.Error()) != o.Error { // else it was told
			u.engineFailed(name, "took", err)
		}
		u.settleTook(name, ref, err)
	}
}

// catchUp tells engines of the versions in g: those whose link has moved since,
// and those that were not yet seen with what was delivered. Nothing is judged:
// there is nothing to go back to. Events tell what fails.
func (u *Updater) catchUp(ctx context.Context, moved []string, g rollback.Generation) {
	ctx, stop := context.WithTimeout(ctx, startTime)
	defer stop()
	for name, ref := range g.Bases {
		e, ok := u.Engines[name]
		if !ok {
			continue
		}
		if slices.Contains(moved, name) {
			_ = u.take(ctx, name, g, g)
			continue
		}
		v := u.version(name, ref, g)
		if e.Behind(v) && !u.unsettled(name, ref) {
			if err := e.Take(ctx, v); !errors.Is(err, modules.ErrNotRunning) {
				u.engineFailed(name, "took", err)
			}
		}
	}
}
