package modules

import (
	"context"
	"errors"
	"fmt"
)

// Kind is what the agent knows of one kind of engine, besides the commands of
// the settings. An error that [IsVeto] speaks against the version; any other
// says that the engine could not be asked.
type Kind interface {
	// Try asks about v before the switch, in a process of its own.
	Try(ctx context.Context, v Version) error
	// Take has the engine use v, whose files are delivered, and returns when
	// it does.
	Take(ctx context.Context, v Version) error
	// Check says whether the engine is well, with v.
	Check(ctx context.Context, v Version) error
}

// stager is a Kind that has more, or something else, delivered than the files
// of a version.
type stager interface {
	// stage gives what to deliver for the version in dir, in order. It is
	// called again after each delivery that it asks for, until it gives none.
	stage(ctx context.Context, dir string, done int) (*staged, error)
	// names are those of all that it may ask for.
	names() []string
}

// staged is a folder to deliver; of each name a record of its own is kept.
type staged struct{ name, dir string }

// planner is a Kind that can say before an update how it will go about it.
type planner interface {
	Plan(ctx context.Context, size int64) (string, error)
}

// Plan says how the engine will try a version whose files have size bytes, if
// there is anything to say. An error is why it cannot.
func (e *Engine) Plan(ctx context.Context, size int64) (string, error) {
	if p, ok := e.Kind.(planner); ok {
		return p.Plan(ctx, size)
	}
	return "", nil
}

// Behind says whether the engine runs, or may, and was not yet seen with v,
// which was delivered to it.
func (e *Engine) Behind(v Version) bool {
	b, ok := e.Kind.(interface{ Behind(v Version) bool })
	return ok && b.Behind(v)
}

// Veto is a judgement of an engine against a version.
type Veto struct{ Engine, Step, Reason string }

func (v *Veto) Error() string { return fmt.Sprintf("%s, %s: %s", v.Engine, v.Step, v.Reason) }

// IsVeto says whether err is a judgement of the version by its engine.
func IsVeto(err error) bool {
	var command *CommandError
	var veto *Veto
	return errors.As(err, &command) || errors.As(err, &veto)
}
