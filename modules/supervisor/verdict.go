package supervisor

import (
	"fmt"
	"os"
	"time"

	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/rollback"
)

// failure is why a trial goes back, or one of its ends.
type failure struct {
	module             string // whose it is; "": the agent's, or that of all together
	check, text, lines string
}

// back returns everything to the good generation, and holds back what failed by
// a check of module's. What else was tried waits to be tried again.
func (s *Supervisor) back(module, check, text, lines string) {
	if s.at.phase != failed {
		s.trial.failure = failure{module, check, text, lines}
	}
	s.on(happening{kind: bad})
}

// verdict is on a trial that was rolled back.
type verdict struct {
	trial  *trial
	failed []string            // the modules whose fault it was
	rest   rollback.Generation // what is tried instead, or the good generation
}

// saveBack saves that a trial failed.
func (s *Supervisor) saveBack() {
	t := s.trial
	f := t.failure
	v := verdict{trial: t, failed: blamed(t.slots, f.module)}
	late := false
	st, err := s.change(func(st rollback.State) (rollback.State, error) {
		if late = st.Below() == st.Good; late {
			return st, nil // a person was first
		}
		st, v.rest = s.store().Fail(st, v.failed, s.withdrawn(t.slots, v.failed, f.check, f.text)...)
		return st, nil
	})
	if err != nil {
		s.sayUnsaved("going back", err) // the next tick tries again
		return
	}
	if late {
		s.on(happening{kind: overtaken})
		return
	}
	s.trial, s.verdict, s.crashes = nil, v, backoff{}
	os.Remove(s.markPath())
	s.become = s.programOf(agentModule, t.from[agentModule])
	s.on(happening{kind: rolledBack, standing: standingOf(st, st.Trial != 0), other: s.become != s.Program})
	s.rest() // what is left does not wait for the next tick
}

// endTried ends the agents that failed: the good one need not wait for them.
func (s *Supervisor) endTried() {
	s.decided = s.now()
	for _, c := range []*child{s.agent, s.next} {
		if c != nil && c.slot.Dir == s.verdict.trial.slots[agentModule].Dir {
			c.end()
			c.beat = s.decided - s.Times.Stop + min(s.Times.Stop, 3*time.Second)
		}
	}
}

// report tells of a trial that was rolled back; not to what failed, which would
// swallow what is said of it.
func (s *Supervisor) report() {
	v := s.verdict
	s.tellBack(v.trial.slots, v.trial.from, v.rest, v.failed, v.trial.failure)
}

// tellBack says what was taken back and why, to the operator: in the log of
// events, in the status and in the journal.
// rest is what is tried instead, or the good generation.
func (s *Supervisor) tellBack(slots, from map[string]rollback.Slot, rest rollback.Generation, failed []string, f failure) {
	s.handSettings(namesOf(slots))
	ask := s.support
	if ask == "" {
		ask = "its publisher"
	}
	for _, name := range failed {
		to, then := from[name], "runs as before"
		if next := rest.Modules[name]; next.Dir != to.Dir {
			to, then = next, "is tried again"
		}
		e := event.New(s.Clock.Now(), event.ModuleRolledBack, map[string]string{
			"module": name, "from": orNone(slots[name].Version), "to": orNone(to.Version),
			"check": f.check, "error": f.check + ": " + f.text, "lines": f.lines, "settings": "the operator's edits stay", "support": ask,
		})
		e.Hint = fmt.Sprintf("nothing needs to be done now: %s %s, and %s is not installed again by itself. Tell %s what stands here; freshet modules unhold %s allows it again",
			orNone(to.Version), then, orNone(slots[name].Version), ask, name)
		s.tellEvent(e)
	}
}

func orNone(version string) string {
	if version == "" {
		return "none"
	}
	return version
}
