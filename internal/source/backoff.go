package source

import "time"

// Backoff says how long to wait before trying again: longer after each
// failure, and not all clients at once.
type Backoff struct {
	First time.Duration // after the first failure; default 1 s
	Max   time.Duration // default 5 min
}

// Delay is the wait after failure n (from 1). It lies between half and the
// whole of First doubled n-1 times, at most Max; random in [0, 1) places it.
func (b Backoff) Delay(n int, random float64) time.Duration {
	first, most := b.First, b.Max
	if first <= 0 {
		first = time.Second
	}
	if most <= 0 {
		most = 5 * time.Minute
	}
	whole := min(first, most)
	for ; n > 1 && whole < most; n-- {
		whole = min(2*whole, most)
		if whole <= 0 { // doubled past what a Duration holds
			whole = most
		}
	}
	half := whole / 2
	return half + time.Duration(random*float64(whole-half))
}
