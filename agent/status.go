package agent

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/rollback"
	"github.com/freshet/freshet/updater"
)

// noSource is why nothing can be updated, and what to do.
const noSource = "no source: run freshet enroll URL --root FILE"

// status is read anew from disk, whoever runs: it needs no lock.
func (a *Agent) status() (api.Status, error) {
	a.mu.Lock()
	u := a.updater(a.force)
	st := api.Status{
		Version: a.Version, Agent: a.service, Settings: a.Settings, Refused: a.refused,
		Update: a.task(predefined[0]), Sources: []string{},
	}
	st.Unsupplied = len(u.Sources) == 0 && a.force.settings.Import == nil && (st.Update.Last == nil || !st.Update.Last.Imported)
	a.mu.Unlock()
	for _, s := range u.Sources {
		st.Sources = append(st.Sources, s.Name())
	}
	installed, state, err := u.Installed()
	if durable.Lasting(err) && (st.Agent || !errors.Is(err, fs.ErrPermission)) {
		st.StateError, err = err.Error(), nil
		installed = u.Shown()
	}
	if err != nil {
		return st, err
	}
	s := &seen{installed: installed, stale: u.Stale}
	s.signedAt, s.floor = u.Signed()
	clock := a.Clock.Read()
	j := s.judge(clock)
	st.State, st.Why = string(j.state), s.why(j, clock, st.Update)
	st.Missing = missing(absent(u.Bases, installed), state, st.Update.Last)
	switch {
	case len(st.Missing) == 0:
	case len(installed) == 0:
		st.Why = whyMissing(st.Missing)
	default:
		st.Why = joined(whyMissing(st.Missing), st.Why)
	}
	switch {
	case len(st.Sources) == 0 && st.Refused != "":
		st.Why = "nothing can be updated before the settings file is mended"
	case len(st.Sources) == 0:
		st.Why = noSource
	}
	if st.StateError != "" {
		st.State, st.Why = "unknown", st.StateError+"; nothing is updated until it can be read, and engines keep what they have"
	}
	st.HistoryLost, st.Undecided = undecided(state, installed, u)
	st.SignedAt, st.Now = s.signedAt, clock.Now(s.floor).UTC()
	st.Roles = rolesOf(u, st.Now)
	st.Generation, st.Trial, st.Held = state.Current, state.OnTrial(), heldOf(state.Quarantine)
	st.Bases = s.statuses(state, st.Now)
	st.Engines = a.engineErrors(u, installed)
	st.Supervisor = a.supervised()
	// What it cannot say of the licence keeps nobody from the rest.
	st.Licence, _ = licenceOf(u)
	st.Firewall = a.firewallStatus()
	return st, nil
}

// undecided is when the history of rollbacks was lost, and what of the machine
// that still holds back.
func undecided(state rollback.State, installed []updater.Installed, u *updater.Updater) (time.Time, []string) {
	if state.Lost == nil {
		return time.Time{}, nil
	}
	var all []string
	for _, b := range installed {
		if state.Undecided("base", b.Name) {
			all = append(all, b.Name)
		}
	}
	if list, _, err := u.ListModules(); err == nil {
		for _, m := range list {
			if m.Good != "" && state.Undecided("module", m.Name) {
				all = append(all, "module "+m.Name)
			}
		}
	}
	return state.Lost.At, all
}

func (s *seen) statuses(state rollback.State, now time.Time) []api.BaseStatus {
	all := []api.BaseStatus{}
	for _, b := range s.installed {
		age := now.Sub(b.Manifest.Published)
		all = append(all, api.BaseStatus{
			Name: b.Name, Version: b.Ref.Version, Published: b.Manifest.Published,
			Age: int64(age / time.Second), State: string(s.thresholds(b).Freshness(age)),
			Records: b.Manifest.Records, Size: b.Manifest.Image.Size,
			Path: b.Path, Notes: b.Manifest.Notes, Held: heldAbove(state, b),
		})
	}
	return all
}

// absent lists those wanted that are not installed.
func absent(wanted []string, installed []updater.Installed) []string {
	return slices.DeleteFunc(slices.Clone(wanted), func(name string) bool {
		return slices.ContainsFunc(installed, func(b updater.Installed) bool { return b.Name == name })
	})
}

// awaited says whether the settings want a base that is not installed and that
// the last run says nothing of: they changed while no agent ran. The caller
// holds a.mu.
func (a *Agent) awaited(last *api.Result) bool {
	u := a.updater(a.force)
	installed, state, err := u.Installed()
	if err != nil {
		return false
	}
	for _, name := range absent(u.Bases, installed) {
		tried := last != nil && slices.ContainsFunc(last.Bases, func(c api.Change) bool { return c.Name == name })
		if !tried && heldAbove(state, updater.Installed{Name: name}) == "" {
			return true
		}
	}
	return false
}

// missing says of absent bases what the last run does.
func missing(names []string, state rollback.State, last *api.Result) []api.Missing {
	var all []api.Missing
	for _, name := range names {
		m := api.Missing{Name: name}
		if held := heldAbove(state, updater.Installed{Name: name}); held != "" {
			m.Error = "held back: " + held
		} else if last != nil {
			m.Error = failureOf(name, last)
		}
		all = append(all, m)
	}
	return all
}

// failureOf is a run's error for a base, else that of a run that failed whole.
func failureOf(name string, res *api.Result) string {
	for _, c := range res.Bases {
		if c.Name == name {
			return c.Error
		}
	}
	if res.Outcome == api.Failed {
		return res.Error
	}
	return ""
}

func whyMissing(all []api.Missing) string {
	var parts []string
	for _, m := range all {
		part := m.Name
		if m.Error != "" {
			part += " (" + m.Error + ")"
		}
		parts = append(parts, part)
	}
	return "not installed: " + strings.Join(parts, ", ")
}

func joined(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}

// heldAbove is why the newest version held back of an installed base is.
func heldAbove(state rollback.State, b updater.Installed) string {
	var newest rollback.Withdrawn
	for _, w := range state.Quarantine {
		if w.Base == b.Name && w.Module == "" && w.Version == 0 {
			return w.Reason // whatever is newer
		}
		if w.Base == b.Name && w.Version > b.Ref.Version && w.Version > newest.Version {
			newest = w
		}
	}
	return newest.Reason
}
