// Package updater is the update task: it brings the endpoint's bases from what
// is installed to what a signed repository offers, and back.
//
//	refresh ► plan ► fetch ► assemble ► check ► try ► SWITCH ► take ► watch ► confirm
//	(trust)  (pure) (resume) (delta+hash) (content) (engine) (commit)     │
//	                                                 unhealthy ► revert, quarantine
package updater

import (
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/semver"
	"golang.org/x/time/rate"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/internal/clock"
	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/internal/source"
	"github.com/freshet/freshet/modules"
)

// Updater updates the bases under one state folder. One process at a time may
// use it: whoever does holds the lock (see [Updater.Lock]).
type Updater struct {
	Dir     string                     // state folder
	Runtime string                     // folder that a boot empties
	Root    []byte                     // pinned root of trust (root.json)
	Sources []source.Source            // mirrors of one repository, in the order to ask
	Count   *source.Counter            // what all sources count with; nil: no figures in results
	Bases   []string                   // wanted; nil: every base of the repository
	Only    []string                   // of those, the bases that an update is about, the others stay as they are; none: all
	Engines map[string]*modules.Engine // by base; a base without one is confirmed at once
	// TakeBack says that Engines are all that there are: what was delivered for
	// others is removed again. False: it is left, as where no settings were read.
	TakeBack bool
	// KeepAll says that no operator took anything out of Bases: those installed
	// that it does not name stay as they are.
	KeepAll bool
	Stale   map[string]bases.Thresholds // local thresholds, by base
	Ceiling int64                       // most bytes that Dir may take; 0: no ceiling
	Version string                      // of this agent, held against Manifest.Agent
	Proving bool                        // of a source: what is no longer wanted stays where nothing wanted could be had
	Foreign bool                        // what is installed is another repository's: its numbers say nothing
	Disk    *durable.Disk
	Clock   *clock.Clock
	// Bandwidth is the most that downloads take, in bytes a second; 0: no limit.
	Bandwidth int64
	Every     time.Duration                                   // how often updates are asked for; 0: an hour
	Pace      *Pace                                           // how fast sources were; nil: not known
	Emit      func(code event.Code, fields map[string]string) // nil: silent

	Modules  *ModulePolicy // nil: modules are left alone
	Switcher Switcher      // who keeps the state; nil: the state folder itself

	bucket  *rate.Limiter       // see limiter
	telling sync.Mutex          // guards notes and Emit: engines are watched at once
	notes   []string            // of the run at hand, see Result.Notes
	need    int64               // bytes of disk that the plan foresees
	full    bool                // DiskFull was told since
	damaged map[string]bool     // version folders found damaged, while they are repaired
	failed  map[bases.Hash]bool // files that sources failed at in this run, see noteBroken

	undelivered map[string]bool // bases whose files could not be put into their engine's folder
}

// keepParts is how long an unfinished download waits to be resumed.
const keepParts = 7 * 24 * time.Hour

// stopTime is how long engines have to take the good version back when an
// update is stopped.
const stopTime = 10 * time.Second

// toldByResult are the events whose matter a Result has fields for.
var toldByResult = map[event.Code]bool{
	event.UpdateFailed: true, event.UpdateStopped: true, event.SourcesBehind: true,
	event.BaseUpdateFailed: true, event.BaseUnknown: true, event.BaseRefused: true, event.BaseRolledBack: true,
}

// emit takes the event's fields as pairs of name and value.
func (u *Updater) emit(code event.Code, pairs ...string) {
	fields := map[string]string{}
	for i := 0; i+1 < len(pairs); i += 2 {
		fields[pairs[i]] = pairs[i+1]
	}
	e := event.New(u.Clock.Now(), code, fields)
	u.telling.Lock()
	defer u.telling.Unlock()
	if e.Severity != event.Info && !toldByResult[code] && !slices.Contains(u.notes, e.Text) {
		u.notes = append(u.notes, e.Text)
	}
	if u.Emit != nil {
		u.Emit(code, fields)
	}
}

// note adds to what the run's result tells.
func (u *Updater) note(text string) {
	u.telling.Lock()
	defer u.telling.Unlock()
	u.notes = append(u.notes, text)
}

// closeIdle ends connections that sources keep: an idle agent holds none.
func (u *Updater) closeIdle() {
	for _, s := range u.Sources {
		if c, ok := s.(interface{ CloseIdle() }); ok {
			c.CloseIdle()
		}
	}
}

// compareVersions orders versions of the agent: "1.2.0", with or without a v.
// One that is no semantic version, as of a build by hand, is the newest.
func compareVersions(a, b string) int {
	va, vb := "v"+trimV(a), "v"+trimV(b)
	switch {
	case !semver.IsValid(va):
		return 1
	case !semver.IsValid(vb):
		return -1
	}
	return semver.Compare(va, vb)
}

func trimV(s string) string {
	if len(s) > 0 && s[0] == 'v' {
		return s[1:]
	}
	return s
}

// retryAfter finds how long a source asked to be left alone.
func retryAfter(err error) time.Duration {
	var retry *source.RetryError
	if errors.As(err, &retry) {
		return retry.After
	}
	if isUnlicensed(err) {
		return unlicensedRetry
	}
	return 0
}
