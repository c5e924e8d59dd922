package supervisor

import (
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/freshet/freshet/rollback"
)

// leastLimit is the least time that an agent has to tell how it is, however often it
// is observed: a machine with much else to do starves it for a second or two.
const leastLimit = 3 * time.Second

// observing is an observation that has not ended.
type observing struct {
	agent *child // nil: there is none
	since time.Duration
}

// look observes the agent at its times.
func (s *Supervisor) look(now time.Duration) {
	c := s.agent
	if c == nil || c.stage != serves {
		return
	}
	limit := min(max(2*s.Times.Look, leastLimit), 10*time.Second)
	stuck := s.observing.agent == c // another agent's does not concern it
	if stuck && now-s.observing.since < 2*limit {
		return
	}
	every := s.Times.Look
	if s.trial == nil && len(s.seen) > 1 {
		every = s.Times.Soak // now and then, for a baseline
	}
	if s.lacksBaseline() {
		every = s.Times.Look
		if !s.seenSinceAsked() {
			every = 0
		}
	}
	if len(s.seen) > 0 && now-s.seen[len(s.seen)-1].At < every {
		return
	}
	if stuck { // its time was over long ago, and it may never end
		s.observed(c, s.unobserved(now, limit))
		return
	}
	s.observing = observing{c, now}
	gaps := s.watch.Gaps
	go func() {
		o := s.observe(c, limit)
		s.post(func() {
			if s.observing.agent == c {
				s.observing = observing{}
			}
			if s.watch.Gaps != gaps {
				return // its time ran out while nothing ran
			}
			o.At, o.Gaps = s.now(), gaps
			s.observed(c, o)
		})
	}()
}

// unobserved stands in for an observation that does not come: silence is no
// sign of health.
func (s *Supervisor) unobserved(now, limit time.Duration) Observation {
	o := Observation{At: now, Gaps: s.watch.Gaps, Checks: []Check{{
		Name: observedCheck, Text: fmt.Sprintf("no observation of it ended within %s", 2*limit),
	}}}
	if len(s.seen) > 0 {
		o.Memory, o.CPU = s.seen[len(s.seen)-1].Memory, s.seen[len(s.seen)-1].CPU
	}
	return o
}

// observed judges by what was seen.
func (s *Supervisor) observed(c *child, o Observation) {
	if c != s.agent || c.stage == ends {
		return
	}
	s.endpoints(o.Checks)
	s.seen = append(s.seen, o)
	s.seen = s.seen[max(0, len(s.seen)-8):]
	t := s.trial
	if t == nil || !t.judging() {
		if t != nil && s.at.phase == loading && !s.lacksBaseline() {
			s.based(t)
		}
		s.seat()
		return
	}
	var v Verdict
	t.judge, v = t.judge.See(o)
	switch v.Word {
	case Back:
		s.back(v.Module, v.Check, v.Text, c.tail.text(8))
	case Confirm:
		s.passed()
	}
	s.writeStatus()
}

// endpoints sorts out who does not listen yet: a module has as long to load as an
// agent, and when it has listened once that is over.
func (s *Supervisor) endpoints(checks []Check) {
	for i := range checks {
		c := &checks[i]
		m := s.others[c.Module]
		switch {
		case m == nil:
			c.Loading = false
		case c.Loading:
			c.Loading = !m.heard && s.now()-m.began < s.Times.Ready
		case strings.HasPrefix(c.Name, endpointCheck):
			m.heard = true
		}
	}
}

// based goes on with a trial once it is known how things stand.
func (s *Supervisor) based(t *trial) {
	switch {
	case !t.ofAgent():
		s.on(happening{kind: tookOver})
	case s.next == nil:
		t.failing = append([]string{}, BaselineOf(s.seen).Failing...)
	default:
		return
	}
	s.reconcile() // its programs start now
}

// lacksBaseline says whether how things stand has not been seen since the trial
// was asked for: what failed before the switch, if only for a minute, is not
// held against what is tried.
// An agent that hangs is waited for until its beats are missed.
func (s *Supervisor) lacksBaseline() bool {
	t := s.trial
	if t == nil || s.at.phase != loading {
		return false
	}
	if !s.seenSinceAsked() {
		return true
	}
	return !s.seen[len(s.seen)-1].answered() && s.now()-t.asked < s.Times.Gate+s.Times.Beat
}

// seenSinceAsked says whether anything was seen since the trial was asked for.
func (s *Supervisor) seenSinceAsked() bool {
	return len(s.seen) > 0 && s.seen[len(s.seen)-1].At >= s.trial.asked
}

// before is what is to run besides the agent: as long as what is tried has not
// taken over, that is what ran before it.
func (s *Supervisor) before(now map[string]rollback.Slot) map[string]rollback.Slot {
	if s.trial == nil || s.at.phase != loading {
		return now
	}
	want := maps.Clone(now)
	for name, slot := range s.trial.from {
		switch {
		case name == agentModule:
		case slot.Version == "":
			delete(want, name)
		default:
			want[name] = slot
		}
	}
	return want
}
