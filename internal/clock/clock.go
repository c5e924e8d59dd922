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

	// Slept, if set, is how long the machine slept besides what the system's
	// clocks tell.
	Slept func() time.Duration

	// Pace, if set, is how many times faster than the system's clock Wall runs.
	Pace func() float64

	// Synced, if set, is asked in place of the kernel whether the clock is right.
	Synced func() Sync
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

// SinceBoot is the time since boot, sleep included (CLOCK_BOOTTIME), for what is
// due however the machine spends the time. It never jumps, and begins again at 0
// with each boot.
func (c *Clock) SinceBoot() time.Duration {
	d := read(unix.CLOCK_BOOTTIME, "CLOCK_BOOTTIME") // Linux has had it since 2.6.39
	if c != nil && c.Slept != nil {
		d += c.Slept()
	}
	return d
}

// Awake is the time since boot without sleep (CLOCK_MONOTONIC), as timers count
// it, for what is watched: a machine that sleeps does nothing, well or badly.
func (c *Clock) Awake() time.Duration { return read(unix.CLOCK_MONOTONIC, "CLOCK_MONOTONIC") }

func read(clock int32, name string) time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(clock, &ts); err != nil {
		panic("clock: " + name + ": " + err.Error())
	}
	return time.Duration(ts.Nano())
}
