package supervisor

import (
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/rollback"
)

// view is the state with the generations that matter.
type view struct {
	rollback.State
	now, good, trial rollback.Generation
	ofModules        bool // the trial, running or not, is one of modules
}

// view is the state as it is to run: what a trial that was left tried does not.
func (s *Supervisor) view() (view, error) {
	st, err := s.store().Load()
	v, err := s.viewOf(st, err)
	if err == nil && (s.at.phase == left || s.at.phase == died) && v.ofModules {
		return s.viewOf(st.Suspend(), nil)
	}
	return v, err
}

func (s *Supervisor) viewOf(st rollback.State, err error) (view, error) {
	v := view{State: st}
	if err != nil {
		return v, err
	}
	if v.now, err = s.store().Generation(st.Current); err != nil {
		return v, err
	}
	if v.good, err = s.store().Generation(st.Good); err != nil {
		return v, err
	}
	var damaged *rollback.DamagedError
	v.trial, err = s.store().Generation(st.Trial)
	if errors.As(err, &damaged) && st.Current != st.Trial {
		return v, nil // it waits, and cannot be taken up any more
	}
	v.ofModules = st.ModulesOnTrial(v.good, v.trial)
	return v, err
}

// reconcile has what runs be what the current generation says.
func (s *Supervisor) reconcile() {
	if s.at.leaving() {
		return
	}
	v, err := s.view()
	if err != nil {
		// What protects goes on. An agent puts the state in order when it starts.
		s.say("the state cannot be read: %v", err)
		if s.agent != nil || s.next != nil {
			return
		}
	}
	s.read = v
	s.on(asFound(v))
	if s.at.leaving() {
		return
	}
	if s.trial != nil {
		s.trial.number = s.read.Trial // bases that are confirmed beside it give it another
	}
	s.seat()
	others := s.before(s.read.now.Modules)
	s.reconcileOthers(others)
	s.mu.Lock()
	s.running = maps.Clone(others)
	s.mu.Unlock()
}

// seat has agents take their turns.
func (s *Supervisor) seat() {
	want := s.read.now.Modules[agentModule].Dir
	s.on(happening{kind: seated, want: want, pause: s.crashes.waits(want, s.now()), blind: s.lacksBaseline()})
}

// rest takes up what waits, if its time has come.
func (s *Supervisor) rest() {
	s.on(happening{kind: rested, want: s.read.now.Modules[agentModule].Dir})
}

// startNext starts the agent that is wanted beside the one that runs, if any does.
func (s *Supervisor) startNext() {
	want := s.read.now.Modules[agentModule]
	c, err := s.startAgent(want)
	if err != nil {
		s.failed(want, 0, err.Error(), "")
		return
	}
	s.say("agent %s starts, process %d", nameOf(want), c.cmd.Process.Pid)
	s.next = c
}

// takeOver makes the next agent the agent.
func (s *Supervisor) takeOver() {
	s.agent, s.next = s.next, nil
	s.agent.stage, s.agent.beat = takes, s.now()
	_ = s.agent.line.send(Message{Do: doTake, Every: int64(s.Times.Beat / 3 / time.Millisecond)}) // its end is noticed elsewhere
}

func nameOf(slot rollback.Slot) string {
	if slot.Dir == "" {
		return "of this program"
	}
	return slot.Version
}

// said takes a message of an agent's.
func (s *Supervisor) said(c *child, m Message) {
	now := s.now()
	switch m.Do {
	case doReady:
		if c.stage != loads {
			return
		}
		c.stage = ready
		if m.Report != nil {
			c.report = *m.Report
		}
		s.seat()
	case doServing:
		if c.stage != ends {
			c.stage = serves
		}
		c.served, c.beat = now, now
		s.served(c)
	case doBeat:
		if c.stage != ends {
			c.beat = now
		}
	case doSwitch:
		c.line.answer(m, Message{}, s.switchState(c, m))
		s.reconcile()
	default:
		c.line.answer(m, Message{}, fmt.Errorf("%q is not understood", m.Do))
	}
}

// switchState replaces the state for an agent.
func (s *Supervisor) switchState(c *child, m Message) error {
	switch {
	case m.Was == nil || m.Is == nil:
		return errors.New("no state to switch to")
	case c != s.agent || c.stage == ends:
		return errors.New("this agent does not have its turn")
	}
	v, err := s.view()
	if err != nil {
		return err
	}
	if err := Legal(*m.Was, *m.Is, v.ofModules); err != nil {
		return err
	}
	if err := s.older(v, *m.Is); err != nil {
		return err
	}
	return s.store().Switch(*m.Was, *m.Is)
}

// served is called when an agent has taken over.
func (s *Supervisor) served(c *child) {
	now := s.now()
	if c.report.Support != "" {
		s.support = c.report.Support
	}
	s.notify("READY=1") // again is no harm
	s.say("agent %s serves, %s after its start", nameOf(c.slot), (now - c.began).Round(time.Millisecond))
	if s.onTrial(agentModule, c.slot) {
		s.on(happening{kind: tookOver})
	}
	if s.decided > 0 && s.trial == nil {
		s.say("the good version serves again, %s after the decision", (now - s.decided).Round(time.Millisecond))
		s.decided = 0
	}
	s.seen = nil
	s.reconcile()
	s.rest() // the next tick may be far off
	s.sendPending()
	s.writeStatus()
}

// exited takes note of a program's end.
func (s *Supervisor) exited(c *child, err error) {
	how := c.how(err, s.Times)
	switch c {
	case s.next:
		s.next = nil
	case s.agent:
		s.agent = nil
	default:
		s.family.endStrays(c)
		s.otherExited(c, how)
		return
	}
	s.family.endStrays(c)
	switch {
	case c.stage == ends, c.killed == notWanted:
	case c.killed != notKilled && s.onTrial(agentModule, c.slot):
		s.back(agentModule, "alive", how, c.tail.text(8)) // it would hang again, and that takes long to see
	default:
		s.failed(c.slot, c.worked(s.now()), how, c.tail.text(8))
	}
	if s.at.leaving() {
		return
	}
	s.reconcile()
}

// failed is called when an agent could not be started, or ended by itself after
// it had worked for so long.
func (s *Supervisor) failed(slot rollback.Slot, worked time.Duration, how, lines string) {
	if s.at.leaving() {
		return
	}
	s.say("agent %s: %s", nameOf(slot), how)
	s.crashes = s.crashes.failed(slot.Dir, s.now(), worked, s.Times)
	if s.onTrial(agentModule, slot) {
		s.badEnd(agentModule, how, lines)
		return
	}
	s.failing = how
	if s.crashes.fails == rollback.MaxBadEnds {
		s.tell(event.AgentFailing, map[string]string{
			"version": slot.Version, "error": how, "lines": lines, "support": s.support,
		})
		s.notify("READY=1") // the modules and the engines go on: that is no reason to start all again
	}
}

// reconcileOthers starts and ends the programs of other modules. Where a slot
// changes, the old program ends before the new one starts: it may hold a port.
func (s *Supervisor) reconcileOthers(want map[string]rollback.Slot) {
	now := s.now()
	for name, c := range s.others {
		if slot, ok := want[name]; (!ok || slot.Dir != c.slot.Dir) && c.stage != ends {
			c.end()
			c.beat = now
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		slot := want[name]
		if name == agentModule || len(slot.Start) == 0 || s.others[name] != nil || s.gaps[name].crashes.waits(slot.Dir, now) {
			continue
		}
		dir := filepath.Join(s.Dir, "modules", name, slot.Dir)
		c := &child{module: name, slot: slot, stage: serves, cmd: exec.Command(s.programOf(name, slot), slot.Start[1:]...)}
		c.cmd.Dir, c.cmd.Env = dir, environment()
		c.cmd.SysProcAttr = &syscall.SysProcAttr{}
		if err := s.startChild(c); err != nil {
			s.otherFailed(name, slot, 0, err.Error(), "")
			continue
		}
		s.others[name] = c
		s.tellGap(c)
	}
}

// gap is what is known of a module between two of its programs.
type gap struct {
	ended   time.Duration // 0: it did not end by a switch
	from    string
	crashes backoff
}

// tellGap says how long a module that cannot be handed over was away.
func (s *Supervisor) tellGap(c *child) {
	g := s.gaps[c.module]
	if g.ended == 0 || g.from == c.slot.Version {
		return
	}
	away := s.now() - g.ended
	g.ended = 0
	s.gaps[c.module] = g
	s.tell(event.ModuleSwitched, map[string]string{
		"module": c.module, "from": g.from, "to": c.slot.Version, "gap": away.Round(time.Millisecond).String(),
	})
}

func (s *Supervisor) otherExited(c *child, how string) {
	if s.others[c.module] != c {
		return
	}
	delete(s.others, c.module)
	if c.stage == ends {
		g := s.gaps[c.module]
		g.ended, g.from = s.now(), c.slot.Version
		s.gaps[c.module] = g
	} else {
		s.otherFailed(c.module, c.slot, c.worked(s.now()), how, c.tail.text(8))
	}
	s.reconcile()
}

// otherFailed has a module's program, which had worked for so long, wait before
// it is started again.
func (s *Supervisor) otherFailed(name string, slot rollback.Slot, worked time.Duration, how, lines string) {
	s.say("module %s %s: %s", name, slot.Version, how)
	if s.onTrial(name, slot) {
		s.badEnd(name, fmt.Sprintf("module %s: %s", name, how), lines)
	}
	g := s.gaps[name]
	g.crashes = g.crashes.failed(slot.Dir, s.now(), worked, s.Times)
	s.gaps[name] = g
}
