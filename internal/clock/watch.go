package clock

import "time"

// Watch is the time of somebody who watches. It stands still wherever nothing
// could be done, nor seen: in the machine's sleep, while a virtual machine is
// paused, while this process is stopped or starved. It is a value: Turn gives the
// next.
//
//	system   0 ─────── 60 ┄┄ sleep of 8 h ┄┄ 28860 ─── 28900
//	Now      0 ─────── 60                     60 ────── 100
//	Gaps     0                                1
type Watch struct {
	Now  time.Duration // this time; only differences tell something
	Gaps int           // how often it stood still

	awake  time.Duration // the system's clock at Now, without sleep
	asleep time.Duration // by then, since boot
}

const (
	// late is how much later than it was due a turn may come without a gap.
	late = 30 * time.Second

	// unseen is what two clocks, read one after the other, may seem to sleep.
	unseen = time.Second
)

// Turn is the watch as it is now. A turn was due within that time;
// the first one begins it.
func (c *Clock) Turn(w Watch, within time.Duration) Watch {
	awake := c.Awake()
	return w.Turn(awake, c.SinceBoot()-awake, within)
}

// Turn is Clock.Turn where the clock without sleep says awake, and the machine
// has slept for so long since boot.
func (w Watch) Turn(awake, asleep, within time.Duration) Watch {
	step, slept := awake-w.awake, asleep-w.asleep
	switch {
	case w.awake == 0:
		w.Now = awake
	case step > within+late || slept > unseen:
		w.Gaps++
	default:
		w.Now += max(step, 0)
	}
	w.awake, w.asleep = awake, asleep
	return w
}
