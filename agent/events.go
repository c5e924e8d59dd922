package agent

import (
	"context"
	"path/filepath"
	"time"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/internal/eventlog"
)

func (a *Agent) eventsPath() string { return filepath.Join(a.Dir, "events.log") }

// openEvents opens the log for writing. The caller holds the state folder.
func (a *Agent) openEvents() error {
	l, err := eventlog.Open(a.eventsPath(), int64(a.force.settings.Events.MaxBytes), a.Disk)
	if err != nil {
		return err
	}
	l.Log = a.Log
	a.events.Store(l)
	return nil
}

func (a *Agent) closeEvents() {
	if l := a.events.Swap(nil); l != nil {
		l.Close()
	}
}

// emit logs an event. Where the log cannot be written the agent goes on: the
// journal still has it.
func (a *Agent) emit(code event.Code, fields map[string]string) {
	l := a.events.Load()
	if l == nil {
		return
	}
	if _, err := l.Append(event.New(a.Clock.Now(), code, fields)); err != nil {
		a.warn("an event was not kept", err)
	}
}

// lastState is the code of the state of the bases that was told last, by this
// process or one before it; "" if none ever was.
func (a *Agent) lastState() event.Code {
	l := a.events.Load()
	if l == nil {
		return ""
	}
	var all []event.Code
	for _, c := range codes {
		all = append(all, c)
	}
	e, _ := l.Last(all...)
	return e.Code
}

// eventsSince gives the events at or after t. It needs no lock.
func (a *Agent) eventsSince(t time.Time) ([]event.Event, error) {
	return eventlog.Reader{Path: a.eventsPath()}.Since(t)
}

// follow calls each with the events at or after t and those to come.
func (a *Agent) follow(ctx context.Context, t time.Time, each func(event.Event) error) error {
	l := a.events.Load()
	if l == nil {
		return &api.Error{Code: api.Unreachable, Text: "no agent runs whose events could be followed"}
	}
	return l.Follow(ctx, 0, func(e event.Event) error {
		if e.Time.Before(t) {
			return nil
		}
		return each(e)
	})
}
