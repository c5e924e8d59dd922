package licence

import (
	"fmt"
	"time"
)

// SoonBefore is how long before its end a licence is pointed out.
const SoonBefore = 14 * 24 * time.Hour

// State is how an endpoint stands with its repository.
type State string

// The states. Updates are unlimited in the first three.
const (
	NotRequired State = "not required"
	Current     State = "current"
	ExpiresSoon State = "expires soon"
	Expired     State = "expired"
	Missing     State = "missing"
	Unknown     State = "unknown" // the repository's word was not fetched yet
)

// Standing is the judgement on an endpoint's licences.
type Standing struct {
	State   State
	Licence *Licence  // the one that counts: that which ends last; nil: none fits
	Known   []Verdict // on each licence that was looked at
}

// Verdict is the judgement on one licence.
type Verdict struct {
	Licence Licence
	Expired bool
	Refused string // why it does not count here; "": it does, or did
}

// MayUpdate says whether updates are unlimited.
func (s Standing) MayUpdate() bool {
	return s.State == NotRequired || s.State == Current || s.State == ExpiresSoon
}

// Judge holds licences against the terms of a repository for one agent. now
// should never go back: see clock.Reading.Now.
func Judge(t Terms, docs []*Document, repository, agent string, now time.Time) Standing {
	s := Standing{State: Missing}
	var best *Verdict
	for _, d := range docs {
		v := t.judge(d, repository, agent, now)
		s.Known = append(s.Known, v)
		if v.Refused == "" && (best == nil || v.Licence.Until.After(best.Licence.Until)) {
			best = &v
		}
	}
	if best != nil {
		s.Licence = &best.Licence
	}
	switch {
	case !t.Required:
		s.State = NotRequired
	case best == nil:
	case best.Expired:
		s.State = Expired
	case !now.Before(best.Licence.Until.Add(-SoonBefore)):
		s.State = ExpiresSoon
	default:
		s.State = Current
	}
	return s
}

func (t Terms) judge(d *Document, repository, agent string, now time.Time) Verdict {
	l := d.Signed
	v := Verdict{Licence: l, Expired: !now.Before(l.Until)}
	switch err := t.verify(d); {
	case l.Repository != repository:
		v.Refused = fmt.Sprintf("it is for repository %s, not for %s", l.Repository, repository)
	case err != nil:
		v.Refused = err.Error()
	case l.Agent != "" && l.Agent != agent:
		v.Refused = fmt.Sprintf("it is for agent %s, not for this one", l.Agent)
	}
	return v
}

func (t Terms) verify(d *Document) error {
	if len(t.Keys) == 0 {
		return fmt.Errorf("the repository names no key for licences")
	}
	keys, err := t.keys()
	if err != nil {
		return err
	}
	return d.verify(keys, t.Threshold)
}
