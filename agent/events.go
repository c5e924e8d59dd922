package agent

import (
	"context"
	"path/filepath"
	"time"

	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/internal/eventlog"
)

func (a *Agent) eventsPath() string { return filepath.Join(a.Dir, "events.log") }

// openEvents opens the log for writing, or opens it anew with other bounds. The
// caller holds the state folder.
func (a *Agent) openEvents() error {
	a.eventsMu.Lock()
	defer a.eventsMu.Unlock()
	if a.events != nil {
		a.events.Close()
		a.events = nil
	}
	l, err := eventlog.Open(a.eventsPath(), int64(a.force.settings.Events.MaxBytes), a.Disk)
	if err != nil {
		return err
	}
	l.Log = a.Log
	a.events = l
	return nil
}

func (a *Agent) closeEvents() {
	a.eventsMu.Lock()
	defer a.eventsMu.Unlock()
	if a.events != nil {
		a.events.Close()
	}
	a.events = nil
}

// emit logs an event. Where the log cannot be written the agent goes on: the
// journal still has it.
func (a *Agent) emit(code event.Code, fields map[string]string) {
	a.eventsMu.Lock()
	defer a.eventsMu.Unlock()
	now := a.Clock.Now()
	a.engines.note(now, code, fields)
	if a.events == nil {
		return
	}
	if _, err := a.events.Append(event.New(now, code, fields)); err != nil {
		a.warn("an event was not kept", err)
	}
}

// lastState is the code of the state of the bases that was told last, by this
// process or one before it; "" if none ever was.
func (a *Agent) lastState() event.Code {
	l := a.eventLog()
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

// eventLog is the log open for writing; nil without the lock.
func (a *Agent) eventLog() *eventlog.Log {
	a.eventsMu.Lock()
	defer a.eventsMu.Unlock()
	return a.events
}

// follow calls each with the events at or after t and those to come, until ctx
// or the agent ends.
func (a *Agent) follow(ctx context.Context, t time.Time, each func(event.Event) error) error {
	var seq int64
	for l := a.eventLog(); l != nil && ctx.Err() == nil; l = a.eventLog() {
		err := l.Follow(ctx, seq, func(e event.Event) error {
			seq = e.Seq
			if e.Time.Before(t) {
				return nil
			}
			return each(e)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
