package agent

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/updater"
)

// engineErrors is what engines failed at since the last update began, by base
// and step. Each run delivers again, so that an error that lasts comes back.
type engineErrors map[[2]string]api.EngineError

func (e *engineErrors) note(at time.Time, code event.Code, fields map[string]string) {
	switch code {
	case event.UpdateStarted:
		*e = nil
	case event.EngineFailed:
		if *e == nil {
			*e = engineErrors{}
		}
		base, step := fields["base"], fields["step"]
		(*e)[[2]string{base, step}] = api.EngineError{Base: base, Step: step, Error: fields["error"], At: at.UTC()}
	case event.EngineAccepted:
		delete(*e, [2]string{fields["base"], "took"})
	}
}

// engineErrors lists what is known of the engines of bases: what the last run met,
// and what is open with them, also where another process met it.
func (a *Agent) engineErrors(u *updater.Updater, installed []updater.Installed) []api.EngineError {
	a.eventsMu.Lock()
	known := maps.Clone(a.engines)
	a.eventsMu.Unlock()
	if known == nil {
		known = engineErrors{}
	}
	for name := range u.Engines {
		note := u.EngineNote(name)
		if o := note.Took; o != nil && slices.ContainsFunc(installed, func(b updater.Installed) bool { return b.Name == name && b.Ref.Dir == o.Dir }) {
			// What could not be delivered was not taken either: that is one fault.
			if _, undelivered := known[[2]string{name, "deliver"}]; !undelivered {
				known[[2]string{name, "took"}] = api.EngineError{Base: name, Step: "took", Error: o.Error, At: o.At}
			}
		}
		if o := note.Try; o != nil {
			known[[2]string{name, "try"}] = api.EngineError{Base: name, Step: o.Step, Error: fmt.Sprintf("version %d: %s", o.Version, o.Error), At: o.At}
		}
	}
	var out []api.EngineError
	for _, key := range slices.SortedFunc(maps.Keys(known), compareKeys) {
		there := slices.ContainsFunc(installed, func(b updater.Installed) bool { return b.Name == key[0] })
		if there || key[1] == "try" {
			out = append(out, known[key])
		}
	}
	return out
}

func compareKeys(a, b [2]string) int { return slices.Compare(a[:], b[:]) }

// takeBackDelivered removes what engines were delivered that the settings no
// longer name, if those changed. While a run is at work, which may deliver by
// the settings of before, it waits for its end. The caller holds a.mu.
func (a *Agent) takeBackDelivered() {
	if !a.takeBack || a.run != nil || a.lock == nil {
		return
	}
	a.takeBack = false
	a.updater(a.force).TakeBackDelivered(context.Background())
}
