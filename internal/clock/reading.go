package clock

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Sync is whether a clock is known to follow others, as by NTP.
type Sync int

const (
	Unknown        Sync = iota // nobody could be asked
	Synchronised               // the kernel says so
	Unsynchronised             // it was set by hand or by a battery, or nobody keeps it right
)

// timesyncd leaves this file when it has set the clock, see
// systemd-time-wait-sync.service(8). It is root's, and a boot removes it.
const timesyncd = "/run/systemd/timesync/synchronized"

// Sync asks the kernel whether something keeps the clock right (adjtimex(2)). A
// container is told of its host's clock. Where a filter forbids the question, as
// ProtectClock= does of a service, systemd-timesyncd's word counts; without it
// the answer is Unknown, as it is for a clock that stands in for the system's and
// says nothing itself.
func (c *Clock) Sync() Sync {
	switch {
	case c != nil && c.Synced != nil:
		return c.Synced()
	case c != nil && c.Wall != nil:
		return Unknown
	}
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return syncBy(timesyncd)
	}
	switch {
	case state == unix.TIME_ERROR || t.Status&unix.STA_UNSYNC != 0:
		return Unsynchronised
	}
	return Synchronised
}

func syncBy(file string) Sync {
	if st, err := os.Lstat(file); err != nil || !st.Mode().IsRegular() {
		return Unknown
	}
	return Synchronised
}

// Read reads the clock.
func (c *Clock) Read() Reading { return Reading{c.Now(), c.Sync()} }

// MaxRaise is how far ahead of a synchronised clock a time of signing may be and
// still raise the present: publishers' clocks are not all right to the second.
const MaxRaise = 24 * time.Hour

// Reading is what a clock said.
type Reading struct {
	At   time.Time
	Sync Sync
}

// Now is the present: the later of the clock and floor, the newest verified time of
// signing, so that a clock set back cannot make stale bases look fresh or bring
// expired metadata back to life. Where the clock is synchronised and the floor
// more than [MaxRaise] ahead of it, it was the publisher's clock that was wrong.
func (r Reading) Now(floor time.Time) time.Time {
	if floor.After(r.At) && !r.Doubts(floor) {
		return floor
	}
	return r.At
}

// Doubts says whether a time of signing lies too far in the future to be believed
// against this clock.
func (r Reading) Doubts(signed time.Time) bool {
	return r.Sync == Synchronised && signed.Sub(r.At) > MaxRaise
}

// Floor is the newest time of signing that counts, once something was verified
// that was signed at signed; before it was prior. A time that raised the present
// stays, until a synchronised clock and a newer signature agree that it was wrong.
func (r Reading) Floor(prior, signed time.Time) time.Time {
	switch {
	case signed.IsZero() || r.Doubts(signed):
		return prior
	case r.Doubts(prior) || signed.After(prior):
		return signed
	}
	return prior
}
