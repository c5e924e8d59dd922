package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/freshet/freshet/firewall"
	"github.com/freshet/freshet/internal/api"
)

func (a *Agent) getFirewall(w http.ResponseWriter, req *http.Request) error {
	want, _ := a.wantFirewall("")
	mechanism, by, _ := a.mechanism() // an error is that of want
	out := api.Firewall{Wanted: want.Enabled, Mechanism: string(mechanism), NamedBy: by}
	a.mu.Lock()
	out.Error = a.wallError
	a.mu.Unlock()
	if want.Enabled || a.wall.Used() {
		shown, err := a.wall.Look(req.Context(), req.URL.Query().Get("counters") != "0", req.URL.Query().Get("contents") == "1")
		if err != nil {
			out.Error = err.Error()
		}
		showFirewall(&out, shown)
		out.Returned = want.Enabled && a.wall.CameBack(shown.State, want)
	}
	return api.Answer(w, out)
}

func showFirewall(out *api.Firewall, s firewall.Shown) {
	out.Backend, out.Why, out.Both = string(s.Host.Backend), s.Host.Why, s.Host.Both
	out.Off, out.Held, out.Place, out.Diff = s.State.Off, s.State.Held, s.Place, s.Diff
	out.Snapshots = s.Snapshots
	if s.State.Trial != nil {
		out.Trial = &api.FirewallTrial{Set: s.State.Trial.Set, Left: api.Duration(s.Left.Round(time.Second))}
	}
	if s.Set != nil {
		out.Set, out.Since, out.Backend = s.Set.Number, s.Set.Made, string(s.Set.Backend)
		out.InForce = string(s.Set.Mechanism)
		out.In, out.Out = string(s.Set.Policy.In), string(s.Set.Policy.Out)
		for _, l := range s.Set.Lists {
			out.Lists = append(out.Lists, api.FirewallList{Base: l.Base, Version: l.Version, Addresses: l.Count, Left: l.Left, Bad: l.Bad, BadLines: l.BadLines})
		}
	}
	for _, c := range s.Counters {
		out.Rules = append(out.Rules, api.FirewallRule{Family: c.Family.String(), Chain: c.Chain, Packets: c.Packets, Bytes: c.Bytes, Rule: c.Rule})
	}
}

func (a *Agent) postFirewallApply(w http.ResponseWriter, req *http.Request) error {
	var ask api.FirewallApply
	if err := api.Decode(req.Body, &ask); err != nil {
		return err
	}
	if c := time.Duration(ask.Confirm); c != 0 && (c < firewall.LeastTrial || c > firewall.MostTrial) {
		return &api.Error{Code: api.BadRequest, Text: fmt.Sprintf("confirm within %s: use %s to %s", c, firewall.LeastTrial, firewall.MostTrial)}
	}
	a.mu.Lock()
	refused := a.refused
	a.mu.Unlock()
	want, _ := a.wantFirewall(ask.Session)
	switch {
	case refused != "":
		return &api.Error{Code: api.SettingsInvalid, Text: "the settings file is wrong: " + refused}
	case !want.Enabled:
		return &api.Error{Code: api.NoFirewall, Text: "the firewall is not switched on", Hint: fmt.Sprintf("set firewall: {enabled: true} in %s; see docs/firewall.md", a.Settings)}
	}
	a.keepEvents(!ask.DryRun)
	out, err := a.wall.Apply(req.Context(), want, firewall.Options{DryRun: ask.DryRun, Force: ask.Force || ask.DryRun, Confirm: time.Duration(ask.Confirm)})
	if err != nil {
		return wallError(err)
	}
	if !ask.DryRun {
		a.sayFirewall(nil)
		signal(a.wall.again) // the end of the trial is to be waited for
	}
	done := api.FirewallApplied{
		Set: out.Set, Backend: string(out.Host.Backend), Rules: out.Rules, Addresses: out.Addresses,
		Cut: out.Cut, Diff: out.Diff, Texts: out.Texts, Confirm: ask.Confirm,
	}
	for _, n := range out.Notes {
		done.Notes = append(done.Notes, "list "+n.Base+": "+n.Text)
	}
	return api.Answer(w, done)
}

func (a *Agent) postFirewallConfirm(w http.ResponseWriter, req *http.Request) error {
	return a.changeWall(w, func() (int, error) { return a.wall.Confirm(req.Context()) })
}

func (a *Agent) postFirewallOff(w http.ResponseWriter, req *http.Request) error {
	return a.changeWall(w, func() (int, error) { return 0, a.wall.Off(req.Context()) })
}

func (a *Agent) postFirewallSnapshot(w http.ResponseWriter, req *http.Request) error {
	var ask api.FirewallName
	if err := api.Decode(req.Body, &ask); err != nil {
		return err
	}
	if err := firewall.CheckName(ask.Name); err != nil {
		return &api.Error{Code: api.BadRequest, Text: err.Error()}
	}
	return a.changeWall(w, func() (int, error) { return a.wall.Snapshot(req.Context(), ask.Name) })
}

func (a *Agent) postFirewallRestore(w http.ResponseWriter, req *http.Request) error {
	var ask api.FirewallName
	if err := api.Decode(req.Body, &ask); err != nil {
		return err
	}
	return a.changeWall(w, func() (int, error) {
		if ask.Name != "" || ask.Previous {
			return a.wall.Return(req.Context(), ask.Name, a.lifelines(req.Context(), ask.Session), ask.Force)
		}
		return a.wall.Restore(req.Context())
	})
}

func (a *Agent) lifelines(ctx context.Context, session string) []firewall.Lifeline {
	a.mu.Lock()
	s := a.force.settings
	a.mu.Unlock()
	return lifelines(ctx, s, session)
}

// changeWall answers with the set that stands after a change.
func (a *Agent) changeWall(w http.ResponseWriter, change func() (int, error)) error {
	a.keepEvents(true)
	n, err := change()
	if err != nil {
		return wallError(err)
	}
	signal(a.wall.again)
	return api.Answer(w, api.FirewallSet{Set: n})
}

// keepEvents has a command in its own process take the state folder, if it can,
// so that what it does to the firewall stands among the events.
func (a *Agent) keepEvents(changes bool) {
	if !changes {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, err := a.hold(context.Background(), false); err != nil && a.lock == nil {
		a.warn("what happens to the firewall is not among the events", err)
	}
}

// TellFirewall writes down, as events, what processes without the log of events
// did to the firewall. Where an agent runs, it does so itself.
func (a *Agent) TellFirewall(ctx context.Context) error {
	a.mu.Lock()
	_, err := a.hold(ctx, false)
	a.mu.Unlock()
	switch {
	case err == nil:
		return a.wall.Tell(ctx)
	case api.CodeOf(err) == api.Locked:
		return nil
	}
	return err
}

// wallError gives an error of the firewall its meaning.
func wallError(err error) error {
	var cut *firewall.LockOut
	switch {
	case errors.As(err, &cut):
		return &api.Error{Code: api.LockOut, Text: cut.Error()}
	case errors.Is(err, firewall.ErrUnavailable):
		return &api.Error{Code: api.NoFirewall, Text: err.Error()}
	case errors.Is(err, firewall.ErrNoTrial):
		return &api.Error{Code: api.NotRunning, Text: err.Error()}
	case errors.Is(err, firewall.ErrNoSnapshot):
		return &api.Error{Code: api.NoSnapshot, Text: err.Error()}
	}
	return &api.Error{Code: api.FirewallFailed, Text: err.Error()}
}

// firewallStatus is the firewall's line in the status; nil: not wanted, and
// nothing of it is there.
func (a *Agent) firewallStatus() *api.FirewallStatus {
	want, _ := a.wantFirewall("")
	if !want.Enabled && !a.wall.Used() {
		return nil
	}
	a.mu.Lock()
	failed := a.wallError
	a.mu.Unlock()
	st, err := a.wall.State()
	s := &api.FirewallStatus{State: "in force", Set: st.Wanted(), Error: failed, Drift: st.Drift.Told != ""}
	switch {
	case err != nil:
		return nil // a process without root cannot tell
	case st.Trial != nil:
		s.State = "on trial"
	case st.Off:
		s.State = "off by hand"
	case !want.Enabled && st.Wanted() == 0:
		return nil
	case st.Held != "":
		s.State = "held at " + st.Held
	case s.Set == 0 && failed != "":
		s.State = "not possible"
	case s.Set == 0:
		s.State = "not applied yet"
	}
	return s
}
