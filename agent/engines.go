package agent

import (
	"context"
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
	}
}

// engineErrors lists what is known of the engines of installed bases.
func (a *Agent) engineErrors(installed []updater.Installed) []api.EngineError {
	a.eventsMu.Lock()
	all := slices.Collect(maps.Values(a.engines))
	a.eventsMu.Unlock()
	var out []api.EngineError
	for _, b := range installed {
		for _, step := range []string{"deliver", "took"} {
			i := slices.IndexFunc(all, func(e api.EngineError) bool { return e.Base == b.Name && e.Step == step })
			if i >= 0 {
				out = append(out, all[i])
			}
		}
	}
	return out
}

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
