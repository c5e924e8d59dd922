package supervisor

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/rollback"
)

// model is a supervisor with its disk and its agents, as step sees them: it does
// what step says, as the shell does, and is otherwise a value.
//
// Generation 1 is good, 2 on trial, 3 a layer of bases beside it.
type model struct {
	s       state
	current int
	trial   int
	layer   int
	over    int
	badEnds int // of the trial
	ends    int // of what is tried
	name    string
	mark    string // "": none stands
	tried   bool   // it tries another agent, not another module
	seen    bool   // how things stood before the trial is known
	begun   bool   // what is tried has taken over
	pause   bool   // after a crash
	agent   seat
	next    seat
}

// chance is what the world makes of one event.
type chance struct {
	full bool // the disk is
	rest bool // something is left of a trial that failed
}

// walker carries out what step says.
type walker struct {
	t *testing.T
	model
	chance
	now  time.Duration
	path func() string

	failed string // what was tried, when it was rolled back
}

func (w *walker) disk() rollback.State {
	st := rollback.State{
		Format: 1, Current: w.current, Good: 1, Previous: 1, Last: 5, Trial: w.trial, Layer: w.layer, Over: w.over, BadEnds: w.badEnds,
	}
	if w.ends > 0 {
		st.Ends = map[string]int{"m": w.ends}
	}
	return st
}

// save makes is the state on disk, whose generations get their numbers anew.
func (w *walker) save(is rollback.State) {
	if err := is.Check(); err != nil {
		w.t.Fatalf("%s: %v", w.path(), err)
	}
	as := func(n int) int {
		switch n {
		case 0:
			return 0
		case is.Good:
			return 1
		case is.Trial:
			return 2
		case is.Layer:
			return 3
		}
		w.t.Fatalf("%s: generation %d of %+v", w.path(), n, is)
		return 0
	}
	w.current, w.trial, w.layer, w.over = as(is.Current), as(is.Trial), as(is.Layer), as(is.Over)
	w.badEnds, w.ends = min(is.BadEnds, rollback.MaxBadEnds), min(is.Ends["m"], rollback.MaxBadEnds)
	if w.trial == 0 {
		w.badEnds, w.ends = 0, 0
	}
}

func (w *walker) left() bool { return w.s.phase == left || w.s.phase == died }

func (w *walker) found() happening {
	st := w.disk()
	if w.left() && w.trial != 0 {
		st = st.Suspend()
	}
	h := happening{kind: found, standing: standingOf(st, st.Trial != 0), layer: st.Layer}
	if st.Trial != 0 {
		h.tried, h.ofAgent = w.name, w.tried
	}
	return h
}

func (w *walker) on(h happening) {
	h.now = w.now
	w.s.agent, w.s.next = w.agent, w.next
	next, do := step(w.s, h)
	w.s = next
	for _, a := range do {
		w.do(a)
	}
}

func (w *walker) do(a action) {
	switch a {
	case endLeft:
		w.endLeft()
	case settle:
		w.mark = ""
	case startTrial:
		w.mark, w.seen, w.begun = w.s.phaseName(), false, false
	case dropTrial:
		w.mark = ""
	case beginGate:
		w.begun = true
	case countEnds:
		if !w.full {
			st, tooOften := w.disk().EndOf("m")
			w.save(st)
			w.on(happening{kind: counted, tooOften: tooOften})
		}
	case saveBack:
		w.saveBack()
	case endTried:
		w.agent, w.next = endOf(w.agent, w.failed), endOf(w.next, w.failed)
	case markTried:
		if !w.full {
			w.mark = nameSupervisor
			w.on(happening{kind: markWritten})
		}
	case confirmTrial:
		if !w.full && w.layer == 0 && w.current == w.trial {
			w.save(w.disk().Confirm())
			w.agent.dir = "good"
			w.mark = ""
			w.on(happening{kind: confirmed})
		}
	case takeUp:
		w.takeUp()
	case breakOffLayer:
		if !w.full {
			w.save(w.disk().EndBases())
		}
	case endAll:
		w.agent, w.next = endOf(w.agent, w.agent.dir), endOf(w.next, w.next.dir)
	case reconcile:
		w.reconcile()
	case startNext:
		if w.next.stage != absent {
			w.t.Fatalf("%s: two agents load", w.path())
		}
		w.next = seat{loads, w.want()}
	case killNext:
		w.next = seat{}
	case endAgent:
		w.agent = endOf(w.agent, w.agent.dir)
	case takeOver:
		if w.agent.stage != absent {
			w.t.Fatalf("%s: two agents", w.path())
		}
		w.agent, w.next = seat{takes, w.next.dir}, seat{}
	}
}

func endOf(s seat, dir string) seat {
	if s.stage != absent && s.dir == dir {
		s.stage = ends
	}
	return s
}

func (w *walker) endLeft() {
	if w.full {
		return
	}
	h := happening{kind: leftEnded, standing: standingOf(w.disk(), w.trial != 0)}
	if w.trial != 0 && w.current != 1 {
		st, tooOften := Broken(w.disk(), w.s.phase == died)
		if h.tooOften = tooOften; tooOften {
			st = w.fail(st)
		}
		w.save(st)
		h.standing = standingOf(st, st.Trial != 0)
	}
	w.on(h)
}

// fail is what is left of a trial, as rollback.Store.Fail gives it.
func (w *walker) fail(st rollback.State) rollback.State {
	st = st.Revert()
	if w.rest {
		st.Trial, w.name = 2, other(w.name)
	}
	return st
}

func other(name string) string { return map[string]string{"a": "b", "b": "a"}[name] }

func (w *walker) saveBack() {
	if w.full {
		return
	}
	if w.disk().Below() == 1 {
		w.on(happening{kind: overtaken})
		return
	}
	w.failed = w.name
	st := w.fail(w.disk())
	w.save(st)
	w.mark = ""
	w.on(happening{kind: rolledBack, standing: standingOf(st, st.Trial != 0), other: w.s.process == tried})
	w.on(happening{kind: rested, want: w.want()})
}

func (w *walker) takeUp() {
	if w.full || w.layer != 0 {
		return
	}
	if w.agent != (seat{serves, "good"}) {
		w.t.Fatalf("%s: a trial is taken up while the good version does not serve", w.path())
	}
	st, err := w.disk().Switch(w.trial)
	if err != nil {
		w.t.Fatalf("%s: %v", w.path(), err)
	}
	w.save(st)
	w.reconcile()
}

// want is the slot of the agent of what is current.
func (w *walker) want() string {
	if w.tried && w.trial != 0 && w.disk().Below() != 1 && !w.left() {
		return w.name
	}
	return "good"
}

func (w *walker) reconcile() {
	if w.s.leaving() {
		return
	}
	w.on(w.found())
	w.seat()
}

func (w *walker) seat() {
	w.on(happening{kind: seated, want: w.want(), pause: w.pause, blind: w.s.phase == loading && !w.seen})
}

// start is a supervisor's begin, after a boot, an orderly end or a death.
func (w *walker) start(handed bool) {
	w.agent, w.next, w.pause, w.seen, w.begun = seat{}, seat{}, false, false, false
	w.s = state{times: modelTimes}
	h := w.found()
	h.kind, h.handed, h.marked = begun, handed, w.mark != ""
	if w.mark == nameSupervisor {
		h.mark = tried
	}
	w.on(h)
	w.reconcile()
}

// gone is the event that an agent's program ended by itself, or was killed.
func (w *walker) gone(c seat, hung bool) {
	onTrial := w.tried && c.dir == w.name && (w.s.phase == loading || w.s.phase == watched || w.s.phase == failed)
	switch {
	case c.stage == ends || w.s.leaving():
	case onTrial && hung:
		w.on(happening{kind: bad})
	case onTrial:
		w.pause = true
		w.on(happening{kind: ended})
	default:
		w.pause = true
	}
	w.reconcile()
}

// events are all that can happen to a model; each says whether it could now.
var events = []struct {
	name string
	do   func(w *walker) bool
}{
	{"the next agent has loaded", func(w *walker) bool {
		if w.next.stage != loads {
			return false
		}
		w.next.stage = ready
		w.seat()
		return true
	}},
	{"the agent serves", func(w *walker) bool {
		if w.agent.stage != takes {
			return false
		}
		w.agent.stage = serves
		if w.tried && w.agent.dir == w.name && w.mark != "" && !w.begun {
			w.on(happening{kind: tookOver})
		}
		w.reconcile()
		w.on(happening{kind: rested, want: w.want()})
		return true
	}},
	{"the agent crashes or ends", func(w *walker) bool { c := w.agent; w.agent = seat{}; w.gone(c, false); return c.stage != absent }},
	{"the agent hangs", func(w *walker) bool {
		c := w.agent
		if c.stage == absent || c.stage == ends {
			return false
		}
		w.agent = seat{}
		w.gone(c, true)
		return true
	}},
	{"the next agent crashes or ends", func(w *walker) bool { c := w.next; w.next = seat{}; w.gone(c, false); return c.stage != absent }},
	{"the agent is observed", func(w *walker) bool {
		if w.agent.stage != serves || w.s.leaving() {
			return false
		}
		w.seen = true
		if w.s.phase == loading && !w.tried {
			w.on(happening{kind: tookOver})
			w.reconcile()
			return true
		}
		w.seat()
		return true
	}},
	{"it passes", func(w *walker) bool {
		if !w.begun || w.agent.stage != serves || w.s.phase != watched {
			return false
		}
		w.on(happening{kind: passed, other: w.tried})
		return true
	}},
	{"it fails a check", func(w *walker) bool {
		if !w.begun || w.agent.stage != serves || w.s.phase != watched {
			return false
		}
		w.on(happening{kind: bad})
		return true
	}},
	{"time passes", func(w *walker) bool { w.tick(later); return true }},
	{"much time passes", func(w *walker) bool { w.tick(muchLater); return true }},
	{"bases are put on trial", func(w *walker) bool { return w.switchBy(w.disk().SwitchBases(3)) }},
	{"bases are confirmed", func(w *walker) bool {
		if w.layer == 0 {
			return false
		}
		good, trial := w.layer, 5 // where they were tried stays, see updater.settleBases
		if w.over == w.trial {
			good, trial = 4, w.layer
		}
		next, err := w.disk().ConfirmBases(good, trial)
		return w.switchBy(next, err)
	}},
	{"bases fail", func(w *walker) bool { return w.layer != 0 && w.switchBy(w.disk().EndBases(), nil) }},
	{"a person goes back", func(w *walker) bool {
		if w.trial == 0 || w.full || w.s.leaving() {
			return false
		}
		w.save(w.disk().Revert())
		w.reconcile()
		return true
	}},
	{"another version is put on trial", func(w *walker) bool {
		if w.full || w.s.leaving() || w.agent.stage != serves || w.layer != 0 {
			return false
		}
		st, err := w.disk().Switch(4)
		if err != nil {
			w.t.Fatal(err)
		}
		w.name = other(w.name)
		w.save(st)
		w.reconcile()
		return true
	}},
	{"the supervisor dies", func(w *walker) bool { w.start(false); return true }},
	{"a boot", func(w *walker) bool { w.mark = ""; w.start(false); return true }},
	{"a stop", func(w *walker) bool { w.mark = ""; w.on(happening{kind: stopped}); return true }},
	{"the service starts again", func(w *walker) bool {
		if w.s.process != ending || w.agent.stage != absent || w.next.stage != absent {
			return false
		}
		w.start(false)
		return true
	}},
	{"it goes on as the other program", func(w *walker) bool {
		if !w.s.handsOver() || w.agent.stage != absent || w.next.stage != absent {
			return false
		}
		w.start(true)
		return true
	}},
	{"the other program does not start", func(w *walker) bool {
		if !w.s.handsOver() || w.agent.stage != absent || w.next.stage != absent {
			return false
		}
		w.on(happening{kind: notExecuted})
		return true
	}},
}

// tick is the shell's.
func (w *walker) tick(now time.Duration) {
	w.now, w.pause = now, false
	w.on(happening{kind: ticked})
	w.reconcile()
	w.on(happening{kind: rested, want: w.want()})
}

// switchBy has the agent ask for another state, as updates of bases do.
func (w *walker) switchBy(is rollback.State, err error) bool {
	if err != nil || w.agent.stage != serves || w.s.leaving() {
		return false
	}
	was := w.disk()
	if err := Legal(was, is, was.Trial != 0); err != nil {
		w.t.Fatalf("%s: an update of bases is refused: %v", w.path(), err)
	}
	if !w.full {
		w.save(is)
	}
	w.reconcile()
	return true
}

// check asserts what holds after each event.
func (w *walker) check() {
	w.t.Helper()
	fault := func(text string) { w.t.Fatalf("%s:\n%s; %+v", w.path(), text, w.model) }
	up := !w.s.leaving()
	watches := w.s.phase == loading || w.s.phase == watched || w.s.phase == failed || w.left()
	runs := w.trial != 0 && w.disk().Below() != 1
	switch {
	case (w.agent.stage == serves || w.agent.stage == takes) && (w.next.stage == serves || w.next.stage == takes):
		fault("two agents")
	case up && runs && !watches:
		fault("nobody watches the trial that runs")
	case up && !runs && w.trial != 0 && !w.left() && w.s.phase != waits && w.s.phase != failed:
		fault("nobody takes up the trial that waits")
	case up && w.trial == 0 && !w.left() && w.s.phase != none && w.s.phase != failed:
		fault("it watches what is no trial")
	case up && w.layer != 0 && !w.left() && w.s.layer.number == 0:
		fault("nobody will end the layer")
	}
}

func (w *walker) settled() bool {
	return w.trial == 0 && w.s.phase == none && !w.s.leaving() && w.agent.stage == serves && w.agent.dir == "good"
}

// step does one event, of which it says whether it could happen.
func (m model) after(t *testing.T, path func() string, n int, c chance) (model, bool) {
	w := &walker{t: t, model: m, chance: c, now: atFirst, path: path}
	ok := events[n].do(w)
	if ok {
		w.check()
	}
	if w.s.due > 0 {
		w.s.due = atFirst + time.Second // only that it lies ahead matters
	}
	if w.s.layer.number != 0 {
		w.s.layer.since = atFirst
	}
	w.s.agent, w.s.next = w.agent, w.next
	return w.model, ok
}

// TestFromEveryStateEachTrialEnds goes to every state that any sequence of events
// leads to: trials of agents and of modules, disks that are full, deaths, boots,
// stops, hand-overs that fail, and updates of bases beside all that. In each it
// checks what must always hold, and from each a trial must end: where all is
// healthy in confirming it, where it fails its checks in the good version, and
// where the agent forgot bases on trial with these broken off.
func TestFromEveryStateEachTrialEnds(t *testing.T) {
	for _, ofAgent := range []bool{true, false} {
		t.Run(fmt.Sprintf("of an agent %v", ofAgent), func(t *testing.T) {
			first := &walker{t: t, model: model{current: 1, name: "a", tried: ofAgent}, now: atFirst, path: func() string { return "start" }}
			first.start(false)
			seen := map[model]bool{first.model: true}
			all := []visited{{first.model, -1, ""}}
			path := func(i int) func() string {
				return func() string {
					var steps []string
					for ; i > 0; i = all[i].from {
						steps = append(steps, all[i].by)
					}
					slices.Reverse(steps)
					return "after " + strings.Join(steps, ", ")
				}
			}
			for i := 0; i < len(all); i++ {
				for n := range events {
					for _, c := range []chance{{}, {full: true}, {rest: true}} {
						next, ok := all[i].model.after(t, path(i), n, c)
						if ok && !seen[next] {
							seen[next] = true
							all = append(all, visited{next, i, events[n].name + c.String()})
						}
					}
				}
			}
			for _, fate := range fates {
				ended, most := map[model]int{}, 0
				for i, v := range all {
					v.model.endsBy(t, path(i), fate, ended)
					most = max(most, ended[v.model])
				}
				t.Logf("%d states; where the world is %q a trial ends within %d rounds", len(all), fate.name, most)
			}
		})
	}
}

// visited is a model, and how one came there.
type visited struct {
	model model
	from  int
	by    string
}

func (c chance) String() string {
	switch {
	case c.full:
		return " while the disk is full"
	case c.rest:
		return " and a rest is left"
	}
	return ""
}

// fate is how the world goes on: which events happen, again and again.
type fate struct {
	name   string
	events []string
}

var fates = []fate{
	{"healthy", []string{
		"time passes", "bases are confirmed", "the agent is observed", "the next agent has loaded", "the agent serves", "it passes",
		"gone", "it goes on as the other program", "the service starts again",
	}},
	{"bases forgotten", []string{
		"much time passes", "the agent is observed", "the next agent has loaded", "the agent serves", "it passes",
		"gone", "it goes on as the other program", "the service starts again",
	}},
	{"bad", []string{
		"time passes", "bases are confirmed", "the agent is observed", "the next agent has loaded", "the agent serves", "it fails a check",
		"gone", "it goes on as the other program", "the service starts again",
	}},
	{"its program does not start", []string{
		"time passes", "bases are confirmed", "the agent is observed", "the next agent has loaded", "the agent serves", "it passes",
		"gone", "the other program does not start", "the service starts again",
	}},
}

// endsBy goes on by a fate until the trial has ended; ended has, by model, in how
// many rounds that was so before.
func (m model) endsBy(t *testing.T, path func() string, f fate, ended map[model]int) {
	t.Helper()
	const bound = 24
	var rounds []model
	for len(rounds) < bound {
		more, known := ended[m]
		if w := (&walker{model: m}); known || w.settled() {
			for i, m := range rounds {
				ended[m] = more + len(rounds) - i
			}
			return
		}
		rounds = append(rounds, m)
		for _, name := range f.events {
			if name == "gone" { // what was told to end does
				if m.agent.stage == ends {
					m, _ = m.after(t, path, eventNamed("the agent crashes or ends"), chance{})
				}
				if m.next.stage == ends {
					m, _ = m.after(t, path, eventNamed("the next agent crashes or ends"), chance{})
				}
				continue
			}
			if next, ok := m.after(t, path, eventNamed(name), chance{}); ok {
				m = next
			}
		}
	}
	t.Fatalf("%s: where the world is %q the trial never ends: %+v", path(), f.name, m)
}

func eventNamed(name string) int {
	for n, e := range events {
		if e.name == name {
			return n
		}
	}
	panic(name)
}
