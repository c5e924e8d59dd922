package supervisor_test

import (
	"os"
	"strings"
	"syscall"
	"testing"
)

// A disk that fails for a while is no fault of what is tried, and keeps nothing
// from running: what could not be saved is saved later.
func TestADiskThatIsFullForAWhileDecidesNothing(t *testing.T) {
	for _, row := range []struct {
		name, how string
		soak      bool // the trial lasts until the test is over with it
		do        func(w *world)
		want      string // that is good in the end
	}{
		{"while it is to be confirmed", "", false, func(w *world) {
			w.until("it cannot be", func() bool {
				return strings.Contains(w.output(), "the mark of the trial: ") || strings.Contains(w.output(), "confirming: ")
			})
		}, "2.0.0"},
		{"while its ends are counted", "dies later", true, func(w *world) {
			w.until("they cannot be", func() bool {
				return strings.Contains(w.output(), "counting a bad end: ") && strings.Count(w.output(), "2.0.0: exit status 9") > 2
			})
		}, "1.0.0"},
		{"when the supervisor starts after its death", "", true, func(w *world) {
			if err := syscall.Kill(w.process(), syscall.SIGKILL); err != nil {
				w.t.Fatal(err)
			}
			w.until("the end of the trial cannot be saved", func() bool { return strings.Contains(w.output(), "ending the trial that was left: ") })
			w.until("the good version runs first", func() bool {
				p, err := w.ask()
				return err == nil && p == w.store.Dir+"/modules/agent/1.0.0/freshet"
			})
		}, "2.0.0"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			times := quick
			if row.soak {
				times.Soak = waitFor / 10
			}
			w := newWorld(t, times)
			w.install()
			w.change(w.slot("2.0.0", row.how), false)
			w.until("it is on trial", func() bool { p, err := w.ask(); return err == nil && p == w.store.Dir+"/modules/agent/2.0.0/freshet" })
			w.write(w.dir+"/full", "")
			row.do(w)
			if err := os.Remove(w.dir + "/full"); err != nil {
				t.Fatal(err)
			}
			w.until(row.want+" is good", func() bool { return w.runs(row.want) })
			if held := w.held("2.0.0"); (held == "") != (row.want == "2.0.0") {
				t.Errorf("2.0.0 is held by %q", held)
			}
			w.check()
		})
	}
}
