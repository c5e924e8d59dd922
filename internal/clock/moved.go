//go:build testclock

package clock

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Moved is a clock that the file at path moves, read anew each time:
//
//	72h            the system's clock, three days ahead
//	-48h x3600     two days behind when the file was written, and since then
//	               an hour passes each second
//	8h asleep      eight hours ahead, in which the machine slept
//	2026-11-22T…Z  a clock that stands (RFC 3339)
//
// It is unsynchronised, as a clock is that somebody moves, unless the last word is
// "synchronised".
//
// It is for tests alone: no release has it.
func Moved(path string) (*Clock, error) {
	if _, err := moved(path); err != nil {
		return nil, err
	}
	m := &mover{path: path, last: said{pace: 1, from: time.Now()}}
	return &Clock{
		Wall: func() time.Time { return m.read().now() },
		Pace: func() float64 { return m.read().pace },
		Slept: func() time.Duration {
			if r := m.read(); r.asleep {
				return r.offset
			}
			return 0
		},
		Synced: func() Sync { return m.read().sync },
	}, nil
}

// mover remembers what the file said last: one that is being written is empty
// for a moment, and the clock must not jump back for that.
type mover struct {
	path string
	mu   sync.Mutex // guards last
	last said
}

// said is what the file says, and since when.
type said struct {
	at     time.Time // not zero: the clock stands
	offset time.Duration
	pace   float64
	from   time.Time // when the file was written
	asleep bool      // through the offset
	sync   Sync
}

func (r said) now() time.Time {
	if !r.at.IsZero() {
		return r.at
	}
	return r.from.Add(r.offset + time.Duration(float64(time.Since(r.from))*r.pace))
}

func (m *mover) read() said {
	m.mu.Lock()
	defer m.mu.Unlock()
	st, err := os.Stat(m.path)
	if err == nil {
		if r, err := moved(m.path); err == nil {
			r.from = st.ModTime()
			m.last = r
		}
	}
	return m.last
}

// moved reads what the file says.
func moved(path string) (r said, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return r, err
	}
	r.pace, r.sync = 1, Unsynchronised
	f := strings.Fields(string(data))
	if n := len(f); n > 1 && f[n-1] == "synchronised" {
		f, r.sync = f[:n-1], Synchronised
	}
	if len(f) == 1 {
		if r.at, err = time.Parse(time.RFC3339, f[0]); err == nil {
			return r, nil
		}
		r.at, err = time.Time{}, nil
	}
	switch {
	case len(f) == 2 && f[1] == "asleep":
		r.asleep = true
	case len(f) == 2 && strings.HasPrefix(f[1], "x"):
		if r.pace, err = strconv.ParseFloat(f[1][1:], 64); err == nil && r.pace <= 0 {
			err = fmt.Errorf("%s is no factor", f[1])
		}
	case len(f) != 1:
		err = fmt.Errorf("%q is not as 72h, 72h x60, 8h asleep or a time", data)
	}
	if err == nil {
		r.offset, err = time.ParseDuration(f[0])
	}
	return r, err
}
