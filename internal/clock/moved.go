//go:build testclock

package clock

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Moved is a clock that the file at path moves, read anew each time:
//
//	72h            the system's clock, three days ahead
//	-48h x3600     two days behind when the file was written, and since then
//	               an hour passes each second
//	2026-11-22T…Z  a clock that stands (RFC 3339)
//
// It is for tests alone: no release has it.
func Moved(path string) (*Clock, error) {
	if _, _, _, err := moved(path); err != nil {
		return nil, err
	}
	return &Clock{
		Wall: func() time.Time {
			at, offset, pace, err := moved(path)
			if err != nil { // it is being written: a moment later it is there
				return time.Now()
			}
			if !at.IsZero() {
				return at
			}
			st, err := os.Stat(path)
			if err != nil {
				return time.Now()
			}
			since := time.Since(st.ModTime())
			return st.ModTime().Add(offset + time.Duration(float64(since)*pace))
		},
		Pace: func() float64 {
			_, _, pace, err := moved(path)
			if err != nil {
				return 1
			}
			return pace
		},
	}, nil
}

// moved reads what the file says.
func moved(path string) (at time.Time, offset time.Duration, pace float64, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return at, 0, 1, err
	}
	f := strings.Fields(string(data))
	if len(f) == 1 {
		if at, err := time.Parse(time.RFC3339, f[0]); err == nil {
			return at, 0, 1, nil
		}
	}
	pace = 1
	if len(f) == 2 && strings.HasPrefix(f[1], "x") {
		if pace, err = strconv.ParseFloat(f[1][1:], 64); err == nil && pace <= 0 {
			err = fmt.Errorf("%s is no factor", f[1])
		}
		f = f[:1]
	}
	if err == nil && len(f) != 1 {
		err = fmt.Errorf("%q is not as 72h, 72h x60 or a time", data)
	}
	if err == nil {
		offset, err = time.ParseDuration(f[0])
	}
	return at, offset, pace, err
}
