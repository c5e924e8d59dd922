package eventlog_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/internal/eventlog"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// happened is the nth event of a test, an hour after the one before.
func happened(n int) event.Event {
	return event.New(start.Add(time.Duration(n)*time.Hour), event.NothingNew, map[string]string{"source": fmt.Sprint("s", n)})
}

func open(t *testing.T, path string) *eventlog.Log {
	t.Helper()
	l, err := eventlog.Open(path, eventlog.MinBytes, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func add(t *testing.T, l *eventlog.Log, e event.Event) event.Event {
	t.Helper()
	e, err := l.Append(e)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// checkLog asserts what holds at any time: sequence numbers rise by 1, the
// files stay within their bound, and a reader sees what the writer sees.
func checkLog(t *testing.T, l *eventlog.Log, path string) []event.Event {
	t.Helper()
	events, err := l.After(0)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range events {
		if e.Seq != events[0].Seq+int64(i) {
			t.Errorf("event %d of the log has number %d, the first %d", i, e.Seq, events[0].Seq)
		}
	}
	read, err := eventlog.Reader{Path: path}.After(0)
	// The writer may still have in memory what the disk has dropped.
	if err != nil || len(read) > len(events) || len(read) > 0 && !reflect.DeepEqual(read, events[len(events)-len(read):]) {
		t.Errorf("the reader sees %d events, the writer %d (%v)", len(read), len(events), err)
	}
	size := int64(0)
	for _, p := range []string{path, path + ".1"} {
		if st, err := os.Stat(p); err == nil {
			size += st.Size()
		}
	}
	if size > eventlog.MinBytes {
		t.Errorf("the log has %d bytes", size)
	}
	return events
}

func TestEventsSurviveARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.log")
	l := open(t, path)
	for n := range 3 {
		if e := add(t, l, happened(n)); e.Seq != int64(n)+1 {
			t.Errorf("number %d", e.Seq)
		}
	}
	before := checkLog(t, l, path)
	l.Close()
	l = open(t, path)
	if after := checkLog(t, l, path); len(after) != 3 || !reflect.DeepEqual(after, before) {
		t.Errorf("%v", after)
	}
	if e := add(t, l, happened(3)); e.Seq != 4 {
		t.Errorf("number %d", e.Seq)
	}
	since, err := l.Since(start.Add(2 * time.Hour))
	if err != nil || len(since) != 2 || since[0].Seq != 3 {
		t.Errorf("since the second hour %v, %v", since, err)
	}
}

func TestLogStaysWithinItsBoundAndForgetsNoState(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.log")
	l := open(t, path)
	entered := add(t, l, event.New(start, event.BasesAreOutOfDate, map[string]string{"base": "hashes", "age": "80h"}))
	for n := range 1000 {
		add(t, l, happened(n))
		if n%100 == 99 {
			checkLog(t, l, path)
		}
	}
	events := checkLog(t, l, path)
	if len(events) < 100 || events[0].Seq == 1 || events[len(events)-1].Seq != 1001 {
		t.Errorf("events %d to %d", events[0].Seq, events[len(events)-1].Seq)
	}
	for name, path := range map[string]string{"restarted": path} {
		l.Close()
		l = open(t, path)
		got, ok := l.Last(event.BasesAreUpToDate, event.BasesAreOutOfDate, event.BasesAreTotallyOutOfDate)
		if !ok || !reflect.DeepEqual(got, entered) {
			t.Errorf("%s: last %+v, %v", name, got, ok)
		}
	}
	got, ok, err := eventlog.Reader{Path: path}.Last(event.BasesAreOutOfDate)
	if err != nil || !ok || !reflect.DeepEqual(got, entered) {
		t.Errorf("reader: last %+v, %v, %v", got, ok, err)
	}
	t.Run("also when the older file is lost", func(t *testing.T) {
		l.Close()
		if err := os.Remove(path + ".1"); err != nil {
			t.Fatal(err)
		}
		l := open(t, path)
		if got, ok := l.Last(event.BasesAreOutOfDate); !ok || got.Seq != 1 {
			t.Errorf("last %+v, %v", got, ok)
		}
		if e := add(t, l, happened(0)); e.Seq != 1002 {
			t.Errorf("number %d", e.Seq)
		}
	})
}

func TestLastIsTheNewestOfItsCodes(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "events.log"))
	if _, ok := l.Last(event.BasesAreOutOfDate); ok {
		t.Error("an empty log has a last event")
	}
	for _, code := range []event.Code{event.BasesAreOutOfDate, event.BasesAreUpToDate, event.NothingNew} {
		add(t, l, event.New(start, code, nil))
	}
	if e, _ := l.Last(event.BasesAreOutOfDate, event.BasesAreUpToDate); e.Code != event.BasesAreUpToDate {
		t.Errorf("last %v", e)
	}
	if e, _ := l.Last(event.BasesAreOutOfDate); e.Seq != 1 {
		t.Errorf("last %v", e)
	}
}

func TestPowerCutCostsTheTornLineAlone(t *testing.T) {
	tails := map[string]string{
		"half a line":            `{"seq":4,"time":"2026-`,
		"a line without its end": `{"seq":4,"code":"NothingNew"}`,
		"zeros":                  strings.Repeat("\x00", 5000),
		"zeros and a line's end": strings.Repeat("\x00", 5000) + "\n",
		"a very long line":       strings.Repeat("x", 2<<20) + "\n",
		"a line of no event":     "{}\n",
		"nothing":                "",
	}
	for name, tail := range tails {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "events.log")
			l := open(t, path)
			for n := range 3 {
				add(t, l, happened(n))
			}
			l.Close()
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				t.Fatal(err)
			}
			f.WriteString(tail)
			f.Close()
			if read, err := (eventlog.Reader{Path: path}).After(0); err != nil || len(read) != 3 {
				t.Errorf("the reader sees %d events, %v", len(read), err)
			}
			l = open(t, path)
			if e := add(t, l, happened(3)); e.Seq != 4 {
				t.Errorf("number %d", e.Seq)
			}
			if events := checkLog(t, l, path); len(events) != 4 {
				t.Errorf("%d events", len(events))
			}
		})
	}
}

func TestDamagedLineCostsItselfAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.log")
	l := open(t, path)
	for n := range 3 {
		add(t, l, happened(n))
	}
	l.Close()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data = bytes.Replace(data, []byte(`"seq":2`), []byte(`"seq"~2`), 1)
	if err := os.WriteFile(path, data, 0o640); err != nil {
		t.Fatal(err)
	}
	l = open(t, path)
	if e := add(t, l, happened(3)); e.Seq != 4 {
		t.Errorf("number %d", e.Seq)
	}
	if events, err := (eventlog.Reader{Path: path}).After(0); err != nil || len(events) != 3 {
		t.Errorf("%d events, %v", len(events), err)
	}
}

func TestEveryStepMayFailOrHappenAndFail(t *testing.T) {
	for _, happens := range []bool{false, true} {
		for stop := 1; ; stop++ {
			path := filepath.Join(t.TempDir(), "events.log")
			var disk durable.Disk
			l, err := eventlog.Open(path, eventlog.MinBytes, &disk)
			if err != nil {
				t.Fatal(err)
			}
			long := happened(0)
			long.Text = strings.Repeat("x", 2000)
			for range 13 { // two more, and the log is rotated
				add(t, l, long)
			}
			n, failed := 0, false
			disk.Step = func(op, at string) error {
				if n++; n != stop {
					return nil
				}
				failed = true
				if happens && op == "syncdir" {
					return errors.New("synced, and then failed")
				}
				return fmt.Errorf("failed before %s", op)
			}
			for range 3 {
				l.Append(long) // may fail once
			}
			disk.Step = nil
			add(t, l, long)
			events := checkLog(t, l, path)
			l.Close()
			again := open(t, path)
			if after := checkLog(t, again, path); !reflect.DeepEqual(after, events) {
				t.Errorf("step %d: %d events, after a restart %d", stop, len(events), len(after))
			}
			again.Close()
			if t.Failed() {
				t.Fatalf("at step %d", stop)
			}
			if !failed {
				if stop < 8 {
					t.Errorf("%d steps", n)
				}
				break
			}
		}
	}
}

func TestTextsOfHostilePeersAreBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.log")
	l := open(t, path)
	fields := map[string]string{"error": strings.Repeat("\x1b\n\xff<", 1<<16)}
	for n := range 100 {
		fields[fmt.Sprint("field", n)] = strings.Repeat("y", 10000)
	}
	for range 20 {
		add(t, l, event.New(start, event.SourceFailed, fields))
	}
	checkLog(t, l, path)
	read, err := eventlog.Reader{Path: path}.After(0)
	if err != nil || len(read) < 3 {
		t.Fatalf("%d events, %v", len(read), err)
	}
	if e := read[0]; strings.ContainsAny(e.Text, "\x1b\n") || !strings.HasPrefix(e.Text, "source {source} failed: ") {
		t.Errorf("text %.100q", e.Text)
	}
}

func TestLogThatIsNotThereHasNoEvents(t *testing.T) {
	r := eventlog.Reader{Path: filepath.Join(t.TempDir(), "events.log")}
	if events, err := r.Since(time.Time{}); err != nil || len(events) != 0 {
		t.Errorf("%v, %v", events, err)
	}
	if _, ok, err := r.Last(event.NothingNew); ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
}
