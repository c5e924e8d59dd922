package supervisor_test

import (
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Each row is a version that is bad in one way; it must be taken back by itself.
func TestABadVersionIsTakenBackByItself(t *testing.T) {
	for _, row := range []struct{ how, check string }{
		{"exits at once", "stable"},
		{"exits 0", "stable"},
		{"forks and dies", "stable"},
		{"dies later", "stable"},
		{"is never ready", "alive"},
		{"hangs", "alive"},
		{"leaks memory", "memory"},
		{"burns its processor", "cpu"},
		{"breaks its settings", "settings"},
		{"breaks the settings while it loads", "settings"},
		{"does not answer", "api"},
		{"its supervisor crashes", "supervisor"},
		{"is truncated", "stable"},
		{"is for another machine", "stable"},
		{"is missing", "stable"},
	} {
		t.Run(row.how, func(t *testing.T) {
			t.Parallel()
			times := quick
			switch row.how {
			case "is never ready":
				times.Ready = 3 * time.Second
			case "hangs", "leaks memory", "burns its processor", "dies later":
				times.Soak = 6 * time.Second
			}
			if row.how == "its supervisor crashes" {
				times.Beat = 10 * time.Minute // what is to be done next waits for no sign of life
			}
			if row.how == "burns its processor" {
				times.CPU = 300 * time.Millisecond
				needsProcessor(t)
			}
			w := newWorld(t, times)
			w.install()
			w.change(w.slot("2.0.0", row.how), false)
			w.until("it is taken back", func() bool { return w.held("2.0.0") != "" && w.runs("1.0.0") })
			if why := w.held("2.0.0"); !strings.HasPrefix(why, row.check+": ") {
				t.Errorf("it was held back for %q, not by the check %s", why, row.check)
			}
			w.until("the operator is told", func() bool { return strings.Contains(w.told(), "ModuleRolledBack") })
			if told := w.told(); !strings.Contains(told, "help@example.org") || !strings.Contains(told, row.check) {
				t.Errorf("the operator was told: %s", told)
			}
			for _, line := range regexp.MustCompile(`(?m)^freshet supervisor: (ModuleRolledBack|taken back|the good version).*$`).FindAllString(w.output(), -1) {
				t.Log(line)
			}
			w.check()
			if row.how == "forks and dies" {
				w.leftNothing()
			}
			w.change(w.slot("3.0.0", ""), false)
			w.until("the next version is confirmed", func() bool { return w.runs("3.0.0") })
			w.check()
		})
	}
}

// needsProcessor skips a test that uses half a processor, where others leave less.
func needsProcessor(t *testing.T) {
	t.Helper()
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		t.Fatal(err)
	}
	text, _, _ := strings.Cut(string(data), " ")
	if load, err := strconv.ParseFloat(text, 64); err != nil || load > 3*float64(runtime.NumCPU()) {
		t.Skipf("a machine with less to do: its load is %s", text)
	}
}

// leftNothing expects that what the bad agent forked is gone.
func (w *world) leftNothing() {
	w.t.Helper()
	data, err := os.ReadFile(w.dir + "/left")
	if err != nil {
		w.t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		w.t.Fatal(err)
	}
	w.until("what it forked is gone", func() bool { return syscall.Kill(pid, 0) != nil })
}

func TestAClientThatAsksAllTheTimeIsNeverRefused(t *testing.T) {
	w := newWorld(t, quick)
	w.install()
	stop := make(chan struct{})
	type seen struct {
		asked, failed int
		worst         time.Duration
		err           error
	}
	result := make(chan seen, 1)
	go func() {
		var s seen
		for {
			select {
			case <-stop:
				result <- s
				return
			default:
			}
			began := time.Now()
			if _, err := w.ask(); err != nil {
				s.failed++
				s.err = err
			}
			s.asked++
			s.worst = max(s.worst, time.Since(began))
		}
	}()
	for _, version := range []string{"2.0.0", "3.0.0", "4.0.0"} {
		w.change(w.slot(version, ""), false)
		w.until(version+" is confirmed", func() bool { return w.runs(version) })
	}
	close(stop)
	s := <-result
	t.Logf("%d connections over three updates, each with a change of the supervisor too; the longest took %s", s.asked, s.worst)
	if s.failed > 0 {
		t.Errorf("%d of %d connections failed, the last by: %v", s.failed, s.asked, s.err)
	}
}
