package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/delta"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/modules/supervisor"
)

// RunUnder is [Agent.Run] under a supervisor, after Open. It says that it is
// ready, and changes nothing until it is told to take over from the agent
// before it. It ends with ctx, or with the supervisor.
func (a *Agent) RunUnder(ctx context.Context, p *supervisor.Place) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	p.Health, p.Others, p.Tell = a.health, a.callers.others, a.keepEvent
	a.place = p
	go p.Serve() // ends with the supervisor or with this process
	go func() {
		<-p.Ended()
		stop(errors.New("the supervisor is gone"))
	}()
	if err := a.ableToWork(); err != nil {
		return err
	}
	if err := p.Ready(ctx, supervisor.Report{Version: a.Version, Support: a.force.settings.Support}); err != nil {
		return fmt.Errorf("waiting to take over: %w", err)
	}
	a.Beat = p.Beat
	a.BeatEvery = p.Every()
	// The settings may have changed since this process started.
	a.mu.Lock()
	a.refused = ""
	a.loadSettings()
	a.mu.Unlock()
	return a.Run(ctx, "", func() { _ = p.Serving() }) // its end is noticed by ctx
}

// ableToWork is what must be true before an agent takes over: it can read what
// is installed, and do what updates need.
func (a *Agent) ableToWork() error {
	for _, c := range a.health() {
		if !c.OK && c.Name == checkSelf {
			return errors.New(c.Text)
		}
	}
	return nil
}

// checkTime is how long one check may take.
const checkTime = 5 * time.Second

// Names of the checks.
const (
	checkSettings = "settings"
	checkBases    = "bases"
	checkSelf     = "self-test"
)

// health is what an agent says of itself.
func (a *Agent) health() []supervisor.Check {
	a.mu.Lock()
	u, refused := a.updater(a.force), a.refused
	a.mu.Unlock()
	_, _, err := u.Installed()
	all := []supervisor.Check{
		{Name: checkSettings, OK: refused == "", Text: refused},
		outcome(checkBases, err),
		outcome(checkSelf, selfTest()),
	}
	checks := maps.Clone(a.Checks)
	if checks == nil {
		checks = map[string]func(context.Context) error{}
	}
	checks[checkFirewall] = a.checkWall
	for _, name := range slices.Sorted(maps.Keys(checks)) {
		ctx, stop := context.WithTimeout(context.Background(), checkTime)
		all = append(all, outcome(name, checks[name](ctx)))
		stop()
	}
	return all
}

func outcome(name string, err error) supervisor.Check {
	if err != nil {
		return supervisor.Check{Name: name, Text: err.Error()}
	}
	return supervisor.Check{Name: name, OK: true}
}

// selfTest makes and applies a delta, which is what all updates rest on.
func selfTest() error {
	old, now := []byte("a.example\nb.example\n"), []byte("a.example\nc.example\nb.example\n")
	var patch, out bytes.Buffer
	if _, err := delta.Make(context.Background(), &patch, old, now, delta.Options{}); err != nil {
		return fmt.Errorf("making a delta: %w", err)
	}
	err := delta.Apply(context.Background(), &out, bytes.NewReader(old), int64(len(old)), bytes.NewReader(patch.Bytes()), int64(patch.Len()), int64(len(now)))
	if err == nil && !bytes.Equal(out.Bytes(), now) {
		err = errors.New("it led to something else")
	}
	if err != nil {
		return fmt.Errorf("applying a delta: %w", err)
	}
	return nil
}

// keepEvent logs an event of the supervisor's, whose changes of the generation
// nobody else tells this agent of.
func (a *Agent) keepEvent(e event.Event) {
	signal(a.wall.again)
	a.nudge()
	a.eventsMu.Lock()
	defer a.eventsMu.Unlock()
	if a.events == nil {
		return
	}
	if _, err := a.events.Append(e); err != nil {
		a.warn("an event was not kept", err)
	}
}

// supervised is what the supervisor says of itself; nil where none runs.
func (a *Agent) supervised() *api.Supervisor {
	st, ok := supervisor.ReadStatus(a.Runtime)
	if !ok {
		return nil
	}
	out := &api.Supervisor{PID: st.PID, Version: st.Version, Failing: st.Failing, Modules: []api.RunningModule{}}
	for _, m := range st.Modules {
		out.Modules = append(out.Modules, api.RunningModule(m))
	}
	if st.Trial != nil {
		t := api.ModuleTrial(*st.Trial)
		out.Trial = &t
	}
	return out
}
