//go:build system

package systemtest_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/event"
)

// TestAgentTellsOnceThatItsBasesGrowOld moves the clock of a real agent through
// a week without a new version, with a restart or a kill -9 after each step. A
// state is told once when it is entered, and no restart tells it again.
func TestAgentTellsOnceThatItsBasesGrowOld(t *testing.T) {
	p := newPublisher(t, tagged)
	p.release("list", records(1, 1000))
	e := newEndpoint(t, p, p.repo())
	file := e.path("clock")
	write(t, file, "0s")
	env := "FRESHET_TEST_CLOCK=" + file
	d := e.listening(env)
	e.update(api.Updated)
	for _, row := range []struct {
		name   string
		offset string
		state  string
		old    int // BasesAreOutOfDate told so far
		dead   int // BasesAreTotallyOutOfDate told so far
		end    syscall.Signal
	}{
		{"just below three days", "71h55m", "up to date", 0, 0, syscall.SIGTERM},
		{"just above three days", "72h1m", "out of date", 1, 0, syscall.SIGTERM},
		{"just below seven days", "167h55m", "out of date", 1, 0, syscall.SIGKILL},
		{"just above seven days", "168h1m", "totally out of date", 1, 1, syscall.SIGKILL},
		{"much later", "1000h", "totally out of date", 1, 1, syscall.SIGTERM},
		{"the clock set back behind what was signed", "-48h", "up to date", 1, 1, syscall.SIGTERM},
	} {
		t.Log(row.name)
		write(t, file, row.offset)
		e.becomes(row.state)
		e.told(row.old, row.dead)
		d.signal(row.end)
		<-d.ended
		d = e.listening(env)
		e.becomes(row.state)
		e.told(row.old, row.dead)
	}
}

// becomes waits until the agent's status, and its last event of a state, are
// those of state.
func (e *endpoint) becomes(state string) {
	e.t.Helper()
	code := map[string]event.Code{
		"up to date": event.BasesAreUpToDate, "out of date": event.BasesAreOutOfDate,
		"totally out of date": event.BasesAreTotallyOutOfDate,
	}[state]
	last := event.Code("")
	poll(e.t, 30*time.Second, "the bases are "+state, func() bool {
		last = event.BasesAreUpToDate // it is not told as long as nothing else was
		for _, ev := range e.events() {
			switch ev.Code {
			case event.BasesAreUpToDate, event.BasesAreOutOfDate, event.BasesAreTotallyOutOfDate:
				last = ev.Code
			}
		}
		st := e.status()
		return st.Agent && st.State == state && last == code
	})
}

func (e *endpoint) events() []event.Event {
	e.t.Helper()
	var all api.Events
	e.ask(&all, "events")
	return all.Events
}

// told asserts how often each warning was.
func (e *endpoint) told(old, dead int) {
	e.t.Helper()
	count := map[event.Code]int{}
	for _, ev := range e.events() {
		count[ev.Code]++
	}
	got := fmt.Sprint(count[event.BasesAreOutOfDate], " and ", count[event.BasesAreTotallyOutOfDate])
	if want := fmt.Sprint(old, " and ", dead); got != want {
		e.t.Errorf("out of date and totally out of date were told %s times, want %s", got, want)
	}
}
