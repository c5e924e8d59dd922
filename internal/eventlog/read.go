package eventlog

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/freshet/freshet/internal/event"
)

// Reader reads the log at a path, also while another process writes it. A log
// that is not there has no events.
type Reader struct{ Path string }

// Since gives the events at or after t, oldest first.
func (r Reader) Since(t time.Time) ([]event.Event, error) {
	return r.events(func(e event.Event) bool { return !e.Time.Before(t) })
}

// After gives the events with higher sequence numbers than seq, oldest first.
func (r Reader) After(seq int64) ([]event.Event, error) {
	return r.events(func(e event.Event) bool { return e.Seq > seq })
}

// errEnough ends a reading.
var errEnough = errors.New("enough was read")

// next gives the first n events with higher sequence numbers than seq. What is
// before them is passed over by its number alone, which a line begins with.
func (r Reader) next(seq int64, n int) ([]event.Event, error) {
	var events []event.Event
	err := r.files(func(file *os.File) error {
		_, err := scanLines(file, func(line []byte) (bool, error) {
			if known, ok := seqOf(line); ok && known <= seq {
				return true, nil
			}
			var rec record
			if json.Unmarshal(line, &rec) != nil || rec.Seq <= seq {
				return false, nil
			}
			if len(events) == n {
				return false, errEnough
			}
			events = append(events, rec.Event)
			return true, nil
		})
		return err
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return events, err
}

// seqOf is the number that a line begins with.
func seqOf(line []byte) (seq int64, ok bool) {
	digits, found := bytes.CutPrefix(line, []byte(`{"seq":`))
	for i, c := range digits {
		if c < '0' || c > '9' {
			return seq, found && i > 0 && c == ','
		}
		if seq = seq*10 + int64(c-'0'); i > 17 {
			return 0, false
		}
	}
	return 0, false
}

// Last is the newest event among codes, however long ago, and whether there
// was one.
func (r Reader) Last(codes ...event.Code) (event.Event, bool, error) {
	l := &Log{last: map[event.Code]event.Event{}}
	if err := r.each(l.note); err != nil {
		return event.Event{}, false, err
	}
	e, ok := newest(l.last, codes)
	return e, ok, nil
}

func (r Reader) events(want func(event.Event) bool) ([]event.Event, error) {
	var events []event.Event
	err := r.each(func(rec record) {
		if rec.Seq > 0 && want(rec.Event) {
			events = append(events, rec.Event)
		}
	})
	return events, err
}

func (r Reader) each(f func(record)) error {
	return r.files(func(file *os.File) error {
		_, err := scan(file, f)
		return err
	})
}

// files calls f with the log's files, the older first.
func (r Reader) files(f func(*os.File) error) error {
	// The newer file is opened first: if the log is rotated in between, both
	// names give one file, and nothing is missed.
	files := make([]*os.File, 0, 2)
	defer func() {
		for _, file := range files {
			file.Close()
		}
	}()
	for _, path := range []string{r.Path, r.Path + ".1"} {
		file, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("reading the log of events: %w", err)
		}
		files = append(files, file)
	}
	if len(files) == 2 && same(files[0], files[1]) {
		files[1].Close()
		files = files[:1]
	}
	for _, file := range slices.Backward(files) {
		if err := f(file); err != nil {
			return fmt.Errorf("reading the log of events: %w", err)
		}
	}
	return nil
}

func same(a, b *os.File) bool {
	sa, errA := a.Stat()
	sb, errB := b.Stat()
	return errA == nil && errB == nil && os.SameFile(sa, sb)
}

// record is a line: an event, or the newest of each code before it.
type record struct {
	event.Event
	Last []event.Event `json:"last,omitempty"`
}

const maxLine = 1 << 20

// scan calls f with every record of a log file and returns where the last
// whole one ends. Lines that are none, as a failing disk leaves them, are
// passed over.
func scan(r io.Reader, f func(record)) (whole int64, err error) {
	return scanLines(r, func(line []byte) (bool, error) {
		var rec record
		if json.Unmarshal(line, &rec) != nil || rec.Seq <= 0 && rec.Last == nil {
			return false, nil
		}
		f(rec)
		return true, nil
	})
}

// scanLines calls f with every line and returns where the last ends that f says
// is a record.
func scanLines(r io.Reader, f func(line []byte) (record bool, err error)) (whole int64, err error) {
	var offset int64
	in := bufio.NewReaderSize(r, 64<<10)
	for {
		line, n, err := readLine(in)
		offset += n
		if err == io.EOF {
			return whole, nil
		}
		if err != nil {
			return whole, err
		}
		is, err := f(line)
		if err != nil {
			return whole, err
		}
		if is {
			whole = offset
		}
	}
}

// readLine reads up to a line's end and says how many bytes that took. Of a
// line longer than maxLine the beginning alone is kept. What is not ended is
// io.EOF.
func readLine(in *bufio.Reader) (line []byte, n int64, err error) {
	for {
		part, err := in.ReadSlice('\n')
		n += int64(len(part))
		if len(line) < maxLine {
			line = append(line, part...)
		}
		if err != bufio.ErrBufferFull {
			return line, n, err
		}
	}
}

func newest(last map[event.Code]event.Event, codes []event.Code) (event.Event, bool) {
	var found event.Event
	for _, code := range codes {
		if e := last[code]; e.Seq > found.Seq {
			found = e
		}
	}
	return found, found.Seq > 0
}
