package agent

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/freshet/freshet/internal/api"
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
	if a.events == nil || code == event.WithoutSource && a.saidLast(code) {
		return
	}
	if _, err := a.events.Append(event.New(now, code, fields)); err != nil {
		a.warn("an event was not kept", err)
	}
}

// saidLast says whether code was the last word on updates: it is not repeated
// each hour. The caller holds a.eventsMu.
func (a *Agent) saidLast(code event.Code) bool {
	e, ok := a.events.Last(event.WithoutSource, event.NothingNew, event.UpdateStarted, event.SettingsLoaded)
	return ok && e.Code == code
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

// beforeLast is the number of the event before the newest ones, of which there
// are as many as text says; "" is all.
func (a *Agent) beforeLast(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, &api.Error{Code: api.BadRequest, Text: fmt.Sprintf("last %q is no number of events", text)}
	}
	events, err := a.eventsSince(time.Time{})
	if err != nil || len(events) == 0 {
		return 0, err
	}
	if n == 0 {
		return events[len(events)-1].Seq, nil
	}
	return events[max(0, len(events)-n)].Seq - 1, nil
}

// follow calls each with the events above number seq, at or after t, and those
// to come, until ctx or the agent ends.
func (a *Agent) follow(ctx context.Context, seq int64, t time.Time, each func(event.Event) error) error {
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
