package supervisor

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/rollback"
)

// Phases of a trial.
const (
	phaseLoading    = "loading"    // what is tried has not taken over yet
	phaseWatched    = "watched"    // gate, then soak
	phaseSupervisor = "supervisor" // its own supervisor runs, for a last gate
)

// trial is the trial that runs.
type trial struct {
	number int                      // of the generation on trial
	slots  map[string]rollback.Slot // what is tried
	from   map[string]rollback.Slot // what ran before
	phase  string
	judge  Trial
	asked  time.Duration // when the state first said it

	due       *failure  // why it goes back, where that could not be saved yet
	uncounted []failure // ends that could not be saved yet

	failing []string // checks, before an agent that is tried was started; nil: not known
}

func (t *trial) judging() bool { return t.phase != phaseLoading && t.judge.Began > 0 }

func (t *trial) ofAgent() bool { _, ok := t.slots[agentModule]; return ok }

// begin is called when what is tried has taken over.
func (t *trial) begin(now time.Duration) {
	t.judge.Began = now
	if t.phase == phaseLoading {
		t.phase = phaseWatched
	}
}

// names says what is tried, for people: "agent 1.3.0, scan 2.0.0".
func (t *trial) names() string { return namesOf(t.slots) }

func namesOf(slots map[string]rollback.Slot) string {
	var all []string
	for _, name := range sorted(slots) {
		all = append(all, name+" "+slots[name].Version)
	}
	return strings.Join(all, ", ")
}

// triedIn lists what a view's trial tries, and what the good generation has
// instead.
func triedIn(v view) (slots, from map[string]rollback.Slot) {
	slots, from = map[string]rollback.Slot{}, map[string]rollback.Slot{}
	for _, name := range v.trial.ChangedModules(v.good) {
		slots[name], from[name] = v.trial.Modules[name], v.good.Modules[name]
	}
	return slots, from
}

// mark lies in the runtime folder while a trial runs. A boot and an orderly
// stop take it away: where it stands at a start, the supervisor died.
type mark struct {
	Generation int      `json:"generation"`
	Phase      string   `json:"phase"`
	Base       Baseline `json:"baseline"`
	Support    string   `json:"support,omitempty"`
}

func (s *Supervisor) markPath() string { return filepath.Join(s.Runtime, "modules-trial.json") }

// readMark gives the mark of a trial that a supervisor before this one left; none
// where it is not to be had: a death that is not known is not counted.
func (s *Supervisor) readMark() mark {
	var m mark
	err := s.Disk.ReadJSON(s.markPath(), maxFile, ownFormat, &m)
	if durable.Lasting(err) {
		s.say("the mark of the trial: %v", err)
	}
	if err != nil {
		return mark{}
	}
	return m
}

func (s *Supervisor) writeMark() error {
	t := s.trial
	data, err := json.Marshal(mark{Generation: t.number, Phase: t.phase, Base: t.judge.Base, Support: s.support})
	if err != nil {
		return err
	}
	return s.Disk.WriteFile(s.markPath(), data, 0o644)
}

// begin puts the state in order before anything runs: the good generation
// does, unless this supervisor is itself on trial.
//
// A disk that cannot be written to keeps nothing from running: what was to be
// saved is, as soon as it can be.
func (s *Supervisor) begin() {
	v, err := s.view()
	if err != nil {
		s.say("the state cannot be read; an agent puts it in order: %v", err)
		return
	}
	m := s.readMark()
	s.support = m.Support
	if v.runs() && s.handed && m.Phase == phaseSupervisor {
		s.startTrial(v)
		s.trial.phase = phaseSupervisor
		s.trial.judge.Base = m.Base
		s.trial.judge.Times.Soak = 0
		if err := s.writeMark(); err != nil {
			s.say("the mark of the trial: %v", err)
		}
		return
	}
	if v.ofModules && v.OnTrial() {
		died := m.Generation > 0 && v.runs()
		s.soaked = died && m.Phase == phaseSupervisor
		s.left = &leftTrial{died: died}
		s.endLeft()
		return
	}
	s.settle(v)
}

// settle is what a supervisor does once the good generation is current.
func (s *Supervisor) settle(v view) {
	os.Remove(s.markPath())
	s.settleSettings(v)
	if err := s.registerPackage(); err != nil {
		s.say("%v", err) // the next start tries again
	}
}

// leftTrial is a trial that a supervisor before this one left, and whose end could
// not be saved yet: until then the good generation runs, whatever the disk says.
type leftTrial struct {
	died bool // its mark stood: that counts as a bad end
}

// endLeft ends the trial that was left, as soon as the disk lets it.
func (s *Supervisor) endLeft() {
	if s.left == nil {
		return
	}
	v, err := s.viewOf(s.store().Load())
	if err == nil && v.ofModules && v.OnTrial() {
		err = s.endBroken(v, s.left.died)
	}
	if err != nil {
		s.sayDue("ending the trial that was left", err)
		return
	}
	s.left = nil
	s.settle(v)
}

// endBroken goes back to the good generation from a trial that a supervisor
// before this one left.
func (s *Supervisor) endBroken(v view, died bool) error {
	slots, from := triedIn(v)
	check, text := "supervisor", fmt.Sprintf("the supervisor ended %d times while it was on trial", v.BadEnds+1)
	failed := blamed(slots, agentModule)
	tooOften := false
	var rest rollback.Generation
	_, err := s.change(func(st rollback.State) (rollback.State, error) {
		if st, tooOften = Broken(st, died); tooOften {
			st, rest = s.store().Fail(st, failed, s.withdrawn(slots, failed, check, text)...)
		}
		return st, nil
	})
	if err == nil && tooOften {
		s.tellBack(slots, from, rest, failed, check, text, "")
	}
	return err
}

// blamed names the modules of a trial that a failure is put down to: the one
// that failed; where that is none of them the agent, which all hang on; else
// all of them.
func blamed(slots map[string]rollback.Slot, module string) []string {
	for _, name := range []string{module, agentModule} {
		if _, ok := slots[name]; ok {
			return []string{name}
		}
	}
	return sorted(slots)
}

// withdrawn is what a failed trial puts in the quarantine.
func (s *Supervisor) withdrawn(slots map[string]rollback.Slot, failed []string, check, text string) []rollback.Withdrawn {
	var gone []rollback.Withdrawn
	for _, name := range failed {
		if slots[name].Version == "" {
			continue // it took a module away
		}
		gone = append(gone, rollback.Withdrawn{
			Module: name, Release: slots[name].Version, At: s.Clock.Now().UTC(), Reason: check + ": " + text,
		})
	}
	return gone
}

// startTrial begins to watch the trial of a view.
func (s *Supervisor) startTrial(v view) {
	slots, from := triedIn(v)
	s.trial = &trial{number: v.Trial, slots: slots, from: from, phase: phaseLoading, judge: Trial{Times: s.Times}, asked: s.now()}
	s.resume, s.soon = 0, false
	if s.soaked {
		s.trial.judge.Times.Gate, s.trial.judge.Times.Soak = 0, 0
	}
	s.say("on trial: %s", s.trial.names())
	if err := s.keepSettings(s.trial); err != nil {
		s.say("the settings file is not kept over the trial: %v", err)
	}
	if err := s.writeMark(); err != nil {
		s.say("the mark of the trial: %v", err)
	}
	if slot, ok := slots[agentModule]; ok && s.belowPackage(slot) {
		s.back(agentModule, "version", s.belowText(slot), "")
		return
	}
	s.look(s.now())
}

// dropTrial forgets a trial that the state does not know any more: a person, or
// a newer update, took its place.
func (s *Supervisor) dropTrial() {
	s.trial = nil
	os.Remove(s.markPath())
}

// resumeTrial takes a broken trial up again, once the good one has been well
// for a while.
func (s *Supervisor) resumeTrial(now time.Duration) {
	if s.trial != nil || s.left != nil || s.agent == nil || !s.agent.serving {
		s.resume = 0
		return
	}
	if s.resume == 0 {
		v, err := s.view()
		if err != nil || !v.ofModules || v.runs() || v.Layer != 0 {
			return
		}
		s.resume = now + s.Times.Resume
		tried, _ := triedIn(v)
		if _, ofAgent := tried[agentModule]; s.soaked || s.soon && !ofAgent {
			s.resume = now
		} else if s.soon {
			s.resume = now + 2*s.Times.Look // for a baseline
		}
	}
	if now < s.resume {
		return
	}
	s.resume = 0
	_, err := s.change(func(st rollback.State) (rollback.State, error) {
		if st.Layer != 0 {
			return st, nil // bases are on trial beside it: after them
		}
		return st.Switch(st.Trial)
	})
	if err != nil {
		s.say("taking up the trial again: %v", err)
		return
	}
	s.reconcile()
}

// passed is called when what is tried passed gate and soak.
func (s *Supervisor) passed() {
	t := s.trial
	slot, ofAgent := t.slots[agentModule]
	if program := s.programOf(agentModule, slot); ofAgent && t.phase != phaseSupervisor && program != s.Program {
		// It is watched by the good one's supervisor until here. Now its own
		// shows that it can.
		was := t.phase
		t.phase = phaseSupervisor
		if err := s.writeMark(); err != nil {
			s.say("the mark of the trial: %v", err)
			t.phase = was // it is not confirmed before its own supervisor was seen
			return
		}
		s.goOnWith(program)
		return
	}
	s.confirm()
}

// confirm makes what is tried good.
func (s *Supervisor) confirm() {
	waits := false
	_, err := s.change(func(st rollback.State) (rollback.State, error) {
		if waits = st.Layer != 0; waits || st.Current != st.Trial {
			return st, nil // bases are on trial beside it: after them
		}
		g, err := s.store().Generation(st.Current)
		if err != nil {
			return st, err
		}
		kept, err := s.store().Generations()
		return st.Confirm().ForgetModules(g.Modules, kept), err
	})
	if err != nil || waits {
		if err != nil {
			s.sayDue("confirming", err)
		}
		return
	}
	t := s.trial
	s.trial, s.soaked = nil, false
	os.Remove(s.markPath())
	s.forgetSettings()
	s.say("confirmed: %s", t.names())
	for _, name := range sorted(t.slots) {
		s.tell(event.ModuleUpdated, map[string]string{"module": name, "version": t.slots[name].Version, "from": orNone(t.from[name].Version)})
	}
}

// badEnd counts an end of a module on trial.
// One that cannot be saved counts all the same, with the next that can.
func (s *Supervisor) badEnd(module, how, lines string) {
	t := s.trial
	if t.judging() {
		t.judge.Began = s.now() // what ends is not observed: gate and soak begin anew
	}
	t.uncounted = append(t.uncounted, failure{module: module, text: how, lines: lines})
	s.countEnds()
}

// countEnds saves the ends that are not counted yet.
func (s *Supervisor) countEnds() {
	t := s.trial
	if t == nil || len(t.uncounted) == 0 {
		return
	}
	var last failure // of the module that ended too often
	st, err := s.change(func(st rollback.State) (rollback.State, error) {
		last = failure{}
		for _, f := range t.uncounted {
			next, tooMany := st.EndOf(f.module)
			if st = next; tooMany {
				last = f
			}
		}
		return st, nil
	})
	if err != nil {
		s.sayDue("counting a bad end", err)
		return
	}
	t.uncounted = nil
	if last.module != "" {
		s.back(last.module, "stable", fmt.Sprintf("it ended %d times: %s", st.Ends[last.module], last.text), last.lines)
	}
}

// failure is why a trial goes back, or one of its ends.
type failure struct {
	module             string // whose it is; "": the agent's, or that of all together
	check, text, lines string
}

// back returns everything to the good generation, and holds back what failed by
// a check of module's. What else was tried waits to be tried again.
func (s *Supervisor) back(module, check, text, lines string) {
	t := s.trial
	failed := blamed(t.slots, module)
	var rest rollback.Generation
	late := false
	_, err := s.change(func(st rollback.State) (rollback.State, error) {
		if late = st.Below() == st.Good; late {
			return st, nil // a person was first
		}
		st, rest = s.store().Fail(st, failed, s.withdrawn(t.slots, failed, check, text)...)
		return st, nil
	})
	if err != nil {
		s.sayDue("going back", err)
		t.due = &failure{module, check, text, lines} // the next tick tries again
		return
	}
	if late {
		s.reconcile()
		return
	}
	s.trial, s.soaked, s.crashes = nil, false, backoff{}
	now := s.now()
	os.Remove(s.markPath())
	slot, ofAgent := t.slots[agentModule]
	if ofAgent {
		s.reverted = now
		for _, c := range []*child{s.agent, s.next} {
			if c != nil && c.slot.Dir == slot.Dir {
				c.end() // the good one need not wait for what is bad
				c.beat = now - s.Times.Stop + min(s.Times.Stop, 3*time.Second)
			}
		}
	}
	// Not to what is bad: it would swallow what is said of it.
	s.soon = true // what is left was well until now
	s.tellBack(t.slots, t.from, rest, failed, check, text, lines)
	if ofAgent {
		if good := s.programOf(agentModule, t.from[agentModule]); t.phase == phaseSupervisor && good != s.Program {
			s.goOnWith(good)
			return
		}
	}
	s.reconcile()
	s.resumeTrial(s.now()) // what is left does not wait for the next tick
}

// tellBack says what was taken back and why, to the operator: in the log of
// events, in the status and in the journal.
// rest is what is tried instead, or the good generation.
func (s *Supervisor) tellBack(slots, from map[string]rollback.Slot, rest rollback.Generation, failed []string, check, text, lines string) {
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
			"check": check, "error": check + ": " + text, "lines": lines, "settings": "the operator's edits stay", "support": ask,
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
