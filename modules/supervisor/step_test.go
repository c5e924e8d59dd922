package supervisor

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

var write = flag.Bool("write", false, "write testdata/step.txt anew")

var (
	phases    = []string{"none", "left", "died", "waits", "loading", "watched", "failed"}
	processes = []string{"good", "toTried", "tried", "toGood", "ending"}
	stages    = []string{"absent", "loads", "ready", "takes", "serves", "ends"}
	standings = []string{"noTrial", "suspended", "running"}
	kinds     = []string{
		"begun", "found", "leftEnded", "registered", "tookOver", "ended", "counted", "bad", "rolledBack", "overtaken",
		"passed", "markWritten", "confirmed", "notExecuted", "ticked", "rested", "seated", "stopped",
	}
	actions = []string{
		"endLeft", "settle", "settleSettings", "startTrial", "dropTrial", "beginGate", "countEnds", "saveBack", "endTried",
		"report", "markTried", "confirmTrial", "takeUp", "breakOffLayer", "endAll", "reconcile", "startNext", "killNext",
		"endAgent", "takeOver", "observe",
	}
)

var modelTimes = Times{}.orDefaults()

// The clock of these tests: what is due is over a little later, and a layer is
// stale much later.
const (
	atFirst   = time.Second
	later     = atFirst + 2*time.Minute
	muchLater = atFirst + time.Hour
)

// happenings are all that can happen, in each way in which it can.
func happenings() []happening {
	var all []happening
	for k := range len(kinds) {
		h := happening{kind: kind(k), now: later, tried: "a", ofAgent: true, want: "good"}
		switch h.kind {
		case begun:
			for _, st := range []standing{noTrial, suspended, running} {
				h.standing = st
				h.handed, h.marked, h.mark = false, false, good
				all = append(all, h)
				h.marked = true
				all = append(all, h)
				h.mark = tried
				all = append(all, h)
				h.handed = true
				all = append(all, h)
			}
			h.standing, h.layer, h.handed, h.marked, h.mark = suspended, 3, false, false, good
			all = append(all, h)
		case found:
			for _, layer := range []int{0, 3, 4} {
				for _, st := range []standing{noTrial, suspended, running} {
					h.standing, h.layer, h.tried = st, layer, "a"
					all = append(all, h)
				}
				h.tried = "b"
				all = append(all, h)
			}
		case leftEnded, rolledBack:
			for _, st := range []standing{noTrial, suspended} {
				for _, b := range []bool{false, true} {
					h.standing, h.other, h.tooOften = st, b, b
					all = append(all, h)
				}
			}
		case counted, passed:
			all = append(all, h)
			h.tooOften, h.other = true, true
			all = append(all, h)
		default:
			all = append(all, h)
		}
	}
	return all
}

func (h happening) String() string {
	text := kinds[h.kind]
	switch h.kind {
	case begun, found, leftEnded, rolledBack:
		text += " " + standings[h.standing]
	}
	for _, f := range []struct {
		is   bool
		text string
	}{
		{h.kind == found && h.tried == "b", "of another"}, {h.layer != 0, fmt.Sprint("layer ", h.layer)}, {h.handed, "handed"}, {h.marked, "marked"},
		{h.mark == tried, "by its own"}, {h.tooOften && h.kind != rolledBack && h.kind != passed, "too often"},
		{h.other && (h.kind == passed || h.kind == rolledBack), "other program"},
	} {
		if f.is {
			text += ", " + f.text
		}
	}
	return text
}

func doing(do []action) string {
	var all []string
	for _, a := range do {
		all = append(all, actions[a])
	}
	return strings.Join(all, " ")
}

// TestEveryCellOfTheTable makes each cell of trial × hand-over × layer × boot ×
// base update × event, checks what must hold in all of them, and compares them
// with testdata/step.txt, which -write writes. Cells in which nothing happens are
// counted there, not listed.
func TestEveryCellOfTheTable(t *testing.T) {
	var table strings.Builder
	cells := 0
	for ph := range len(phases) {
		for pr := range len(processes) {
			fmt.Fprintf(&table, "\n%s, process %s\n", phases[ph], processes[pr])
			for _, number := range []int{0, 3} {
				for _, h := range happenings() {
					s := state{times: modelTimes, phase: phase(ph), process: process(pr), ofAgent: true, tried: "a", agent: seat{serves, "good"}}
					if number != 0 {
						s.layer = layer{number, atFirst}
					}
					if s.phase == waits {
						s.due = atFirst
					}
					next, do := step(s, h)
					cells++
					checkCell(t, s, h, next, do)
					if next == s && len(do) == 0 {
						continue
					}
					fmt.Fprintf(&table, "  layer %d | %-45s | %-8s %-7s | %s\n", number, h, phases[next.phase], processes[next.process], doing(do))
				}
			}
		}
	}
	table.WriteString("\nagents take turns\n")
	for _, c := range seatCells() {
		cells++
		do := seats(c.agent, c.next, c.h)
		checkSeats(t, c, do)
		if len(do) > 0 {
			fmt.Fprintf(&table, "  agent %-6s %-5s | next %-6s %-5s | blind %-5v | pause %-5v | %s\n",
				stages[c.agent.stage], c.agent.dir, stages[c.next.stage], c.next.dir, c.h.blind, c.h.pause, doing(do))
		}
	}
	got := fmt.Sprintf("%d cells; those that are not listed change nothing and do nothing\n%s", cells, table.String())
	if *write {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("testdata/step.txt", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/step.txt")
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		g, w := strings.Split(got, "\n"), strings.Split(string(want), "\n")
		for i := range min(len(g), len(w)) {
			if g[i] != w[i] {
				t.Fatalf("line %d of the table is\n%s\nwant\n%s\n(go test -write writes it anew)", i+1, g[i], w[i])
			}
		}
		t.Fatalf("the table has %d lines, want %d", len(g), len(w))
	}
}

// checkCell asserts what holds in each cell.
func checkCell(t *testing.T, s state, h happening, next state, do []action) {
	t.Helper()
	fault := func(text string) {
		t.Errorf("%s, process %s, layer %d, %s: %s; it leads to %s, process %s, %s",
			phases[s.phase], processes[s.process], s.layer.number, h, text, phases[next.phase], processes[next.process], doing(do))
	}
	up := !s.leaving()
	watches := next.phase == loading || next.phase == watched || next.phase == failed || next.phase == left || next.phase == died
	switch {
	case s.process == ending && (next != s && h.kind != stopped || len(do) > 0 && h.kind != stopped):
		fault("a process that ends does something")
	case h.kind == stopped && (next.process != ending || next.phase != s.phase):
		fault("a stop judges")
	case up && (h.kind == found || h.kind == begun) && h.standing == running && !watches:
		fault("nobody watches a trial that runs")
	case up && h.kind == found && h.standing == suspended && s.phase != left && s.phase != died && next.phase != waits:
		fault("nobody takes up a trial that is suspended")
	case up && h.kind == found && h.layer != 0 && s.phase != left && s.phase != died && next.layer.number != h.layer:
		fault("nobody will end the layer")
	case up && h.kind == rested && s.layer.number != 0 && slices.Contains(do, takeUp):
		fault("a trial is taken up under a layer")
	case slices.Contains(do, confirmTrial) && (s.layer.number != 0 || s.phase != watched || s.leaving()):
		fault("it is confirmed without having been watched")
	case slices.Contains(do, saveBack) && next.phase != failed:
		fault("a rollback that is not saved would be forgotten")
	case s.phase == failed && up && h.kind == ticked && !slices.Contains(do, saveBack),
		(s.phase == left || s.phase == died) && up && h.kind == ticked && !slices.Contains(do, endLeft):
		fault("what could not be saved is not tried again")
	case next.process == toTried && next.phase != watched && h.kind != stopped && s.process != toTried:
		fault("it goes on as a program that is on no trial")
	}
}

type seatCell struct {
	agent, next seat
	h           happening
}

func seatCells() []seatCell {
	var all []seatCell
	var seats []seat
	for st := range len(stages) {
		for _, dir := range []string{"good", "tried"} {
			if stage(st) != absent {
				seats = append(seats, seat{stage(st), dir})
			}
		}
	}
	seats = append(seats, seat{})
	for _, a := range seats {
		for _, n := range seats {
			if n.stage == takes || n.stage == serves {
				continue // who takes over is the agent
			}
			for _, blind := range []bool{false, true} {
				for _, pause := range []bool{false, true} {
					all = append(all, seatCell{a, n, happening{kind: seated, want: "tried", blind: blind, pause: pause}})
				}
			}
		}
	}
	return all
}

func checkSeats(t *testing.T, c seatCell, do []action) {
	t.Helper()
	serving := c.agent.stage == serves
	switch {
	case slices.Contains(do, takeOver) && (c.agent.stage != absent || c.next.stage != ready || c.next.dir != c.h.want),
		slices.Contains(do, startNext) && c.next.stage != absent:
		t.Errorf("two agents: %+v: %s", c, doing(do))
	case slices.Contains(do, endAgent) && c.next.stage != ready:
		t.Errorf("the agent ends before the next one is ready: %+v: %s", c, doing(do))
	case slices.Contains(do, startNext) && (c.h.pause || serving && c.h.blind):
		t.Errorf("it starts too soon: %+v: %s", c, doing(do))
	case len(do) == 0 && !c.h.pause && c.next.stage == absent && c.agent.stage == absent:
		t.Errorf("no agent, and none starts: %+v", c)
	}
}

// A layer that nobody watches is broken off after 15 gates, not before.
func TestALayerIsStaleAfterFifteenGates(t *testing.T) {
	s := state{times: modelTimes, phase: waits, agent: seat{serves, "good"}, layer: layer{3, atFirst}}
	for _, row := range []struct {
		after time.Duration
		want  string
	}{{15 * modelTimes.Gate, ""}, {15*modelTimes.Gate + 1, "breakOffLayer"}} {
		if _, do := step(s, happening{kind: rested, now: atFirst + row.after}); doing(do) != row.want {
			t.Errorf("after %s: %q, want %q", row.after, doing(do), row.want)
		}
	}
	// Another layer is another trial.
	s, _ = step(s, happening{kind: found, standing: suspended, layer: 4, now: muchLater})
	if _, do := step(s, happening{kind: rested, now: muchLater}); len(do) > 0 {
		t.Errorf("a new layer is broken off at once: %s", doing(do))
	}
}

// What is known of one trial is not believed of another: a version that passed all
// but its own supervisor is taken up without a gate, and the one that takes its
// place is not.
func TestWhatPassedIsNotBelievedOfAnother(t *testing.T) {
	for _, row := range []struct {
		tried string
		want  haste
	}{{"a", soaked}, {"b", broken}} {
		s, _ := step(state{times: modelTimes}, happening{kind: begun, standing: running, tried: "a", ofAgent: true, marked: true, mark: tried})
		s, _ = step(s, happening{kind: leftEnded, standing: suspended})
		s, _ = step(s, happening{kind: found, standing: running, tried: row.tried, ofAgent: true})
		if s.phase != loading || s.haste != row.want {
			t.Errorf("%s is taken up: %s, haste %d, want %d", row.tried, phases[s.phase], s.haste, row.want)
		}
	}
}
