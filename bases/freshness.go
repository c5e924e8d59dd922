package bases

import (
	"fmt"
	"time"
)

// Thresholds say at which age a base becomes stale. In JSON whole seconds.
type Thresholds struct {
	OutOfDate        Seconds `json:"out_of_date"`         // older than this: BasesAreOutOfDate
	TotallyOutOfDate Seconds `json:"totally_out_of_date"` // this old: BasesAreTotallyOutOfDate
}

// Seconds is a duration that JSON carries as whole seconds.
type Seconds int64

// Duration gives s as time.Duration.
func (s Seconds) Duration() time.Duration { return time.Duration(s) * time.Second }

// DefaultThresholds are 3 and 7 days.
var DefaultThresholds = Thresholds{OutOfDate: 72 * 3600, TotallyOutOfDate: 168 * 3600}

// ThresholdsFor gives 3 and 7 times the publisher's pace, at least 3 and 7 days.
func ThresholdsFor(every time.Duration) Thresholds {
	day := max(every, 24*time.Hour)
	return Thresholds{OutOfDate: Seconds(3 * day / time.Second), TotallyOutOfDate: Seconds(7 * day / time.Second)}
}

func (t Thresholds) check() error {
	const century = 100 * 365 * 24 * 3600
	if t.OutOfDate <= 0 || t.TotallyOutOfDate <= t.OutOfDate || t.TotallyOutOfDate > century {
		return fmt.Errorf("thresholds of staleness of %d s and %d s", t.OutOfDate, t.TotallyOutOfDate)
	}
	return nil
}

// Freshness is the state of a base by its age, or of an agent by its stalest base.
type Freshness string

// From fresh to stale. An agent without any base is WithoutBases.
const (
	UpToDate         Freshness = "up to date"
	OutOfDate        Freshness = "out of date"
	TotallyOutOfDate Freshness = "totally out of date"
	WithoutBases     Freshness = "without databases"
)

// Freshness is the state at an age counted from the signed time of
// publication. A negative age (a publication in the future) is up to date;
// whoever calls reports it.
func (t Thresholds) Freshness(age time.Duration) Freshness {
	switch {
	case age >= t.TotallyOutOfDate.Duration():
		return TotallyOutOfDate
	case age > t.OutOfDate.Duration():
		return OutOfDate
	}
	return UpToDate
}

// Changes is the time from age until the state changes next, or 0 if it
// never does: how long a watcher may sleep.
func (t Thresholds) Changes(age time.Duration) time.Duration {
	switch t.Freshness(age) {
	case UpToDate:
		return t.OutOfDate.Duration() - age + 1
	case OutOfDate:
		return t.TotallyOutOfDate.Duration() - age
	}
	return 0
}

// Stalest is the worse of two states.
func Stalest(a, b Freshness) Freshness {
	order := map[Freshness]int{UpToDate: 0, OutOfDate: 1, TotallyOutOfDate: 2, WithoutBases: 3}
	if order[b] > order[a] {
		return b
	}
	return a
}
