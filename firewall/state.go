package firewall

import (
	"fmt"
	"slices"
	"time"
)

// stateFormat is the format of state.json that this code writes.
const stateFormat = 1

// State says which set is in force. 0 is none. A change of it is a pure
// function; [Firewall] keeps it.
type State struct {
	Format   int    `json:"format"`
	Current  int    `json:"current"`          // what holds; 0: no rules
	Previous int    `json:"previous"`         // what held before it
	Last     int    `json:"last"`             // the highest number ever given
	Coming   int    `json:"coming,omitempty"` // a change to this set began, and did not end
	Trial    *Trial `json:"trial,omitempty"`
	Off      bool   `json:"off,omitempty"`      // taken away by hand, until somebody applies again
	Held     string `json:"held,omitempty"`     // the snapshot that an operator went back to
	Returned string `json:"returned,omitempty"` // what was asked for, by its hash, and came back
	Boot     string `json:"boot,omitempty"`     // the boot in which it was put into the kernel
	Drift    Drift  `json:"drift,omitzero"`

	Undone time.Time `json:"undone,omitzero"` // the last [Want.Undo] that was heeded
}

// Trial is a set that stands until somebody confirms it, or its time is over.
type Trial struct {
	Set   int           `json:"set"`
	Boot  string        `json:"boot"`
	Until time.Duration `json:"until"` // on the clock since that boot
}

// Drift is what is known of changes that others made.
type Drift struct {
	Told    string      `json:"told,omitempty"`    // the difference that was reported, by its hash
	Since   time.Time   `json:"since,omitzero"`    // when it was first seen
	Lines   []string    `json:"lines,omitempty"`   // the first of that difference
	More    int         `json:"more,omitempty"`    // how many follow them
	Missing bool        `json:"missing,omitempty"` // something of Freshet's is gone, or another
	Repairs []time.Time `json:"repairs,omitempty"` // of the last hour
	GaveUp  bool        `json:"gave_up,omitempty"`
}

// Wanted is the set that is to stand now.
func (s State) Wanted() int {
	if s.Trial != nil {
		return s.Trial.Set
	}
	return s.Current
}

// Drifted gives what others did to the rules, as it was seen last; ok is false
// where the rules are as they are to be. It is the same whether that is set right
// or only told, and stays true where repairs were given up.
func (s State) Drifted() (d Drift, ok bool) { return s.Drift, s.Drift.Told != "" }

// see notes a difference that was not there before.
func (d *Drift) see(diff []string, now time.Time) {
	const most = 5
	d.Told, d.Since = told(diff), now.UTC()
	d.Lines = diff[:min(len(diff), most)]
	d.More = len(diff) - len(d.Lines)
	d.Missing = slices.ContainsFunc(diff, Missing)
}

// end notes that the rules are as they are to be; how often they were set right
// counts on.
func (d *Drift) end() { *d = Drift{Repairs: d.Repairs} }

// begin notes that a set is about to be brought into the kernel.
func (s State) begin(n int) State {
	s.Coming = n
	return s
}

// take makes a set that stands in the kernel the current one.
func (s State) take(n int, boot string) State {
	if n != s.Current {
		s.Previous = s.Current
	}
	s.Current, s.Coming, s.Trial, s.Boot, s.Drift = n, 0, nil, boot, Drift{}
	s.Returned = ""
	return s
}

// try puts a set that stands in the kernel on trial.
func (s State) try(t Trial) State {
	s.Trial, s.Coming, s.Boot, s.Drift = &t, 0, t.Boot, Drift{}
	return s
}

// giveBack ends a trial: what was asked for is not applied again by itself.
func (s State) giveBack(want string) State {
	s.Trial, s.Returned = nil, want
	return s
}

// over says whether a trial has ended: its time is up, or it was another boot.
func (t Trial) over(boot string, sinceBoot time.Duration) bool {
	return t.Boot != boot || sinceBoot >= t.Until
}

// Check says in what way s cannot be.
func (s State) Check() error {
	switch {
	case s.Format != stateFormat:
		return fmt.Errorf("format %d is not %d", s.Format, stateFormat)
	case min(s.Current, s.Previous, s.Coming) < 0 || max(s.Current, s.Previous, s.Coming) > s.Last:
		return fmt.Errorf("sets %d, %d, %d of %d", s.Current, s.Previous, s.Coming, s.Last)
	case s.Trial != nil && (s.Trial.Set <= 0 || s.Trial.Set > s.Last):
		return fmt.Errorf("a trial of set %d of %d", s.Trial.Set, s.Last)
	}
	return nil
}

// Set is a policy with all that its rules are made of: the same set always
// compiles to the same rules.
type Set struct {
	Number    int       `json:"number"`
	Made      time.Time `json:"made"`
	Want      string    `json:"want"` // hash of what was asked for
	Policy    Policy    `json:"policy"`
	Lists     []SetList `json:"lists,omitempty"`
	Mechanism Mechanism `json:"mechanism"`
	Backend   Backend   `json:"backend"`
	Sets      bool      `json:"sets"` // lists are sets of the kernel
}

// SetList is a list as a set holds it.
type SetList struct {
	Base    string   `json:"base"`
	Version int64    `json:"version"`        // of the base; 0: it is not installed yet
	SHA256  string   `json:"sha256"`         // of the addresses, kept at lists/SHA256
	Count   int      `json:"count"`          // addresses and networks
	Left    []string `json:"left,omitempty"` // left out: it would have cut a lifeline

	Bad      int      `json:"bad,omitempty"`       // lines that are no address, or one that cannot be meant
	BadLines []string `json:"bad_lines,omitempty"` // the first of them, with number and reason
}
