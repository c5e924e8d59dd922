package agent

import (
	"fmt"
	"time"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/updater"
)

// skew is how far clocks may lie apart before anyone is told.
const skew = 5 * time.Minute

// seen is what ages are judged by. It changes only when the state folder or
// the settings do.
type seen struct {
	signedAt  time.Time
	installed []updater.Installed
	stale     map[string]bases.Thresholds // local ones
	sources   int
}

func look(u *updater.Updater) (*seen, error) {
	installed, _, err := u.Installed()
	if durable.Lasting(err) {
		installed, err = u.Shown(), nil // they age all the same
	}
	if err != nil {
		return nil, err
	}
	return &seen{signedAt: u.SignedAt(), installed: installed, stale: u.Stale, sources: len(u.Sources)}, nil
}

// thresholds are the operator's where set, else the publisher's.
func (s *seen) thresholds(b updater.Installed) bases.Thresholds {
	if t, ok := s.stale[b.Name]; ok {
		return t
	}
	return b.Manifest.Stale
}

// judgement is how fresh the bases are at a moment.
type judgement struct {
	state   bases.Freshness // of the stalest
	stalest string          // its name; "": no base
	age     time.Duration   // its age
	changes time.Duration   // until any base's state changes; 0: never
	future  []updater.Installed
}

// judge is a pure function of what was seen and the clock.
func (s *seen) judge(clock time.Time) judgement {
	j := judgement{state: bases.WithoutBases}
	now := bases.Now(clock, s.signedAt)
	for _, b := range s.installed {
		t, age := s.thresholds(b), now.Sub(b.Manifest.Published)
		state := t.Freshness(age)
		if j.stalest == "" || worse(state, j.state) || state == j.state && age > j.age {
			j.state, j.stalest, j.age = state, b.Name, age
		}
		if c := t.Changes(age); c > 0 && (j.changes == 0 || c < j.changes) {
			j.changes = c
		}
		if -age > skew {
			j.future = append(j.future, b)
		}
	}
	return j
}

func worse(a, b bases.Freshness) bool { return a != b && bases.Stalest(a, b) == a }

// codes of the states. Each is an event, logged once when it is entered.
var codes = map[bases.Freshness]event.Code{
	bases.UpToDate:         event.BasesAreUpToDate,
	bases.OutOfDate:        event.BasesAreOutOfDate,
	bases.TotallyOutOfDate: event.BasesAreTotallyOutOfDate,
	bases.WithoutBases:     event.WithoutBases,
}

// watcher tells when the state of the bases changes. Its zero value has told
// nothing yet.
type watcher struct {
	told    event.Code      // the state's code last told, this or another start
	behind  bool            // ClockBehind was told and still holds
	futures map[string]bool // base and version of PublishedInFuture told
}

type teller func(event.Code, map[string]string)

func (w *watcher) watch(s *seen, clock time.Time, tell teller) judgement {
	j := s.judge(clock)
	code := codes[j.state]
	if code != w.told && (w.told != "" || j.state != bases.UpToDate) {
		tell(code, s.fields(j))
	}
	w.told = code
	behind := s.signedAt.Sub(clock)
	if behind > skew && !w.behind {
		tell(event.ClockBehind, map[string]string{"behind": ageText(behind)})
	}
	w.behind = behind > skew
	for _, b := range j.future {
		w.tellFuture(b, tell)
	}
	return j
}

// fields are those of a state's event.
func (s *seen) fields(j judgement) map[string]string {
	switch {
	case j.state != bases.WithoutBases:
		return map[string]string{"base": j.stalest, "age": ageText(j.age)}
	case s.sources == 0:
		return map[string]string{"why": ", " + noSource}
	}
	return map[string]string{"why": ""}
}

func (w *watcher) tellFuture(b updater.Installed, tell teller) {
	key := fmt.Sprint(b.Name, " ", b.Ref.Version)
	if w.futures[key] {
		return
	}
	if w.futures == nil {
		w.futures = map[string]bool{}
	}
	w.futures[key] = true
	tell(event.PublishedInFuture, map[string]string{
		"base": b.Name, "version": fmt.Sprint(b.Ref.Version), "published": b.Manifest.Published.Format(time.RFC3339),
	})
}

// ageText is an age in the two largest units that matter.
func ageText(d time.Duration) string {
	const day = 24 * time.Hour
	d = d.Truncate(time.Second)
	switch {
	case d >= day:
		return fmt.Sprintf("%d d %d h", d/day, d%day/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%d s", d/time.Second)
}

// why says in words what makes bases stale: a publisher that is silent and a
// source that cannot be reached are not the same.
func (s *seen) why(j judgement, clock time.Time, update api.Task) string {
	if j.state == bases.WithoutBases {
		return "no base is installed yet"
	}
	if j.state == bases.UpToDate {
		return ""
	}
	signed := s.signedAt
	for _, b := range s.installed { // what was signed with keys replaced since is not known any more
		if signed.Before(b.Manifest.Published) {
			signed = b.Manifest.Published
		}
	}
	silence := bases.Now(clock, s.signedAt).Sub(signed)
	if silence > 24*time.Hour {
		return fmt.Sprintf("no source has given anything newer than what was signed %s ago", ageText(silence))
	}
	if update.Last != nil && update.Last.Error != "" {
		return "the last update failed"
	}
	return fmt.Sprintf("the publisher signs, last %s ago, but has published no newer version of %s", ageText(silence), j.stalest)
}
