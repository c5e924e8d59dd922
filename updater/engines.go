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
		if e.Behind(v) {
			if err := e.Take(ctx, v); !errors.Is(err, modules.ErrNotRunning) {
				u.engineFailed(name, "took", err)
			}
		}
	}
}
