package agent

import (
	"time"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/rollback"
	"github.com/freshet/freshet/updater"
)

// status is read anew from disk, whoever runs: it needs no lock.
func (a *Agent) status() (api.Status, error) {
	a.mu.Lock()
	u := a.updater(a.force)
	st := api.Status{
		Version: a.Version, Agent: a.service, Settings: a.Settings, Refused: a.refused,
		Update: a.task(predefined[0]), Sources: []string{},
	}
	a.mu.Unlock()
	for _, s := range u.Sources {
		st.Sources = append(st.Sources, s.Name())
	}
	installed, state, err := u.Installed()
	if err != nil {
		return st, err
	}
	s := &seen{signedAt: u.SignedAt(), installed: installed, stale: u.Stale}
	clock := a.Clock.Now()
	j := s.judge(clock)
	st.State, st.Why = string(j.state), s.why(j, clock, st.Update)
	if len(st.Sources) == 0 {
		st.Why = "no source is set: nothing can be updated"
	}
	st.SignedAt, st.Now = s.signedAt, bases.Now(clock, s.signedAt).UTC()
	st.Generation, st.Trial, st.Held = state.Current, state.OnTrial(), heldOf(state.Quarantine)
	st.Bases = s.statuses(state, st.Now)
	// What it cannot say of the licence keeps nobody from the rest.
	st.Licence, _ = licenceOf(u)
	return st, nil
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

// heldAbove is why the newest version held back of an installed base is.
func heldAbove(state rollback.State, b updater.Installed) string {
	var newest rollback.Withdrawn
	for _, w := range state.Quarantine {
		if w.Base == b.Name && w.Version > b.Ref.Version && w.Version > newest.Version {
			newest = w
		}
	}
	return newest.Reason
}
