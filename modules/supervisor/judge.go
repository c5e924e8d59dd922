package supervisor

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/freshet/freshet/rollback"
)

// Times are how long things may take. Zero values are the defaults.
type Times struct {
	Gate   time.Duration // after the switch, the first judgement; 60 s
	Soak   time.Duration // after the gate, until modules are confirmed; 10 min
	Ready  time.Duration // from a program's start until it has loaded; 60 s
	Stop   time.Duration // from the word to end until a program is killed; 25 s
	Beat   time.Duration // without a sign of an agent's main loop; 90 s
	Look   time.Duration // between observations in a trial; 5 s
	Resume time.Duration // from the good one's being well until a broken trial goes on; 60 s
	Pause  time.Duration // before what ended is started again, doubled each time; 1 s
	Rest   time.Duration // the longest of these pauses; 5 min
	CPU    time.Duration // how long more CPU than usual is borne in a trial; 2 min
}

func (t Times) orDefaults() Times {
	for _, d := range []struct {
		to   *time.Duration
		from time.Duration
	}{
		{&t.Gate, time.Minute}, {&t.Soak, 10 * time.Minute}, {&t.Ready, time.Minute},
		{&t.Stop, 25 * time.Second}, {&t.Beat, 90 * time.Second}, {&t.Look, 5 * time.Second},
		{&t.Resume, time.Minute}, {&t.Pause, time.Second}, {&t.Rest, 5 * time.Minute}, {&t.CPU, 2 * time.Minute},
	} {
		if *d.to <= 0 {
			*d.to = d.from
		}
	}
	return t
}

// late is how long after the one before an observation counts for all that lies
// between them. A machine with much else to do misses some.
func (t Times) late() time.Duration { return max(30*time.Second, 6*t.Look) }

// Observation is what was seen of the modules at one time.
type Observation struct {
	At     time.Duration // on the supervisor's clock
	Gaps   int           // in which nobody watched, until then
	Checks []Check
	Memory int64         // bytes resident
	CPU    time.Duration // spent since the program's start
	Others int           // callers who are not root, since the observation before
}

// Baseline is how things stood before a switch.
type Baseline struct {
	Failing []string `json:"failing,omitempty"` // checks that failed already: no regression
	Memory  int64    `json:"memory,omitempty"`  // bytes; 0: not known
	CPU     float64  `json:"cpu,omitempty"`     // share of one processor
}

// Bounds of what may be used, besides the baseline.
const (
	moreMemory = 96 << 20 // bytes; twice the baseline is allowed too
	moreCPU    = 0.5      // of one processor
	strikes    = 3        // observations in a row that a check must fail
	sparedPart = 0.75     // of gate and soak, in which callers may keep memory and CPU from being judged
)

// healthCheck is that the agent tells how it is.
const healthCheck = "health"

// observedCheck is that observations end. No trial is confirmed without them.
const observedCheck = "observation"

// answered says whether the agent told how it is.
func (o Observation) answered() bool {
	return slices.ContainsFunc(o.Checks, func(c Check) bool { return c.Name == healthCheck && c.OK })
}

// BaselineOf sums up observations that were made before a switch. An agent that
// hung in the last ones told nothing of what fails.
func BaselineOf(seen []Observation) Baseline {
	var b Baseline
	if len(seen) == 0 {
		return b
	}
	first, last := seen[0], seen[len(seen)-1]
	told := last
	for _, o := range slices.Backward(seen) {
		if o.answered() {
			told = o
			break
		}
	}
	for _, c := range told.Checks {
		if !c.OK && !c.Loading && c.Name != observedCheck {
			b.Failing = append(b.Failing, c.Name)
		}
	}
	for _, o := range seen {
		b.Memory = max(b.Memory, o.Memory)
	}
	if d := last.At - first.At; d > 0 && last.CPU >= first.CPU {
		b.CPU = float64(last.CPU-first.CPU) / float64(d)
	}
	return b
}

// Verdict is what is to become of a trial.
type Verdict struct {
	Word  Word
	Check string // that failed; of Back alone
	Text  string // what it said

	Module string // whose check it was; "": the agent's, or that of all together
}

// Word of a verdict.
type Word int

// Words of a verdict.
const (
	GoOn    Word = iota
	Confirm      // gate and soak are over
	Back         // to the good generation
)

// Trial is the judge's memory of one trial. It is a value: See gives the next.
type Trial struct {
	Base  Baseline
	Times Times
	Began time.Duration // when what is tried took over, or after the last gap; At's clock

	fails  map[string]int // failures in a row, by check
	hot    time.Duration  // since when more CPU is used; 0: it is not
	last   Observation
	spared time.Duration // for how long memory and CPU were not judged
}

// See judges by an observation. What failed before the switch is not held
// against what is tried. What comes after a gap is the first observation of all:
// nothing counts of what was seen before, for or against it.
func (t Trial) See(o Observation) (Trial, Verdict) {
	if t.gap(o) {
		t.Began, t.fails, t.hot, t.last, t.spared = o.At, nil, 0, Observation{}, 0
	}
	t.fails = maps.Clone(t.fails)
	if t.fails == nil {
		t.fails = map[string]int{}
	}
	checks := slices.Clone(o.Checks)
	t, spared := t.spare(o)
	if !spared {
		checks = append(checks, t.memory(o))
	}
	t, busy := t.cpu(o, spared)
	if busy != "" {
		return t, Verdict{Word: Back, Check: "cpu", Text: busy}
	}
	if !slices.ContainsFunc(checks, func(c Check) bool { return c.Name == observedCheck }) {
		checks = append(checks, Check{Name: observedCheck, OK: true})
	}
	for _, c := range checks {
		if c.OK || slices.Contains(t.Base.Failing, c.Name) {
			delete(t.fails, c.Name)
			continue
		}
		if c.Loading {
			t.fails[c.Name] += 0 // it is not confirmed, nor held against it
			continue
		}
		t.fails[c.Name]++
		if t.fails[c.Name] >= strikes {
			return t, Verdict{Word: Back, Check: c.Name, Text: c.Text, Module: c.Module}
		}
	}
	if len(t.fails) == 0 && o.At-t.Began >= t.Times.Gate+t.Times.Soak {
		return t, Verdict{Word: Confirm}
	}
	return t, Verdict{}
}

// gap says whether nobody watched for a while before an observation.
func (t Trial) gap(o Observation) bool {
	if t.last.At == 0 {
		return o.At-t.Began > t.Times.late()
	}
	return o.Gaps != t.last.Gaps || o.At-t.last.At > t.Times.late()
}

// spare says whether memory and CPU of an observation are not judged, for or
// against what is tried: callers who are not root caused some of it, and they
// veto no version. So that a bad version cannot hide behind them for ever, that
// is over after three parts of four of gate and soak: the rest, in which all
// counts, is long enough to condemn for either.
func (t Trial) spare(o Observation) (Trial, bool) {
	if o.Others == 0 || t.last.At == 0 {
		return t, o.Others > 0
	}
	span := o.At - t.last.At
	if t.spared+span > time.Duration(sparedPart*float64(t.Times.Gate+t.Times.Soak)) {
		return t, false
	}
	t.spared += span
	return t, true
}

// memory is the check of how much is in use.
func (t Trial) memory(o Observation) Check {
	most := max(2*t.Base.Memory, t.Base.Memory+moreMemory)
	c := Check{Name: "memory", OK: o.Memory <= most}
	if !c.OK {
		c.Text = fmt.Sprintf("%d bytes are in use; before it were %d, and %d are borne", o.Memory, t.Base.Memory, most)
	}
	return c
}

// cpu says if more of a processor has been used for longer than is borne. What was
// spared does not count as time either.
func (t Trial) cpu(o Observation, spared bool) (Trial, string) {
	prev := t.last
	t.last = o
	span := o.At - prev.At
	if spared {
		if t.hot > 0 {
			t.hot += span
		}
		return t, ""
	}
	if prev.At == 0 || span <= 0 || o.CPU < prev.CPU {
		t.hot = 0 // the first one, or another process
		return t, ""
	}
	share := float64(o.CPU-prev.CPU) / float64(span)
	if share <= t.Base.CPU+moreCPU {
		t.hot = 0
		return t, ""
	}
	if t.hot == 0 {
		t.hot = prev.At
	}
	if o.At-t.hot < t.Times.CPU {
		return t, ""
	}
	return t, fmt.Sprintf("%.0f%% of a processor for %s; before it were %.0f%%", 100*share, (o.At - t.hot).Round(time.Second), 100*t.Base.CPU)
}

// Left is the time until the trial can be confirmed.
func (t Trial) Left(now time.Duration) time.Duration {
	return max(0, t.Began+t.Times.Gate+t.Times.Soak-now)
}

// Broken is the state that a supervisor begins with: the good generation runs,
// whatever was on trial. died says that the trial's mark still stood, so that
// it neither ended in order nor with a boot; tooOften, that this was one such end
// too many.
func Broken(st rollback.State, died bool) (next rollback.State, tooOften bool) {
	if died {
		st = st.BadEnd()
	}
	return st.Suspend(), died && st.BadEnds >= rollback.MaxBadEnds
}

// Legal says why an agent may not have the state replaced. It may try and
// confirm bases, put modules on trial and change the quarantine; it may not
// judge a trial of modules, running or waiting: which it is, ofModules says.
func Legal(was, is rollback.State, ofModules bool) error {
	runs := was.Below() != was.Good
	switch {
	case is.Check() != nil:
		return is.Check()
	case is.Last < was.Last:
		return fmt.Errorf("the last generation goes from %d back to %d", was.Last, is.Last)
	case !ofModules:
		return nil
	case is.Good != was.Good && (is.Good == was.Trial || runs && (is.Good == was.Current || is.Good == was.Over)):
		return fmt.Errorf("modules are on trial in generation %d: who runs in it does not confirm it", was.Trial)
	case is.Trial == was.Trial && (is.BadEnds != was.BadEnds || !maps.Equal(is.Ends, was.Ends)):
		return fmt.Errorf("modules are on trial in generation %d: who runs in it does not count its ends", was.Trial)
	}
	return nil
}
