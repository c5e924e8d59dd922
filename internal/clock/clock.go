// Package clock is the one seam for time.
package clock

import (
	"time"

	"golang.org/x/sys/unix"
)

// Clock tells the time. Its zero value, and nil, is the system's clock.
type Clock struct {
	// Wall, if set, stands in for the wall clock.
	Wall func() time.Time

	// Pace, if set, is how many times faster than the system's clock Wall runs.
	Pace func() float64
}

// Now is the wall clock: it can jump, by hand or by NTP.
func (c *Clock) Now() time.Time {
	if c == nil || c.Wall == nil {
		return time.Now()
	}
	return c.Wall()
}

// Timer is how long a timer must be set for d to pass on this clock. Whatever is
// derived from Now waits by it; what other programs and networks are given does
// not.
func (c *Clock) Timer(d time.Duration) time.Duration {
	if c == nil || c.Pace == nil {
		return d
	}
	pace := c.Pace()
	if pace <= 0 {
		return d
	}
	return time.Duration(float64(d) / pace)
}

// SinceBoot is the time since boot, sleep included (CLOCK_BOOTTIME). It never
// jumps, and begins again at 0 with each boot.
func (c *Clock) SinceBoot() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic("clock: CLOCK_BOOTTIME: " + err.Error()) // Linux has had it since 2.6.39
	}
	return time.Duration(ts.Nano())
}
