package supervisor

import (
	"time"

	"github.com/freshet/freshet/rollback"
)

// What a supervisor does is decided by one function, [step]: from its state and
// from what happened follow the next state and what is to be done. It knows no
// disk, no clock and no process. The shell ([Supervisor.on]) does what it says,
// and reports what came of that as what happened next.
//
//	left, died ──► waits             what one before this one left
//	                 │ ▲
//	      its pause  │ └─────── failed     rolledBack: a rest of it is left, else none
//	       is over   ▼           ▲   ▲     bad, or ended too often
//	none ─────────► loading ─────┘   │
//	      found      └──► watched ───┘
//	             tookOver    └────► none   confirmed
//
//	happened     in phase          next                  what is done
//	-----------  ----------------  --------------------  ---------------------------------------
//	stopped      any               process ends          end all; nothing else is done any more
//	begun        (at the start)    watched in its own    the trial's own supervisor judges it
//	                               left, died            the trial is ended in the state, see leftEnded
//	                               none, waits           what was kept is put in order
//	leftEnded    left, died        none, waits           the same
//	found        none, waits       none, waits, loading  a trial that runs is watched
//	             a trial runs      none, waits, loading  where the state says another one, or none
//	tookOver     loading, watched  watched               the gate begins
//	ended        loading, watched  same                  the bad end is counted
//	counted      loading, watched  failed, if too often  the rollback is saved
//	bad          loading, watched  failed                the rollback is saved
//	rolledBack   failed            none, waits           its agents end; its supervisor hands back
//	overtaken    failed            as found              a person was first
//	passed       watched           same                  its own supervisor is marked, else it is confirmed
//	markWritten  watched           process hands over    all ends, its own program goes on
//	confirmed    watched           none                  -
//	notExecuted  watched, none     failed, same          a program that cannot be started fails the trial
//	ticked       left, died        same                  what could not be saved is tried again
//	             failed            same                  the same
//	             uncounted ends    same                  the same
//	rested       any               same                  a layer that nobody watches is broken off
//	             waits             same                  after its pause, and no layer: it is taken up
//	seated       loading           watched               what is tried serves already: the gate begins
//	             any               same                  agents take turns, see seats
//
// While a process hands over it takes nothing but stopped and notExecuted, and
// one that ends takes nothing.
type state struct {
	times   Times
	process process
	phase   phase
	haste   haste
	tried   string        // what the trial tries; "": there is none, or it was not read yet
	ofAgent bool          // that is another agent
	due     time.Duration // when the trial that waits is taken up; 0: that is not planned
	layer   layer         // of bases, beside the trial
	ends    bool          // some are not counted yet

	agent, next seat // as they are now
}

// phase is how far a trial of modules is.
type phase int

const (
	none    phase = iota // there is none
	left                 // one before this one left it, in order or with a boot; that is not saved yet
	died                 // it died in the trial; that is not saved yet
	waits                // the good generation runs
	loading              // it is current; what is tried has not taken over yet
	watched              // gate, then soak
	failed               // it goes back; that is not saved yet
)

// process is which program this process is.
type process int

const (
	good    process = iota // of the good generation
	toTried                // about to go on as the one on trial
	tried                  // of the generation on trial, for its last gate
	toGood                 // about to go back
	ending                 // about to end
)

// haste is how soon a trial that waits is taken up, and for how long it is
// watched then.
type haste int

const (
	broken haste = iota // it was broken off: once the good version has been healthy for a while
	fresh               // nothing speaks against it: once a baseline is known
	soaked              // it passed all but its own supervisor: at once, and without a gate
)

// seat is an agent's, that which serves or that which is to.
type seat struct {
	stage stage
	dir   string // of its slot
}

// stage is how far a program is.
type stage int

const (
	absent stage = iota
	loads
	ready
	takes // it was told to take over
	serves
	ends
)

// standing is what the state on disk says of trials of modules.
type standing int

const (
	noTrial standing = iota
	suspended
	running
)

// kind is what happened.
type kind int

const (
	begun kind = iota
	found
	leftEnded
	registered // a package's version waits to be tried
	tookOver
	ended
	counted
	bad
	rolledBack
	overtaken
	passed
	markWritten // that the trial's own supervisor is next
	confirmed
	notExecuted
	ticked
	rested
	seated
	stopped
)

// happening is one of them, with what is known of it.
type happening struct {
	kind kind
	now  time.Duration

	standing standing // of begun, found, leftEnded, rolledBack
	layer    int      // of begun and found: the generation of bases on trial, 0: none
	tried    string   // of begun and found: what the trial tries
	ofAgent  bool     // of begun and found: that is another agent
	handed   bool     // of begun: another supervisor became this one
	mark     process  // of begun: that had the trial when the mark was written
	marked   bool     // of begun: the mark of the trial stands
	tooOften bool     // of counted and leftEnded
	other    bool     // of passed and rolledBack: the agent's program there is not this one

	want  string // of seated and rested: the slot of the agent that is to serve
	pause bool   // of seated: it crashed, and is not started yet
	blind bool   // of seated: how things stand before the trial is not known yet
}

// action is what is to be done.
type action int

const (
	endLeft action = iota
	settle
	settleSettings
	startTrial
	dropTrial
	beginGate
	countEnds
	saveBack
	endTried
	report
	markTried
	confirmTrial
	takeUp
	breakOffLayer
	endAll
	reconcile
	startNext
	killNext
	endAgent
	takeOver
	observe
)

// step decides, as the table above says.
func step(s state, h happening) (state, []action) {
	switch {
	case h.kind == stopped:
		s.process = ending
		return s, []action{endAll}
	case h.kind == notExecuted:
		return notStarted(s)
	case s.process == ending, s.process == toTried, s.process == toGood:
		return s, nil
	}
	onTrial := s.phase == loading || s.phase == watched
	switch h.kind {
	case begun:
		return begin(s, h)
	case leftEnded:
		if s.phase == left || s.phase == died {
			if h.tooOften {
				s.tried, s.haste = "", broken
			}
			return rest(s, h.standing), []action{settle}
		}
	case registered:
		s.tried, s.haste = "", fresh
	case found:
		return compare(s, h)
	case tookOver:
		if onTrial {
			s.phase = watched
			return s, []action{beginGate}
		}
	case ended:
		if onTrial {
			s.ends = true
			return s, []action{countEnds}
		}
	case counted:
		if onTrial {
			s.ends = false
		}
		if onTrial && h.tooOften {
			return fail(s)
		}
	case bad:
		if onTrial {
			return fail(s)
		}
	case rolledBack:
		return goBack(s, h)
	case overtaken:
		return s, []action{reconcile}
	case passed:
		return pass(s, h)
	case markWritten:
		if s.phase == watched {
			s.process = toTried
			return s, []action{endAll}
		}
	case confirmed:
		if s.phase == watched {
			s.process = good
			s = rest(s, noTrial)
		}
	case ticked:
		return retry(s)
	case rested:
		return wake(s, h)
	case seated:
		if s.phase == loading && s.ofAgent && s.agent == (seat{serves, h.want}) && s.next.stage == absent && !h.blind {
			s.phase = watched // it served before its trial began
			return s, []action{beginGate}
		}
		return s, seats(s.agent, s.next, h)
	}
	return s, nil
}

// begin is what a supervisor does first: the good generation runs, unless this
// supervisor is itself on trial.
func begin(s state, h happening) (state, []action) {
	s.tried, s.ofAgent = h.tried, h.ofAgent
	switch {
	case h.standing == running && h.handed && h.marked && h.mark == tried:
		s.phase, s.process = watched, tried
		return s, []action{startTrial}
	case h.standing == running && h.marked:
		s.phase = died
		if h.mark == tried {
			s.haste = soaked
		}
		return s, []action{endLeft}
	case h.standing == running, h.standing == suspended && h.layer != 0:
		s.phase = left
		return s, []action{endLeft}
	}
	return rest(s, h.standing), []action{settle}
}

// rest is the state while no trial runs.
func rest(s state, st standing) state {
	s.phase, s.due, s.ends = waits, 0, false
	if st == noTrial {
		s.phase, s.tried, s.haste = none, "", broken
	}
	return s
}

// compare brings s in line with what the state on disk says. Until a trial that
// was left is ended there the good generation runs, whatever it says.
func compare(s state, h happening) (state, []action) {
	if s.phase == left || s.phase == died {
		return s, nil
	}
	if h.layer != s.layer.number {
		s.layer = layer{h.layer, h.now}
	}
	var do []action
	if s.phase == loading || s.phase == watched || s.phase == failed {
		if h.standing == running && h.tried == s.tried {
			return s, nil
		}
		do = append(do, dropTrial)
		s.process, s.haste = good, broken
		s = rest(s, h.standing)
	}
	do = append(do, settleSettings)
	if s.tried != "" && s.tried != h.tried {
		s.haste, s.due = broken, 0 // another one waits now
	}
	s.tried, s.ofAgent = h.tried, h.ofAgent
	switch {
	case h.standing == running:
		s.phase, s.due = loading, 0
		return s, append(do, startTrial)
	case h.standing == suspended && s.phase == waits:
		return s, do // its pause goes on
	case h.standing == suspended:
		s.phase = waits
		return s, do
	}
	return rest(s, noTrial), do
}

func fail(s state) (state, []action) {
	s.phase, s.ends = failed, false
	return s, []action{saveBack}
}

// goBack ends a trial whose end is saved. What is left of it was healthy until
// now, and is tried again soon.
func goBack(s state, h happening) (state, []action) {
	if s.phase != failed {
		return s, nil
	}
	s.tried, s.haste = "", fresh
	s = rest(s, h.standing)
	switch {
	case s.process == tried && h.other && s.ofAgent:
		s.process = toGood
		return s, []action{endTried, report, endAll}
	case s.ofAgent:
		s.process = good
		return s, []action{endTried, report, reconcile}
	}
	return s, []action{report, reconcile}
}

// pass goes on with a trial that passed gate and soak: an agent's is watched by
// the good one's supervisor until here, and now its own shows that it can. While
// bases are on trial beside it, it waits for them.
func pass(s state, h happening) (state, []action) {
	switch {
	case s.phase != watched:
		return s, nil
	case s.ofAgent && s.process == good && h.other:
		return s, []action{markTried}
	case s.layer.number != 0:
		return s, nil
	}
	return s, []action{confirmTrial}
}

// notStarted goes on as this program, as the other one cannot be started.
func notStarted(s state) (state, []action) {
	was := s.process
	if was == ending {
		return s, nil
	}
	s.process = good
	if was == toTried && s.phase == watched {
		return fail(s)
	}
	return s, []action{reconcile}
}

// retry saves what could not be saved.
func retry(s state) (state, []action) {
	switch {
	case s.phase == left, s.phase == died:
		return s, []action{endLeft}
	case s.phase == failed:
		return s, []action{saveBack}
	case s.ends:
		return s, []action{countEnds}
	}
	return s, nil
}

// wake takes up a trial that waits, once the good agent has served for a while,
// and breaks off a trial of bases that nobody watches any more.
func wake(s state, h happening) (state, []action) {
	switch {
	case s.layer.stale(h.now, s.times):
		return s, []action{breakOffLayer}
	case s.phase != waits, s.layer.number != 0, s.agent != (seat{serves, h.want}):
		s.due = 0
		return s, nil
	case s.due == 0:
		s.due = h.now + s.delay()
	}
	if h.now < s.due {
		return s, nil
	}
	s.due = 0
	return s, []action{takeUp}
}

// delay is how long the good agent serves before a trial is taken up.
func (s state) delay() time.Duration {
	switch {
	case s.haste == soaked, s.haste == fresh && !s.ofAgent:
		return 0
	case s.haste == fresh:
		return 2 * s.times.Look // for a baseline
	}
	return s.times.Resume
}

// layer is a trial of bases beside one of modules, and when it was first seen.
type layer struct {
	number int // of its generation; 0: there is none
	since  time.Duration
}

// layerTimes is how many gates a trial of bases beside one of modules may last:
// its engine loads, and is watched for one.
const layerTimes = 15

// stale says whether a trial of bases is watched by nobody any more: its agent
// could not save the outcome, or forgot it. Until its end no trial of modules is
// taken up or confirmed.
func (l layer) stale(now time.Duration, t Times) bool {
	return l.number != 0 && now-l.since > layerTimes*t.Gate
}

// seats has agents take turns. The next one loads beside the one that serves,
// which ends once the next one is ready, and then the next one takes over:
//
//	agent    next     what is done
//	any      another  it is killed; its end comes here again
//	serves   ready    agent ends, after it was observed
//	absent   ready    next takes over: it is the agent then
//	loading  absent   nothing, one after the other
//	wanted   absent   nothing
//	else     absent   the one that is wanted starts, after a pause where it crashed
func seats(agent, next seat, h happening) []action {
	there := agent.stage != absent && agent.stage != ends
	switch {
	case next.stage != absent && (next.dir != h.want || next.stage == ends):
		return []action{killNext}
	case next.stage == ready && agent.stage == absent:
		return []action{takeOver}
	case next.stage == ready && agent.stage == serves && h.blind:
		return []action{observe} // how things stand is seen before they change
	case next.stage == ready && there:
		return []action{endAgent}
	case next.stage != absent, there && agent.stage != serves, there && agent.dir == h.want, h.pause:
		return nil
	case agent.stage == serves && h.blind:
		return []action{observe} // it starts after that: what it breaks while it loads is its fault
	}
	return []action{startNext}
}

// standingOf is what a state says of a trial, which is one of modules or not. Bases
// that are on trial beside a trial that waits do not make it run.
func standingOf(st rollback.State, ofModules bool) standing {
	switch {
	case !ofModules:
		return noTrial
	case st.Below() != st.Good:
		return running
	}
	return suspended
}
