package agent

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/freshet/freshet/firewall"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/modules"
	"github.com/freshet/freshet/rollback"
)

// wall is the agent's part of the host's firewall.
type wall struct {
	*firewall.Firewall
	again chan struct{} // of one: what is wanted may be another
}

func (a *Agent) newWall() *wall {
	return &wall{
		Firewall: &firewall.Firewall{
			Dir: filepath.Join(a.Dir, "firewall"), Disk: a.Disk, Clock: a.Clock, Emit: a.emit,
			Keeps: func() bool { return a.eventLog() != nil },
		},
		again: make(chan struct{}, 1),
	}
}

// watchFirewall keeps the host's rules as they are wanted until ctx ends: at
// the start, after a change of settings, bases or generation, and from time to
// time.
func (a *Agent) watchFirewall(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-a.wall.again:
		}
		if next := a.keepFirewall(ctx); next > 0 {
			timer.Reset(next)
		}
	}
}

// keepFirewall brings the rules in line, and gives the time until that is to be
// looked after again; 0: not by itself.
func (a *Agent) keepFirewall(ctx context.Context) time.Duration {
	want, every := a.wantFirewall("")
	a.mu.Lock()
	refused := a.refused != ""
	a.mu.Unlock()
	if !want.Enabled && (refused || !a.wall.Used()) {
		return 0 // settings that cannot be read take nothing away
	}
	next, err := a.wall.Keep(ctx, want)
	if ctx.Err() != nil {
		return 0
	}
	a.sayFirewall(errors.Join(want.Unknown, err))
	if next > 0 {
		return min(next, every)
	}
	if !want.Enabled && err == nil {
		return 0
	}
	return every
}

// sayFirewall keeps what is wrong for the status, and says once that there can
// be no firewall. What else fails, the firewall itself has told.
func (a *Agent) sayFirewall(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	a.mu.Lock()
	before := a.wallError
	a.wallError = text
	a.mu.Unlock()
	if text == before {
		return
	}
	switch {
	case errors.Is(err, firewall.ErrUnavailable):
		a.emit(event.FirewallUnavailable, map[string]string{"error": text})
	case err != nil:
		a.warn("the firewall is not as it should be", err)
	}
}

// wantFirewall is what settings, bases and generation ask for, and how often it
// is looked after. session is what is known of who asks.
func (a *Agent) wantFirewall(session string) (firewall.Want, time.Duration) {
	a.mu.Lock()
	f := a.force
	u := a.updater(f)
	a.mu.Unlock()
	s := f.settings.Firewall
	if s == nil || !s.Enabled {
		return firewall.Want{Mechanism: firewall.ByIPTables}, time.Minute
	}
	want := firewall.Want{
		Enabled: true, Policy: s.Policy, Lists: map[string]firewall.ListFile{}, Mechanism: firewall.ByIPTables,
		Automatic: s.Apply == "automatic", Repair: s.Drift == "repair",
		Lifelines: func(ctx context.Context) []firewall.Lifeline { return lifelines(ctx, f.settings, session) },
	}
	installed, st, err := u.Installed()
	if err != nil {
		want.Unknown = fmt.Errorf("block lists are not known: %w", err)
		return want, time.Duration(s.CheckEvery)
	}
	for _, b := range installed {
		want.Lists[b.Name] = firewall.ListFile{Version: b.Ref.Version, Dir: b.Path}
	}
	want.Mechanism, _, want.Unknown = a.mechanism()
	for _, w := range st.Quarantine {
		if w.Module == modules.Agent && w.At.After(want.Undo) {
			want.Undo = w.At
		}
	}
	return want, time.Duration(s.CheckEvery)
}

// mechanism is what the current generation names, and which that is; by is ""
// where it names none, which means the default.
func (a *Agent) mechanism() (m firewall.Mechanism, by string, err error) {
	store := rollback.Store{Dir: a.Dir}
	var gen rollback.Generation
	st, err := store.Load()
	if err == nil && st.Current > 0 {
		gen, err = store.Generation(st.Current)
	}
	if err == nil {
		m, err = firewall.ParseMechanism(gen.Firewall)
	}
	if err != nil {
		return firewall.ByIPTables, "", fmt.Errorf("the generation's mechanism of the firewall: %w", err)
	}
	if gen.Firewall != "" {
		by = fmt.Sprintf("generation %d", gen.Number)
		if v := gen.Modules[modules.Agent].Version; v != "" {
			by += ", of agent " + v
		}
	}
	return m, by, nil
}
