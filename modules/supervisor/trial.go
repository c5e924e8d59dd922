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

// Phases of a trial, as the status and its mark name them.
const (
	nameLoading    = "loading"
	nameWatched    = "watched"
	nameSupervisor = "supervisor" // its own supervisor runs
)

// phaseName names the phase of the trial that runs.
func (s state) phaseName() string {
	switch {
	case s.process == toTried || s.process == tried:
		return nameSupervisor
	case s.phase == loading:
		return nameLoading
	}
	return nameWatched
}

// handsOver says whether this process is about to go on as another program.
func (s state) handsOver() bool { return s.process == toTried || s.process == toGood }

// leaving says whether this process starts nothing any more.
func (s state) leaving() bool { return s.handsOver() || s.process == ending }

// on takes note of what happened, and does what follows.
func (s *Supervisor) on(h happening) {
	h.now = s.now()
	s.at.agent, s.at.next = seatOf(s.agent), seatOf(s.next)
	next, do := step(s.at, h)
	s.at = next
	for _, a := range do {
		s.do(a)
	}
}

// do does one thing that step says. What comes of it is the next that happens.
func (s *Supervisor) do(a action) {
	switch a {
	case endLeft:
		s.endLeft()
	case settle:
		s.settle()
	case settleSettings:
		s.settleSettings(s.read)
	case startTrial:
		s.startTrial(s.read)
	case dropTrial:
		s.dropTrial()
	case beginGate:
		s.beginGate()
	case countEnds:
		s.countEnds()
	case saveBack:
		s.saveBack()
	case endTried:
		s.endTried()
	case report:
		s.report()
	case markTried:
		s.markTried()
	case confirmTrial:
		s.confirm()
	case takeUp:
		s.takeUp()
	case breakOffLayer:
		s.breakOffLayer()
	case endAll:
		s.endAll()
	case reconcile:
		s.reconcile()
	case startNext:
		s.startNext()
	case killNext:
		s.next.kill(notWanted) // its end comes here again
	case endAgent:
		s.agent.end()
		s.agent.beat = s.now()
	case takeOver:
		s.takeOver()
	case observe:
		s.look(s.now())
	}
}

// trial is the trial that runs.
type trial struct {
	number int                      // of the generation on trial
	slots  map[string]rollback.Slot // what is tried
	from   map[string]rollback.Slot // what ran before
	judge  Trial
	asked  time.Duration // when the state first said it

	failure   failure   // why it goes back, if it does
	uncounted []failure // ends that could not be saved yet

	failing []string // checks, before an agent that is tried was started; nil: not known
}

func (t *trial) judging() bool { return t.judge.Began > 0 }

func (t *trial) ofAgent() bool { _, ok := t.slots[agentModule]; return ok }

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

// asFound is a view as step sees it.
func asFound(v view) happening {
	slots, _ := triedIn(v)
	if !v.ofModules {
		slots = nil
	}
	agent, ofAgent := slots[agentModule]
	h := happening{kind: found, standing: standingOf(v.State, v.ofModules), layer: v.Layer, ofAgent: ofAgent}
	if v.ofModules {
		h.tried = namesOf(slots) + " " + agent.Dir
	}
	return h
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

func (s *Supervisor) writeMark(phase string) error {
	t := s.trial
	data, err := json.Marshal(mark{Generation: t.number, Phase: phase, Base: t.judge.Base, Support: s.support})
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
func (s *Supervisor) begin(handed bool) {
	v, err := s.view()
	if err != nil {
		s.say("the state cannot be read; an agent puts it in order: %v", err)
		return
	}
	s.read = v
	m := s.readMark()
	s.support = m.Support
	h := asFound(v)
	h.kind, h.handed, h.marked = begun, handed, m.Generation > 0
	if m.Phase == nameSupervisor {
		h.mark = tried
	}
	s.on(h)
	if s.trial != nil {
		s.trial.judge.Base = m.Base
		s.saveMark()
	}
}

// settle is what a supervisor does once the good generation is current.
func (s *Supervisor) settle() {
	os.Remove(s.markPath())
	s.settleSettings(s.read)
	if err := s.registerPackage(); err != nil {
		s.say("%v", err) // the next start tries again
	}
}

// endLeft ends the trial that a supervisor before this one left, as soon as the
// disk lets it: until then the good generation runs, whatever the disk says.
func (s *Supervisor) endLeft() {
	v, err := s.viewOf(s.store().Load())
	h := happening{kind: leftEnded, standing: standingOf(v.State, v.ofModules)}
	if err == nil && v.ofModules && v.OnTrial() {
		h.standing, h.tooOften, err = s.endBroken(v, s.at.phase == died)
	}
	if err != nil {
		s.sayUnsaved("ending the trial that was left", err)
		return
	}
	s.read = v
	s.on(h)
}

// endBroken goes back to the good generation from a trial that a supervisor
// before this one left.
func (s *Supervisor) endBroken(v view, died bool) (_ standing, tooOften bool, err error) {
	slots, from := triedIn(v)
	check, text := "supervisor", fmt.Sprintf("the supervisor ended %d times while it was on trial", v.BadEnds+1)
	failed := blamed(slots, agentModule)
	var rest rollback.Generation
	st, err := s.change(func(st rollback.State) (rollback.State, error) {
		if st, tooOften = Broken(st, died); tooOften {
			st, rest = s.store().Fail(st, failed, s.withdrawn(slots, failed, check, text)...)
		}
		return st, nil
	})
	if err == nil && tooOften {
		s.tellBack(slots, from, rest, failed, failure{check: check, text: text})
	}
	return standingOf(st, st.Trial != 0), tooOften, err
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
	s.trial = &trial{number: v.Trial, slots: slots, from: from, judge: Trial{Times: s.Times}, asked: s.now()}
	switch {
	case s.at.process == tried:
		s.trial.judge.Times.Soak = 0 // that is over
	case s.at.haste == soaked:
		s.trial.judge.Times.Gate, s.trial.judge.Times.Soak = 0, 0
	}
	s.say("on trial: %s", s.trial.names())
	if err := s.keepSettings(s.trial); err != nil {
		s.say("the settings file is not kept over the trial: %v", err)
	}
	s.saveMark()
	if slot, ok := slots[agentModule]; ok && s.belowPackage(slot) {
		s.back(agentModule, "version", s.belowText(slot), "")
		return
	}
	s.look(s.now())
}

// saveMark writes the mark of the trial as it is.
func (s *Supervisor) saveMark() {
	if err := s.writeMark(s.at.phaseName()); err != nil {
		s.say("the mark of the trial: %v", err)
	}
}

// beginGate is called when what is tried has taken over. What was observed until
// then is how things stood before; its own supervisor is told that by the mark.
func (s *Supervisor) beginGate() {
	t := s.trial
	if t.judging() {
		return
	}
	if s.at.process != tried {
		t.judge.Base = BaselineOf(s.seen)
		if t.failing != nil {
			t.judge.Base.Failing = t.failing
		}
	}
	t.judge.Began = s.now()
}

// dropTrial forgets a trial that the state does not know any more: a person, or
// a newer update, took its place.
func (s *Supervisor) dropTrial() {
	s.trial = nil
	os.Remove(s.markPath())
}

// takeUp begins a trial that waits.
func (s *Supervisor) takeUp() {
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
	program := s.programOf(agentModule, s.trial.slots[agentModule])
	s.on(happening{kind: passed, other: program != s.Program})
}

// markTried leaves word that the trial's own supervisor is next. It is not
// confirmed before that was seen.
func (s *Supervisor) markTried() {
	if err := s.writeMark(nameSupervisor); err != nil {
		s.say("the mark of the trial: %v", err)
		return
	}
	s.become = s.programOf(agentModule, s.trial.slots[agentModule])
	s.on(happening{kind: markWritten})
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
			s.sayUnsaved("confirming", err)
		}
		return
	}
	t := s.trial
	s.trial = nil
	s.on(happening{kind: confirmed})
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
	s.on(happening{kind: ended})
}

// countEnds saves the ends that are not counted yet.
func (s *Supervisor) countEnds() {
	t := s.trial
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
		s.sayUnsaved("counting a bad end", err)
		return
	}
	t.uncounted = nil
	if last.module != "" {
		t.failure = failure{last.module, "stable", fmt.Sprintf("it ended %d times: %s", st.Ends[last.module], last.text), last.lines}
	}
	s.on(happening{kind: counted, tooOften: last.module != ""})
}
