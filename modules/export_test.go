package modules

// What the tests see of how a try is chosen.
var (
	ConcurrentReload = concurrentReload
	VerdictsOf       = verdictsOf
	ErrNoMemory      = errNoMemory
)

// Choose gives the way to try in the plan's words. Sizes are bytes.
func Choose(need, alone, available, reload, running int64, concurrent bool) (string, error) {
	r, err := room{need: need, alone: alone, available: available, reload: reload, running: running, concurrent: concurrent}.choose("/clamd.conf")
	if err != nil {
		return "", err
	}
	return r.String(), nil
}
