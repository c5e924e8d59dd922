// Package eventlog keeps events on disk: bounded, durable, in order.
//
// The log is two files of JSON lines, PATH and, older, PATH.1. When PATH has
// half of what is allowed, it becomes PATH.1 and a new PATH begins:
//
//	PATH.1   {"last":[…]}              what the newest event of each code was before this file
//	         {"seq":1,"time":…,"code":"AgentStarted",…}
//	         {"seq":2,…}
//	PATH     {"last":[…]}
//	         {"seq":3,…}               synced before Append returns
//
// A line that a power cut tore is cut off at the next open. One process
// writes, the holder of the lock over the state folder; any may read.
package eventlog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/event"
)

// MinBytes is the least that a log may be bounded to.
const MinBytes = 64 << 10

const (
	perm    = 0o640
	maxTail = 64 // events kept in memory for followers
)

// Log is the log of events, open for writing. It may be used by several
// goroutines.
type Log struct {
	// Log, if set, is told of each event too. Set it before the first Append.
	Log *logrus.Logger

	path string
	max  int64
	disk *durable.Disk

	mu      sync.Mutex // guards what follows
	file    *os.File
	size    int64 // of whole lines in file
	seq     int64 // of the newest event
	last    map[event.Code]event.Event
	tail    []event.Event // the newest, in order
	changed chan struct{} // closed at the next Append
	closed  bool
}

// Open opens the log at path, or begins it, and cuts off what an interrupted
// write left. Both files together stay within maxBytes, at least MinBytes.
func Open(path string, maxBytes int64, disk *durable.Disk) (*Log, error) {
	l := &Log{
		path: path, max: max(maxBytes, MinBytes), disk: disk,
		last: map[event.Code]event.Event{}, changed: make(chan struct{}),
	}
	if err := l.open(); err != nil {
		return nil, fmt.Errorf("opening the log of events: %w", err)
	}
	return l, nil
}

func (l *Log) open() error {
	older, err := os.Open(l.path + ".1")
	if err == nil {
		if !l.isAt(older) { // else a rotation was cut short
			_, err = scan(older, l.note)
		}
		err = errors.Join(err, older.Close())
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	l.file, err = os.OpenFile(l.path, os.O_RDWR|os.O_APPEND, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return l.begin()
	}
	if err != nil {
		return err
	}
	whole, err := scan(l.file, l.note)
	if err == nil {
		l.size, err = whole, l.cut(whole)
	}
	if err == nil {
		// A killed process may have left its last line, and the name of the
		// file, in the page cache alone. What is built on them would go too.
		err = l.do("fsync", l.file.Sync)
	}
	if err == nil {
		err = l.disk.SyncDir(filepath.Dir(l.path))
	}
	if err != nil {
		l.file.Close()
	}
	return err
}

// isAt says whether f is what the log's name leads to.
func (l *Log) isAt(f *os.File) bool {
	a, errA := f.Stat()
	b, errB := os.Stat(l.path)
	return errA == nil && errB == nil && os.SameFile(a, b)
}

// note takes in a record read back.
func (l *Log) note(r record) {
	for _, e := range r.Last {
		again := event.New(e.Time, e.Code, e.Fields)
		again.Seq = e.Seq
		l.know(again)
	}
	if r.Seq > 0 {
		l.know(r.Event)
		l.keep(r.Event)
	}
}

func (l *Log) know(e event.Event) {
	l.seq = max(l.seq, e.Seq)
	if e.Seq >= l.last[e.Code].Seq {
		l.last[e.Code] = e
	}
}

func (l *Log) keep(e event.Event) {
	if len(l.tail) == maxTail {
		l.tail = append(l.tail[:0:0], l.tail[1:]...)
	}
	l.tail = append(l.tail, e)
}

// Append gives e the next sequence number and writes it. If it returns nil,
// the event survives power loss; after an error it may be there or not. Long
// texts are shortened.
func (l *Log) Append(e event.Event) (event.Event, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e = shorten(e)
	e.Seq = l.seq + 1
	err := l.append(e)
	forward(l.Log, e)
	if err != nil {
		return e, fmt.Errorf("writing event %s: %w", e.Code, err)
	}
	l.know(e)
	l.keep(e)
	close(l.changed)
	l.changed = make(chan struct{})
	return e, nil
}

func (l *Log) append(e event.Event) error {
	if l.closed {
		return fs.ErrClosed
	}
	text := line(e)
	if text == nil {
		return fmt.Errorf("its time %s is out of range", e.Time)
	}
	if err := l.rotate(int64(len(text))); err != nil {
		return err
	}
	if err := l.write(text); err != nil {
		return errors.Join(err, l.cut(l.size)) // or the next line would follow a torn one
	}
	l.size += int64(len(text))
	return nil
}

func (l *Log) write(line []byte) error {
	if err := l.cut(l.size); err != nil { // what an earlier failure could not cut
		return err
	}
	if err := l.do("write", func() error { _, err := l.file.Write(line); return err }); err != nil {
		return err
	}
	return l.do("fsync", l.file.Sync)
}

// cut shortens the file to size, if it is longer.
func (l *Log) cut(size int64) error {
	st, err := l.file.Stat()
	if err != nil || st.Size() <= size {
		return err
	}
	if err := l.do("write", func() error { return l.file.Truncate(size) }); err != nil {
		return err
	}
	return l.do("fsync", l.file.Sync)
}

// rotate makes room for n bytes.
func (l *Log) rotate(n int64) error {
	if l.file != nil && l.size+n <= l.max/2 {
		return nil
	}
	if l.file != nil {
		if err := l.setAside(); err != nil {
			return err
		}
		l.file.Close()
		l.file = nil
	}
	return l.begin()
}

// setAside gives the file its second name, and leaves it the first until the
// new file takes that: of a rename a power cut may leave neither name.
func (l *Log) setAside() error {
	older := l.path + ".1"
	if err := l.disk.RemoveAll(older); err != nil {
		return err
	}
	if err := l.disk.Link(l.path, older); err == nil {
		return l.disk.SyncDir(filepath.Dir(l.path))
	}
	// No links on this file system; or there is nothing to give a name to.
	if err := l.disk.Rename(l.path, older); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// begin makes a new file that opens with the newest event of each code.
func (l *Log) begin() error {
	first := checkpoint(l.last, l.max/8)
	if err := l.disk.WriteFile(l.path, first, perm); err != nil {
		return err
	}
	f, err := os.OpenFile(l.path, os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	l.file, l.size = f, int64(len(first))
	return nil
}

// do takes a step on the log's own file.
func (l *Log) do(op string, step func() error) error {
	if err := l.disk.Do(op, l.path); err != nil {
		return err
	}
	if err := step(); err != nil {
		return err
	}
	return l.disk.Did(op, l.path)
}

// Close closes the files and ends every Follow.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	close(l.changed)
	l.changed = make(chan struct{})
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}

// Last is the newest event among codes, however long ago, and whether there
// was one. A state has been entered before if the event of entering it is the
// newest among those of its kind.
func (l *Log) Last(codes ...event.Code) (event.Event, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return newest(l.last, codes)
}

// Since gives the events at or after t, oldest first.
func (l *Log) Since(t time.Time) ([]event.Event, error) {
	return Reader{l.path}.Since(t)
}

// After gives the events with higher sequence numbers than seq.
func (l *Log) After(seq int64) ([]event.Event, error) {
	l.mu.Lock()
	inMemory := seq >= l.seq || len(l.tail) > 0 && l.tail[0].Seq <= seq+1
	var events []event.Event
	for _, e := range l.tail {
		if inMemory && e.Seq > seq {
			events = append(events, e)
		}
	}
	l.mu.Unlock()
	if inMemory {
		return events, nil
	}
	return Reader{l.path}.After(seq)
}

// Follow calls f with each event after seq, those to come included, until ctx
// ends, the log is closed (both give nil), or f returns an error.
func (l *Log) Follow(ctx context.Context, seq int64, f func(event.Event) error) error {
	for {
		l.mu.Lock()
		changed, closed := l.changed, l.closed
		l.mu.Unlock()
		events, err := l.next(seq)
		if err != nil {
			return err
		}
		for _, e := range events {
			if ctx.Err() != nil {
				return nil
			}
			if err := f(e); err != nil {
				return err
			}
			seq = e.Seq
		}
		switch {
		case len(events) == maxBatch:
			continue // there may be more
		case closed:
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// maxBatch is how many events a follower holds, who may take them slowly.
const maxBatch = maxTail

// next gives the first events with higher sequence numbers than seq, maxBatch
// at most.
func (l *Log) next(seq int64) ([]event.Event, error) {
	l.mu.Lock()
	recent, all := l.recentLocked(seq)
	l.mu.Unlock()
	if all {
		return recent, nil
	}
	return Reader{l.path}.next(seq, maxBatch)
}

// recentLocked gives the events after seq that are in memory, and whether none
// is missing.
func (l *Log) recentLocked(seq int64) ([]event.Event, bool) {
	if seq >= l.seq {
		return nil, true
	}
	if len(l.tail) == 0 || l.tail[0].Seq > seq+1 {
		return nil, false
	}
	i := slices.IndexFunc(l.tail, func(e event.Event) bool { return e.Seq > seq })
	return slices.Clone(l.tail[max(i, 0):]), true
}
