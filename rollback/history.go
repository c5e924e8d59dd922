package rollback

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/freshet/freshet/internal/durable"
)

// History is what must outlive the loss of state.json: what a person or a judge
// rejected. quarantine.json holds it a second time, sealed as all files here.
//
//	entries are added     quarantine.json (old and new), state.json
//	entries are removed   state.json, quarantine.json
//
// While state.json is whole it alone counts: a copy that a cut left with more
// entries is made like it by the next run. Where state.json is damaged the copy
// counts, with the entries that were about to go: to hold one version too long
// costs an hour, to install a rejected one may cost the machine.
type History struct {
	durable.Format
	Quarantine []Withdrawn `json:"quarantine"`
	Lost       *Loss       `json:"lost,omitempty"`
}

// Loss says that what was rejected before it is not known: state.json and its
// copy were both lost. What was published before it is not installed until a
// person allows it.
type Loss struct {
	At      time.Time `json:"at"`
	Decided []string  `json:"decided,omitempty"` // "base/NAME", "module/NAME": allowed by a person, or by a newer version in use; "base/*": all
}

// decided says whether the loss does not hold back kind's name any more.
func (l *Loss) decided(kind, name string) bool {
	return l == nil || slices.Contains(l.Decided, kind+"/"+name) || slices.Contains(l.Decided, kind+"/*")
}

// decide gives a copy in which kind's name is decided.
func (l *Loss) decide(kind, name string) *Loss {
	if l.decided(kind, name) {
		return l
	}
	return &Loss{At: l.At, Decided: append(slices.Clone(l.Decided), kind+"/"+name)}
}

// Reason says why a version is held back by the loss.
func (l *Loss) Reason() string {
	return "what was rolled back before " + l.At.UTC().Format(time.RFC3339) + " is not known any more, and this was published before"
}

// Undecided says whether the loss still holds back a base, "base", or a module,
// "module", of that name.
func (s State) Undecided(kind, name string) bool { return s.Lost != nil && !s.Lost.decided(kind, name) }

// HeldByLoss says whether a version is held back because it was published
// before the history was lost, and may be one that was rejected.
func (s State) HeldByLoss(kind, name string, published time.Time) (Withdrawn, bool) {
	if !s.Undecided(kind, name) || published.After(s.Lost.At) {
		return Withdrawn{}, false
	}
	return Withdrawn{At: s.Lost.At, Reason: s.Lost.Reason(), By: ByJudge}, true
}

func (s State) history() History {
	return History{Format: durable.Format{Format: StateFormat}, Quarantine: s.Quarantine, Lost: s.Lost}
}

func (h History) equal(o History) bool {
	a, b := State{Quarantine: h.Quarantine, Lost: h.Lost}, State{Quarantine: o.Quarantine, Lost: o.Lost}
	return a.equal(b)
}

func (s Store) historyPath() string { return filepath.Join(s.Dir, "quarantine.json") }

// History reads the copy of the quarantine. known is false where there is none,
// or a damaged one.
func (s Store) History() (h History, known bool, err error) {
	err = s.read(s.historyPath(), &h)
	if errors.Is(err, fs.ErrNotExist) || errors.As(err, new(*DamagedError)) {
		return History{}, false, nil
	}
	if err != nil {
		return History{}, false, err
	}
	h.Format.Format = StateFormat
	for i, w := range h.Quarantine {
		h.Quarantine[i].By = w.who()
	}
	return h, true, nil
}

// SettleHistory makes the copy of the quarantine like st, which was loaded: a
// cut may have left it with more, or an older agent without it.
func (s Store) SettleHistory(st State) error {
	h, known, err := s.History()
	if err != nil || known && h.equal(st.history()) {
		return err
	}
	return s.write(s.historyPath(), st.history())
}

// keepBoth has the copy hold what it holds, and what is to come. It gives what
// it holds then.
func (s Store) keepBoth(next History) (History, error) {
	have, known, err := s.History()
	if err != nil {
		return have, err
	}
	both := next
	both.Quarantine = slices.Clone(next.Quarantine)
	for _, w := range have.Quarantine {
		if !slices.ContainsFunc(next.Quarantine, w.same) {
			both.Quarantine = append(both.Quarantine, w)
		}
	}
	if both.Lost == nil {
		both.Lost = have.Lost
	}
	if known && both.equal(have) {
		return both, nil
	}
	return both, s.write(s.historyPath(), both)
}

// same says whether two entries are of the same version.
func (w Withdrawn) same(o Withdrawn) bool {
	return o.Base == w.Base && o.Version == w.Version && o.Module == w.Module && o.Release == w.Release
}

// By whom an entry of the quarantine was made.
const (
	ByJudge    = "judge"    // an engine, a check or a trial
	ByOperator = "operator" // a person, here
	ByConsole  = "console"  // a person, from afar
)

// who made an entry; versions before wrote it by ByHand alone.
func (w Withdrawn) who() string {
	switch {
	case w.By != "":
		return w.By
	case w.ByHand:
		return ByOperator
	}
	return ByJudge
}

// whole says whether an entry holds back every version.
func (w Withdrawn) whole() bool {
	return w.Base != "" && w.Version == 0 || w.Module != "" && w.Release == ""
}

// Rejected says what of a generation was rejected, "" if nothing was: such a
// generation is not gone back to unless it is named.
func (s State) Rejected(g Generation) string {
	var all []string
	for name, ref := range g.Bases {
		if s.RejectedBase(name, ref) {
			all = append(all, name)
		}
	}
	for name, slot := range g.Modules {
		if s.RejectedModule(name, slot) {
			all = append(all, "module "+name)
		}
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// RejectedBase says whether this very version of a base is in the quarantine.
func (s State) RejectedBase(name string, ref Ref) bool {
	return slices.ContainsFunc(s.Quarantine, func(w Withdrawn) bool {
		return w.Base == name && w.Module == "" && w.Version == ref.Version && w.Version != 0 && !otherKeys(w.Keys, ref.Keys)
	})
}

// RejectedModule says whether this very release of a module is in the
// quarantine.
func (s State) RejectedModule(name string, slot Slot) bool {
	return slices.ContainsFunc(s.Quarantine, func(w Withdrawn) bool {
		return w.Module == name && w.Release == slot.Version && w.Release != ""
	})
}
