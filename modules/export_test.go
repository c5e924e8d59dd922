package modules

import "time"

// What the tests see of how a try is chosen.
var (
	ConcurrentReload = concurrentReload
	VerdictsOf       = verdictsOf
	ErrNoMemory      = errNoMemory
	WrittenBefore    = writtenBefore
)

// ParseStat gives what is read of /proc/PID/stat.
func ParseStat(text string) (name string, started time.Duration, err error) {
	p, err := parseStat(text)
	return p.name, p.started, err
}

// Choose gives the way to try in the plan's words. Sizes are bytes.
func Choose(need, alone, available, reload, running int64, concurrent bool) (string, error) {
	r, err := room{need: need, alone: alone, available: available, reload: reload, running: running, concurrent: concurrent}.choose("/clamd.conf")
	if err != nil {
		return "", err
	}
	return r.String(), nil
}
