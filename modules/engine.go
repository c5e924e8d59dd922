// Package modules runs what uses bases. So far that is the engine adapter: it
// puts a base's files where an engine reads them, asks the engine about a
// version before the switch, tells it after, and watches its health.
//
// All commands come from the operator's settings, never from a repository.
package modules

import (
	"context"
	"fmt"
	"time"

	"github.com/freshet/freshet/internal/clock"
	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/settings"
)

// Version is a version of a base, as the commands of its engine are told.
type Version struct {
	Dir         string // its files
	Number      string
	PreviousDir string // of the version in use before, or ""
}

// Engine is what uses one base. What is not set is not done: the zero value
// takes every version and is always healthy.
type Engine struct {
	Base     string
	Delivery *Delivery // nil: the engine reads the version's own folder
	Kind     Kind      // nil: an engine known by its commands alone

	TryCommand    []string // exits with 0 if the engine can use the version
	TookCommand   []string // makes the engine read the current version
	Signal        *Signal  // or a signal that does
	HealthCommand []string // exits with 0 while the engine is well

	Timeout     time.Duration // of each command but try; default 60 s
	TryTimeout  time.Duration // of try; default 15 min
	HealthEvery time.Duration // default 10 s
	WatchFor    time.Duration // in which it is checked without a gap; 0: not watched

	Disk  *durable.Disk // nil: the real one
	Clock *clock.Clock  // nil: the real one
}

// From makes the engine that the settings of a base describe. stateDir is
// where it remembers what it delivered.
func From(b settings.Base, stateDir string) *Engine {
	e := &Engine{
		Base:       b.Name,
		TryCommand: b.Try, TookCommand: b.Took, HealthCommand: b.Health,
		Timeout: time.Duration(b.Timeout), TryTimeout: time.Duration(b.TryTimeout), HealthEvery: time.Duration(b.HealthEvery), WatchFor: time.Duration(b.Watch),
	}
	if d := b.Deliver; d != nil {
		e.Delivery = &Delivery{To: d.To, Owner: d.Owner, Group: d.Group, Mode: uint32(d.Mode), StateDir: stateDir}
	}
	e.Kind = kindOf(b, stateDir)
	if s := b.Signal; s != nil {
		e.Signal = &Signal{Pidfile: s.Pidfile, Name: s.Signal}
	}
	return e
}

func kindOf(b settings.Base, stateDir string) Kind {
	switch b.Engine {
	case settings.EngineClamAV:
		return newClamAV(b, stateDir)
	case settings.EngineYARA:
		return newYARA(b, stateDir)
	}
	return nil
}

// Try asks the engine about v before the switch. An error that [IsVeto] is its
// veto; any other error says that it could not be asked.
func (e *Engine) Try(ctx context.Context, v Version) error {
	if e.Kind != nil {
		if err := e.Kind.Try(ctx, v); err != nil {
			return err
		}
	}
	return e.run(ctx, "try", e.TryCommand, v)
}

// Take tells the engine after the switch, by its command or a signal. See
// ErrNotRunning for an engine that is not there to be told by a signal.
func (e *Engine) Take(ctx context.Context, v Version) error {
	if e.Signal != nil {
		if err := e.Signal.Send(); err != nil {
			return fmt.Errorf("telling the engine of %s: %w", e.Base, err)
		}
	}
	if e.Kind != nil {
		if err := e.Kind.Take(ctx, v); err != nil {
			return err
		}
	}
	return e.run(ctx, "took", e.TookCommand, v)
}

// HasHealth says whether there is anything to know the engine's health by.
func (e *Engine) HasHealth() bool {
	_, static := e.Kind.(*YARA)
	return len(e.HealthCommand) > 0 || e.Kind != nil && !static
}

// Reread has a running engine read its folder again, from which files were
// removed. Its took command is not run: that is about a version, and there is none.
func (e *Engine) Reread(ctx context.Context) error {
	if e.Signal != nil {
		if err := e.Signal.Send(); err != nil {
			return fmt.Errorf("telling the engine of %s: %w", e.Base, err)
		}
	}
	if r, ok := e.Kind.(interface{ Reread(context.Context) error }); ok {
		return r.Reread(ctx)
	}
	return ctx.Err()
}

// Baseline says whether the engine is well before a switch, v being the
// version then in use. An engine that fails twice in a row is not.
func (e *Engine) Baseline(ctx context.Context, v Version) (healthy bool, err error) {
	err = e.twice(ctx, v)
	switch {
	case ctx.Err() != nil:
		return false, context.Cause(ctx)
	case err != nil:
		return false, nil
	}
	return true, nil
}

// Watch watches the engine after a switch to v, until WatchFor has passed, and
// from the beginning after a gap: a machine that slept saw nothing. It returns
// the error of the health command when that failed twice in a row: one that
// [IsTimeout] says that the engine does not answer, and not why. An
// engine that was not healthy before (see Baseline) cannot have got worse by
// the switch: it is not watched.
func (e *Engine) Watch(ctx context.Context, v Version, healthyBefore bool) error {
	if !healthyBefore || e.WatchFor <= 0 || len(e.HealthCommand) == 0 && e.Kind == nil {
		return ctx.Err()
	}
	w := e.Clock.Turn(clock.Watch{}, 0)
	began := w
	for {
		pause := max(0, min(began.Now+e.WatchFor-w.Now, e.every()))
		if err := wait(ctx, pause); err != nil {
			return err
		}
		w = e.Clock.Turn(w, pause)
		over := w.Now >= began.Now+e.WatchFor // before the check: the last one is made after the end
		err := e.twice(ctx, v)
		w = e.Clock.Turn(w, 4*e.timeout()+e.every())
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case w.Gaps != began.Gaps:
			began = w // whatever it said, it said of two times
		case err != nil || over:
			return err
		}
	}
}

// twice runs the health command and, if that fails, once more after a while:
// an engine that is loading may miss one check.
func (e *Engine) twice(ctx context.Context, v Version) error {
	if e.check(ctx, v) == nil {
		return nil
	}
	if err := wait(ctx, e.every()); err != nil {
		return err
	}
	return e.check(ctx, v)
}

func (e *Engine) check(ctx context.Context, v Version) error {
	if e.Kind != nil {
		if err := e.Kind.Check(ctx, v); err != nil {
			return err
		}
	}
	return e.run(ctx, "health", e.HealthCommand, v)
}

func (e *Engine) timeout() time.Duration {
	if e.Timeout <= 0 {
		return defaultTimeout
	}
	return e.Timeout
}

func (e *Engine) every() time.Duration {
	if e.HealthEvery <= 0 {
		return 10 * time.Second
	}
	return e.HealthEvery
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
