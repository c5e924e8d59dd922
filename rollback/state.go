// Package rollback holds what an endpoint runs, as numbered generations, and
// the way back from one that does not work.
//
// A generation is everything an update can change. Exactly one is current;
// state.json says which, and its replacement is the one commit point:
//
//	      Switch            Confirm
//	good ───────► trial ───────────► good (the old one becomes previous)
//	  ▲             │
//	  └──── Revert ─┘  and what was new in it is quarantined
//
// State is a value and its changes are pure functions; [Store] keeps it.
package rollback

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// StateFormat is the format of state.json that this code writes.
const StateFormat = 1

// MaxBadEnds is how often a trial may end badly (a crash, not an orderly
// stop) before what it tried is quarantined.
const MaxBadEnds = 3

// State says which generations matter. 0 is no generation.
type State struct {
	Format     int         `json:"format"`
	Current    int         `json:"current"`            // what runs
	Good       int         `json:"good"`               // the newest confirmed
	Previous   int         `json:"previous"`           // the confirmed one before it
	Last       int         `json:"last"`               // the highest number ever given
	Trial      int         `json:"trial,omitempty"`    // the newest put on trial
	BadEnds    int         `json:"bad_ends,omitempty"` // of that trial
	Layer      int         `json:"layer,omitempty"`    // current: a trial of bases beside one of modules, see SwitchBases
	Over       int         `json:"over,omitempty"`     // what was current before it
	Quarantine []Withdrawn `json:"quarantine,omitempty"`
	Lost       *Loss       `json:"lost,omitempty"` // nil: all that was rejected is in Quarantine

	Displaced []int          `json:"displaced,omitempty"` // trials of modules, newest first, that newer ones took the place of: see [State.Displace]
	Ends      map[string]int `json:"ends,omitempty"`      // bad ends of modules on trial, by name
}

// Withdrawn is a version of a base or of a module that is not to be installed
// again, nor any below it, until a newer one comes or a person releases it. An
// entry without a version, which a person made, holds back every one.
type Withdrawn struct {
	Base    string    `json:"base,omitempty"`
	Version int64     `json:"version,omitempty"`
	Module  string    `json:"module,omitempty"`
	Release string    `json:"release,omitempty"` // the module's semantic version
	At      time.Time `json:"at"`
	Reason  string    `json:"reason"`
	ByHand  bool      `json:"by_hand,omitempty"` // a person rolled back or held
	By      string    `json:"by,omitempty"`      // see ByJudge
	Keys    string    `json:"keys,omitempty"`    // of a base: see [Ref]
}

// OnTrial reports whether the current generation is not yet confirmed.
func (s State) OnTrial() bool { return s.Current != s.Good }

// Switch makes generation n the current one, on trial.
func (s State) Switch(n int) (State, error) {
	if n <= 0 || n > s.Last {
		return s, fmt.Errorf("switch to generation %d: the last one made is %d", n, s.Last)
	}
	if s.Trial != n {
		s.Trial, s.BadEnds, s.Ends, s.Displaced = n, 0, nil, nil
	}
	s.Current, s.Layer, s.Over = n, 0, 0
	return s, nil
}

// Confirm ends the trial well: the current generation is good.
func (s State) Confirm() State {
	if !s.OnTrial() {
		return s
	}
	s.Previous, s.Good, s.Trial, s.BadEnds, s.Layer, s.Over = s.Good, s.Current, 0, 0, 0, 0
	s.Displaced, s.Ends = nil, nil
	return s
}

// Revert ends the trial badly: the good generation is current again and what
// the trial brought is withdrawn.
func (s State) Revert(gone ...Withdrawn) State {
	s.Current, s.Trial, s.BadEnds, s.Layer, s.Over = s.Good, 0, 0, 0, 0
	s.Displaced, s.Ends = nil, nil
	return s.Withdraw(gone...)
}

// Suspend makes the good generation current without a judgement, as after a
// boot: the trial may be taken up again.
func (s State) Suspend() State {
	s.Current, s.Layer, s.Over = s.Good, 0, 0
	return s
}

// BadEnd counts a bad end of the trial.
func (s State) BadEnd() State {
	s.BadEnds++
	return s
}

// Brief gives as much of a reason as is kept, some 2 KiB: it may quote what a
// stranger wrote, and what holds one version back must not cost the others.
func Brief(reason string) string {
	const most = 2 << 10
	if len(reason) <= most {
		return reason
	}
	return strings.ToValidUTF8(reason[:most], "") + "…"
}

// Withdraw adds to the quarantine, one entry a base and version.
func (s State) Withdraw(gone ...Withdrawn) State {
	s.Quarantine = slices.Clone(s.Quarantine)
	for _, w := range gone {
		s.Quarantine = slices.DeleteFunc(s.Quarantine, w.same)
		w.Reason, w.By = Brief(w.Reason), w.who()
		s.Quarantine = append(s.Quarantine, w)
	}
	return s
}

// Release takes all of a base's versions out of the quarantine and says which:
// after a loss of the history also those that it held back.
func (s State) Release(base string) (State, []Withdrawn) {
	var out []Withdrawn
	var keep []Withdrawn
	for _, w := range s.Quarantine {
		if w.Module == "" && w.Base == base {
			out = append(out, w)
		} else {
			keep = append(keep, w)
		}
	}
	s.Quarantine = keep
	if s.Undecided("base", base) {
		out = append(out, Withdrawn{Base: base, At: s.Lost.At, Reason: s.Lost.Reason(), By: ByJudge})
		s.Lost = s.Lost.decide("base", base)
	}
	return s, out
}

// Held says whether version of base is held back, and by what. A version left
// by hand holds back all up to it; one that failed holds back itself alone.
func (s State) Held(base string, version int64) (Withdrawn, bool) {
	return s.HeldFrom(base, version, "")
}

// HeldFrom is Held of a version that is signed with keys: numbers that were
// signed with keys that have been replaced since hold nothing back.
func (s State) HeldFrom(base string, version int64, keys string) (Withdrawn, bool) {
	for _, w := range s.Quarantine {
		if otherKeys(w.Keys, keys) {
			continue
		}
		if w.Module == "" && w.Base == base && (w.whole() || w.Version == version || w.ByHand && version <= w.Version) {
			return w, true
		}
	}
	return Withdrawn{}, false
}

// Forget drops what a confirmed newer version of a base has made moot. kept
// are the generations on disk: while one of them holds a rejected version, that
// it was rejected is remembered, so that no way back leads there.
func (s State) Forget(confirmed map[string]Ref, kept []Generation) State {
	s.Quarantine = slices.DeleteFunc(slices.Clone(s.Quarantine), func(w Withdrawn) bool {
		now := confirmed[w.Base]
		if w.Module != "" || w.whole() {
			return false
		}
		there := slices.ContainsFunc(kept, func(g Generation) bool {
			ref, ok := g.Bases[w.Base]
			return ok && ref.Version == w.Version && !otherKeys(w.Keys, ref.Keys)
		})
		return now.Version > w.Version && !there || otherKeys(w.Keys, now.Keys)
	})
	for name, ref := range confirmed {
		if s.Undecided("base", name) && ref.Published.After(s.Lost.At) {
			s.Lost = s.Lost.decide("base", name)
		}
	}
	return s
}

// Disown drops what is held back of bases: another repository is trusted, and
// its versions are counted anew.
func (s State) Disown() State {
	s.Quarantine = slices.DeleteFunc(slices.Clone(s.Quarantine), func(w Withdrawn) bool { return w.Module == "" })
	if s.Lost != nil {
		s.Lost = s.Lost.decide("base", "*")
	}
	return s
}

// otherKeys says whether a and b are known to be different keys.
func otherKeys(a, b string) bool { return a != "" && b != "" && a != b }

// Check says in what way s cannot be.
func (s State) Check() error {
	switch {
	case s.Format > StateFormat:
		return fmt.Errorf("format %d, and this agent writes %d", s.Format, StateFormat)
	case s.Format < 1:
		return fmt.Errorf("format %d", s.Format)
	case min(s.Current, s.Good, s.Previous) < 0, max(s.Current, s.Good, s.Previous) > s.Last:
		return fmt.Errorf("generations %d, %d, %d of %d", s.Current, s.Good, s.Previous, s.Last)
	case min(s.Trial, s.Layer, s.Over) < 0, max(s.Trial, s.Layer, s.Over) > s.Last:
		return fmt.Errorf("trials %d, %d over %d of %d", s.Trial, s.Layer, s.Over, s.Last)
	case len(s.Displaced) > 0 && (slices.Min(s.Displaced) <= 0 || slices.Max(s.Displaced) > s.Last):
		return fmt.Errorf("displaced trials %d of %d", s.Displaced, s.Last)
	}
	return nil
}

// Ref is a version of a base within a generation.
type Ref struct {
	Version   int64     `json:"version"`
	Published time.Time `json:"published"`
	Dir       string    `json:"dir"`            // below bases/NAME/
	Image     string    `json:"image"`          // SHA-256 of the image, hexadecimal
	Manifest  string    `json:"manifest"`       // SHA-256 of the manifest, kept at manifests/SHA256.json
	Keys      string    `json:"keys,omitempty"` // tells the keys that could sign it: what they are is of no matter, that they were replaced is
}

// Freed says whether a version signed with keys may take r's place whatever
// its number: the keys that r was signed with have been replaced since, and
// numbers that a thief gave bind nobody.
func (r Ref) Freed(keys string) bool { return otherKeys(r.Keys, keys) }

// Slot is a version of a module within a generation. It says all that starting
// it takes: whoever starts it reads no manifest.
type Slot struct {
	Version  string   `json:"version"`            // semantic, without a v
	Dir      string   `json:"dir"`                // below modules/NAME/
	Image    string   `json:"image"`              // SHA-256 of the image, hexadecimal; "": brought by a package
	Manifest string   `json:"manifest,omitempty"` // SHA-256 of the manifest, kept at manifests/SHA256.json
	Start    []string `json:"start,omitempty"`    // the command, its program below the slot; none: nothing runs
	Health   []string `json:"health,omitempty"`   // exits with 0 while the module is well
	Endpoint string   `json:"endpoint,omitempty"` // or a URL on this machine that answers with 200 while it is
}

// Generation is everything that an update can change.
type Generation struct {
	Number   int             `json:"number"`
	Made     time.Time       `json:"made"`
	Why      string          `json:"why"` // "update", "rollback", …
	Bases    map[string]Ref  `json:"bases"`
	Modules  map[string]Slot `json:"modules,omitempty"`  // "agent" is Freshet itself
	Settings string          `json:"settings,omitempty"` // SHA-256 of the settings in force
	Firewall string          `json:"firewall,omitempty"` // mechanism
}

// With gives a copy in which the bases named in refs are replaced.
func (g Generation) With(refs map[string]Ref) Generation {
	all := maps.Clone(g.Bases)
	if all == nil {
		all = map[string]Ref{}
	}
	maps.Copy(all, refs)
	g.Bases = all
	return g
}

// Changed names the bases, sorted, whose version differs from that in old.
func (g Generation) Changed(old Generation) []string {
	var names []string
	for name, ref := range g.Bases {
		if old.Bases[name].Dir != ref.Dir {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Before finds the newest version of base below the one in g among older
// generations, but for those that were rejected: what a rollback of that base
// returns to.
func (s State) Before(g Generation, base string, others []Generation) (Ref, bool) {
	var best Ref
	now, ok := g.Bases[base]
	for _, o := range others {
		ref, had := o.Bases[base]
		if ok && had && ref.Version < now.Version && ref.Version > best.Version && !s.RejectedBase(base, ref) {
			best = ref
		}
	}
	return best, best.Version > 0
}

// Keep lists the generations that must stay: current, good, previous, the one
// whose trial may be taken up again, those that it displaced, and for
// each base and module of the good one the newest holding the version before.
func (s State) Keep(all []Generation) []int {
	keep := map[int]bool{s.Current: true, s.Good: true, s.Previous: true, s.Trial: true, s.Over: true}
	for _, n := range s.Displaced {
		keep[n] = true
	}
	var current Generation
	for _, g := range all {
		if g.Number == s.Good {
			current = g
		}
	}
	for base := range current.Bases {
		before, ok := s.Before(current, base, all)
		if !ok {
			continue
		}
		newest := 0
		for _, g := range all {
			if g.Bases[base].Dir == before.Dir {
				newest = max(newest, g.Number)
			}
		}
		keep[newest] = true
	}
	for module := range current.Modules {
		if n, ok := s.newestWithModuleBefore(current, module, all); ok {
			keep[n] = true
		}
	}
	delete(keep, 0)
	return slices.Sorted(maps.Keys(keep))
}
