//go:build system

package systemtest_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/api"
)

// TestAgentKilledAtEachDiskStep kills -9 a running agent before each step that
// it takes on the disk, from its start to the end of a piece of work. What is
// left must be whole; a plain agent started on it must do the work.
func TestAgentKilledAtEachDiskStep(t *testing.T) {
	p := newPublisher(t, tagged)
	p.release("list", records(1, 3000))
	empty := newEndpoint(t, p, p.repo())
	first := empty.copy()
	first.update(api.Updated)
	p.release("list", records(2, 3000))
	p.release("other", records(1, 500))
	second := first.copy()
	second.update(api.Updated)
	for _, row := range []struct {
		name  string
		from  *endpoint
		work  []string
		least int   // steps that it takes at least
		list  []int // versions of the list that may be in use after the kill; 0: none
		want  int   // and the one after the work was done again
	}{
		{"the first update", empty, []string{"update"}, 40, []int{0, 2}, 2},
		{"an update by delta, with a new base", first, []string{"update"}, 40, []int{1, 2}, 2},
		{"a look that finds nothing new", second, []string{"update"}, 5, []int{2}, 2},
		{"a rollback", second, []string{"bases", "rollback", "list"}, 10, []int{2, 1}, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			e := &endpoint{t, tagged, folder(t)}
			began, steps := time.Now(), 0
			for row.from.copyTo(e); killedAgent(e, steps+1, row.work); row.from.copyTo(e) {
				steps++
				left := e.inUse("list", row.list)
				e.finish(left == row.want, row.work)
				e.reads("list", records(row.want, 3000))
			}
			e.reads("list", records(row.want, 3000))
			e.checkSettled()
			if steps < row.least {
				t.Errorf("killed at %d steps, expected %d or more", steps, row.least)
			}
			t.Logf("killed at each of %d steps in %s", steps, time.Since(began).Round(time.Second))
		})
	}
}

// killedAgent runs an agent that dies before its n-th step on the disk, and has
// it do the work. It gives false if the work was done before.
func killedAgent(e *endpoint, n int, work []string) bool {
	e.t.Helper()
	d := e.agent(fmt.Sprintf("FRESHET_CRASH_AT=n:%d", n))
	poll(e.t, 30*time.Second, "the agent answers or is dead", func() bool { return d.hasEnded() || e.answers() })
	if !d.hasEnded() {
		out, err := e.command(append(work, "--json")...).CombinedOutput()
		if err == nil {
			// What follows the work, such as an event, may yet be its last.
			d.signal(15)
			<-d.ended
		}
		poll(e.t, 30*time.Second, fmt.Sprintf("step %d: the agent is dead after %s", n, out), d.hasEnded)
	}
	if d.err != nil && !wasKilled(d.err) {
		e.t.Fatalf("step %d: %v\n%s", n, d.err, d.output.String())
	}
	return d.err != nil
}

// inUse checks the state folder and gives the version of a base that engines
// read, one of those expected; 0 is none.
func (e *endpoint) inUse(name string, expected []int) int {
	e.t.Helper()
	e.check()
	var found api.Bases
	e.ask(&found, "bases", "list")
	version := 0
	for _, b := range found.Bases {
		if b.Name == name {
			version = int(b.Version)
		}
	}
	for _, v := range expected {
		if v == version {
			return version
		}
	}
	e.t.Fatalf("version %d of %s is in use, not one of %v", version, name, expected)
	return 0
}

// finish starts an agent on what a kill left, has it do the work, and stops it
// in order.
func (e *endpoint) finish(done bool, work []string) {
	e.t.Helper()
	d := e.listening()
	if work[0] == "update" {
		e.update(api.Updated, api.NothingNew)
	} else if !done {
		e.run(work...)
	}
	d.stop()
	e.checkSettled()
}
