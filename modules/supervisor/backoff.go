package supervisor

import "time"

// backoff is how long a program that ended by itself waits before it is started
// again, the agent's as any other module's. It is a value: failed gives the next.
//
//	end:     1st      2nd      3rd        …   Nth
//	pause:   Pause    2·Pause  4·Pause    …   Rest at most
//
// It begins anew with another slot, and after a healthy run: crashes weeks apart
// do not add up.
type backoff struct {
	dir   string        // the slot whose ends are counted
	fails int           // ends in a row, none of them after a healthy run
	pause time.Duration // after the last of them
	retry time.Duration // on the supervisor's clock: it is not started before
}

// failed counts an end at now of the program of slot dir, which had worked for
// so long: 0 if it never did.
func (b backoff) failed(dir string, now, worked time.Duration, t Times) backoff {
	if dir != b.dir || worked >= b.healthy(t) {
		b = backoff{dir: dir}
	}
	b.fails++
	b.pause = min(max(2*b.pause, t.Pause), t.Rest)
	b.retry = now + b.pause
	return b
}

// healthy is how long a program must work for its ends before to be forgotten:
// no less than it was away for the last of them.
func (b backoff) healthy(t Times) time.Duration { return max(t.Gate, b.pause) }

// waits says whether the program of slot dir is not to be started yet.
func (b backoff) waits(dir string, now time.Duration) bool { return dir == b.dir && now < b.retry }
