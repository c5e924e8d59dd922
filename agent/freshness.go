package agent

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/clock"
	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/updater"
)

// skew is how far clocks may lie apart before anyone is told.
const skew = 5 * time.Minute

// seen is what ages are judged by. It changes only when the state folder or
// the settings do.
type seen struct {
	signedAt  time.Time // of the timestamp that is trusted
	floor     time.Time // newest time of signing that counts
	installed []updater.Installed
	stale     map[string]bases.Thresholds // local ones
	sources   int
	unread    error // why the state was left as it is
}

func look(u *updater.Updater) (*seen, error) {
	var unread error
	installed, _, err := u.Installed()
	if durable.Lasting(err) {
		installed, unread, err = u.Shown(), err, nil // they age all the same
	}
	if err != nil {
		return nil, err
	}
	s := &seen{installed: installed, stale: u.Stale, sources: len(u.Sources), unread: unread}
	s.signedAt, s.floor = u.Signed()
	return s, nil
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
func (s *seen) judge(r clock.Reading) judgement {
	j := judgement{state: bases.WithoutBases}
	now := r.Now(s.floor)
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
	told    event.Code          // the state's code last told, this or another start
	clock   map[event.Code]bool // what was told of the clock and still holds
	futures map[string]bool     // base and version of PublishedInFuture told
}

type teller func(event.Code, map[string]string)

func (w *watcher) watch(s *seen, r clock.Reading, tell teller) judgement {
	j := s.judge(r)
	code := codes[j.state]
	if code != w.told && (w.told != "" || j.state != bases.UpToDate) {
		tell(code, s.fields(j))
	}
	w.told = code
	holds := s.ofClock(r)
	for _, code := range slices.Sorted(maps.Keys(holds)) {
		if !w.clock[code] {
			tell(code, holds[code])
		}
	}
	w.clock = map[event.Code]bool{}
	for code := range holds {
		w.clock[code] = true
	}
	for _, b := range j.future {
		w.tellFuture(b, tell)
	}
	return j
}

// ofClock is what is wrong with this clock or the publisher's: events and their
// fields.
func (s *seen) ofClock(r clock.Reading) map[event.Code]map[string]string {
	holds := map[event.Code]map[string]string{}
	if behind := s.floor.Sub(r.At); behind > skew && !r.Doubts(s.floor) {
		holds[event.ClockBehind] = map[string]string{"behind": ageText(behind)}
	}
	if r.Doubts(s.signedAt) {
		holds[event.SignedInFuture] = map[string]string{"signed": s.signedAt.UTC().Format(time.RFC3339), "ahead": ageText(s.signedAt.Sub(r.At))}
	}
	return holds
}

// noteClock adds what is wrong with the clocks to a run's result. Where no service
// watches them it is an event, too.
func (a *Agent) noteClock(u *updater.Updater, out *api.Result) {
	s, r := &seen{}, a.Clock.Read()
	s.signedAt, s.floor = u.Signed()
	holds := s.ofClock(r)
	for _, code := range slices.Sorted(maps.Keys(holds)) {
		if !a.serves() {
			a.emit(code, holds[code])
		}
		out.Notes = append(out.Notes, event.New(r.At, code, holds[code]).Text)
	}
}

// present gives, each time anew, the present by the clock and by what the
// repository of the root of trust in that file was seen to sign.
func (a *Agent) present(rootFile string) func() time.Time {
	return func() time.Time {
		root, _ := readRoot(rootFile) // without one the clock alone says it
		return (&updater.Updater{Dir: a.Dir, Root: root, Clock: a.Clock, Disk: a.Disk}).Now()
	}
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
func (s *seen) why(j judgement, r clock.Reading, update api.Task) string {
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
	silence := r.Now(s.floor).Sub(signed)
	if silence > 24*time.Hour {
		return fmt.Sprintf("no source has given anything newer than what was signed %s ago", ageText(silence))
	}
	if update.Last != nil && update.Last.Error != "" {
		return "the last update failed"
	}
	return fmt.Sprintf("the publisher signs, last %s ago, but has published no newer version of %s", ageText(silence), j.stalest)
}
