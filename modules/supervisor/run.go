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

// runs says whether modules on trial are current. Bases that are on trial beside
// a trial that waits do not make it run.
func (v view) runs() bool { return v.ofModules && v.Below() != v.Good }

// view is the state as it is to run: what a trial that was left tried does not.
func (s *Supervisor) view() (view, error) {
	st, err := s.store().Load()
	v, err := s.viewOf(st, err)
	if err == nil && s.left != nil && v.ofModules {
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
	if s.stopping || s.become != "" {
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
	s.reconcileTrial(v)
	if s.stopping || s.become != "" {
		return
	}
	s.reconcileAgent(v.now.Modules[agentModule])
	others := s.before(v.now.Modules)
	s.reconcileOthers(others)
	s.mu.Lock()
	s.running = maps.Clone(others)
	s.mu.Unlock()
}

// reconcileTrial watches the trial that the state says, and no other. Bases that
// are confirmed beside it only give it another number.
func (s *Supervisor) reconcileTrial(v view) {
	if s.trial != nil && v.runs() {
		slots, _ := triedIn(v)
		if namesOf(slots) == s.trial.names() && slots[agentModule].Dir == s.trial.slots[agentModule].Dir {
			s.trial.number = v.Trial
			return
		}
	}
	if s.trial != nil {
		s.dropTrial()
	}
	s.settleSettings(v)
	if v.runs() {
		s.startTrial(v)
	}
}

// reconcileAgent starts the agent of a slot beside the one that runs, if that
// is another, or none.
func (s *Supervisor) reconcileAgent(want rollback.Slot) {
	switch {
	case s.next != nil && s.next.slot.Dir == want.Dir && !s.next.ending:
		return
	case s.next != nil && !s.next.taken:
		s.next.kill("another version is wanted")
		return // its end comes here again
	case s.next != nil, s.agent != nil && !s.agent.serving && !s.agent.ending:
		return // it is about to take over; one after the other
	case s.agent != nil && s.agent.slot.Dir == want.Dir && !s.agent.ending:
		return
	case s.crashes.waits(want.Dir, s.now()):
		return
	case s.agent != nil && s.agent.serving && !s.agent.ending && s.lacksBaseline():
		s.look(s.now()) // it starts after that: what it breaks while it loads is its fault
		return
	}
	c, err := s.startAgent(want)
	if err != nil {
		s.failed(want, 0, err.Error(), "")
		return
	}
	s.say("agent %s starts, process %d", nameOf(want), c.cmd.Process.Pid)
	s.next = c
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
		if c.ready || c.ending {
			return
		}
		c.ready = true
		if m.Report != nil {
			c.report = *m.Report
		}
		s.advance()
	case doServing:
		c.serving, c.served, c.beat = true, now, now
		s.served(c)
	case doBeat:
		if !c.ending {
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
	case c != s.agent || c.ending:
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

// advance lets the next agent take over once it is ready and the old one gone.
func (s *Supervisor) advance() {
	switch {
	case s.next == nil || !s.next.ready || s.next.ending:
	case s.agent != nil && s.agent.serving && !s.agent.ending && s.lacksBaseline():
		s.look(s.now()) // how things stand is seen before they change
	case s.agent != nil && !s.agent.ending:
		s.agent.end()
		s.agent.beat = s.now()
	case s.agent == nil:
		s.agent, s.next = s.next, nil
		s.agent.taken, s.agent.beat = true, s.now()
		_ = s.agent.line.send(Message{Do: doTake, Every: int64(s.Times.Beat / 3 / time.Millisecond)}) // its end is noticed elsewhere
	}
}

// served is called when an agent has taken over.
func (s *Supervisor) served(c *child) {
	now := s.now()
	if c.report.Support != "" {
		s.support = c.report.Support
	}
	if !s.told {
		s.told = true
		s.notify("READY=1")
	}
	s.say("agent %s serves, %s after its start", nameOf(c.slot), (now - c.began).Round(time.Millisecond))
	if s.trial != nil && s.trial.ofAgent() && s.trial.slots[agentModule].Dir == c.slot.Dir && !s.trial.judging() {
		if s.trial.phase == phaseLoading {
			s.trial.judge.Base = BaselineOf(s.seen)
			if s.trial.failing != nil {
				s.trial.judge.Base.Failing = s.trial.failing
			}
		}
		s.trial.begin(now)
	}
	if s.reverted > 0 && s.trial == nil {
		s.say("the good version serves again, %s after the decision", (now - s.reverted).Round(time.Millisecond))
		s.reverted = 0
	}
	s.seen = nil
	s.reconcile()
	s.resumeTrial(now) // or plans it: the next tick may be far off
	s.sendPending()
	s.writeStatus()
}

// exited takes note of a program's end.
func (s *Supervisor) exited(c *child, err error) {
	how := c.how(err)
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
	expected := c.ending || c.killed == "another version is wanted"
	switch {
	case expected:
	case s.trial != nil && c.killed != "" && s.trial.slots[agentModule].Dir == c.slot.Dir:
		s.back(agentModule, "alive", how, c.tail.text(8)) // it would hang again, and that takes long to see
	default:
		s.failed(c.slot, c.worked(s.now()), how, c.tail.text(8))
	}
	if s.stopping || s.become != "" {
		return
	}
	s.advance()
	s.reconcile()
}

// failed is called when an agent could not be started, or ended by itself after
// it had worked for so long.
func (s *Supervisor) failed(slot rollback.Slot, worked time.Duration, how, lines string) {
	if s.stopping || s.become != "" {
		return
	}
	s.say("agent %s: %s", nameOf(slot), how)
	s.crashes = s.crashes.failed(slot.Dir, s.now(), worked, s.Times)
	if s.trial != nil && s.trial.slots[agentModule].Dir == slot.Dir && slot.Dir != "" {
		s.badEnd(agentModule, how, lines)
		return
	}
	s.failing = how
	if s.crashes.fails == rollback.MaxBadEnds {
		s.tell(event.AgentFailing, map[string]string{
			"version": slot.Version, "error": how, "lines": lines, "support": s.support,
		})
		s.notify("READY=1") // the modules and the engines go on: that is no reason to start all again
		s.told = true
	}
}

// reconcileOthers starts and ends the programs of other modules. Where a slot
// changes, the old program ends before the new one starts: it may hold a port.
func (s *Supervisor) reconcileOthers(want map[string]rollback.Slot) {
	now := s.now()
	for name, c := range s.others {
		if slot, ok := want[name]; (!ok || slot.Dir != c.slot.Dir) && !c.ending {
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
		c := &child{module: name, slot: slot, cmd: exec.Command(s.programOf(name, slot), slot.Start[1:]...)}
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
	if c.ending {
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
	if s.trial != nil && s.trial.slots[name].Dir == slot.Dir && slot.Dir != "" {
		s.badEnd(name, fmt.Sprintf("module %s: %s", name, how), lines)
	}
	g := s.gaps[name]
	g.crashes = g.crashes.failed(slot.Dir, s.now(), worked, s.Times)
	s.gaps[name] = g
}
