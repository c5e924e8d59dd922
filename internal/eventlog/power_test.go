package eventlog_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/durable/crashtest"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/internal/eventlog"
)

// TestNoEventThatWasWrittenIsLostWhereverTheLogIsStopped appends events until
// the log has been rotated, and stops, fails and cuts that at each disk step.
func TestNoEventThatWasWrittenIsLostWhereverTheLogIsStopped(t *testing.T) {
	const before, wanted = 13, 18 // two more fit, then the log is rotated
	name := func(dir string) string { return filepath.Join(dir, "events.log") }
	work := func(dir string, disk *durable.Disk) error {
		if err := disk.Reap(dir); err != nil { // as an agent does at its start
			return err
		}
		l, err := eventlog.Open(name(dir), eventlog.MinBytes, disk)
		if err != nil {
			return err
		}
		defer l.Close()
		last, _ := l.Last(event.NothingNew)
		for n := int(last.Seq); n < wanted; n++ {
			e := happened(n)
			e.Text = strings.Repeat("x", 2000)
			if _, err = l.Append(e); err != nil {
				return err
			}
		}
		return nil
	}
	s := crashtest.Sweep{
		Begin: func(dir string) error {
			l := open(t, name(dir))
			defer l.Close()
			for n := range before {
				long := happened(n)
				long.Text = strings.Repeat("x", 2000)
				add(t, l, long)
			}
			return nil
		},
		Work:  work,
		Check: func(dir string, done bool) error { return inOrder(name(dir), before, wanted, done) },
	}
	swept, err := s.Run(tmp(t), crashtest.Random(t))
	if err != nil {
		t.Fatal(err)
	}
	if t.Logf("%+v", swept); swept.Steps < 15 || swept.Twice < 100 {
		t.Errorf("only %+v", swept)
	}
}

// inOrder asserts that a log has all of the first events, none of them twice
// or out of order, and all wanted ones if done.
func inOrder(path string, least, wanted int, done bool) error {
	if done {
		least = wanted
	}
	events, err := eventlog.Reader{Path: path}.After(0)
	if err != nil {
		return err
	}
	var seqs []int64
	for i, e := range events {
		seqs = append(seqs, e.Seq)
		if e.Seq != int64(i+1) || e.Fields["source"] != fmt.Sprint("s", i) {
			return fmt.Errorf("event %d has number %d and fields %v", i+1, e.Seq, e.Fields)
		}
	}
	if len(events) < least || len(events) > wanted {
		return fmt.Errorf("events %v, want the first %d to %d", seqs, least, wanted)
	}
	last, ok, err := eventlog.Reader{Path: path}.Last(event.NothingNew)
	if err != nil || !ok || last.Seq != slices.Max(seqs) {
		return fmt.Errorf("the newest is %d of %v, %v", last.Seq, seqs, err)
	}
	return nil
}

// tmp is a folder where syncing costs nothing, if there is one.
func tmp(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "freshet-power-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
