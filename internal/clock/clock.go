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
}

// Now is the wall clock: it can jump, by hand or by NTP.
func (c *Clock) Now() time.Time {
	if c == nil || c.Wall == nil {
		return time.Now()
	}
	return c.Wall()
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
