package firewall

import (
	"context"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Counted is a rule in the kernel and what went through it.
type Counted struct {
	Family  Family
	Chain   string
	Packets uint64
	Bytes   uint64
	Rule    string // in the words of iptables or nft
}

// Shown is how the firewall stands.
type Shown struct {
	State    State
	Set      *Set // nil: none is to stand
	Left     time.Duration
	Host     Host
	Place    []string // where the jumps stand, as "IPv4 INPUT 1 of 3"
	Counters []Counted
	Diff     []string  // what others did; see [Missing]
	Since    time.Time // when that was told; zero: it was not yet

	Snapshots []string
}

// Look reads how the firewall stands. It changes nothing, and waits for no
// change that is going on. Without root it reads nothing at all. The content of
// sets is read anew if fresh, else what the last look at them found may do.
func (f *Firewall) Look(ctx context.Context, counters, fresh bool) (Shown, error) {
	var s Shown
	if os.Geteuid() != 0 {
		return s, ErrUnavailable
	}
	st, err := f.load()
	if err != nil {
		return s, err
	}
	s.State, s.Snapshots = st, f.Snapshots()
	s.Host, err = f.detect(ctx)
	if st.Wanted() == 0 {
		return s, err
	}
	if st.Trial != nil {
		s.Left = max(st.Trial.Until-f.Clock.SinceBoot(), 0)
	}
	d, b, err := f.difference(ctx, st, fresh)
	if err != nil {
		return s, err
	}
	s.Set, s.Diff = &b.set, d
	if len(d) > 0 && st.Drift.Told == told(d) {
		s.Since = st.Drift.Since
	}
	if !counters {
		return s, nil
	}
	way, err := f.way(b.set.Backend)
	if err != nil {
		return s, err
	}
	switch w := way.(type) {
	case *nftWay:
		if !slices.Contains(d, "- table "+nftTable) {
			s.Counters, err = w.counters(ctx, b)
		}
	case *xtWay:
		s.Counters, s.Place, err = w.counters(b)
	}
	return s, err
}

// Used says whether this host ever had rules of Freshet's.
func (f *Firewall) Used() bool {
	_, err := os.Stat(f.statePath())
	return err == nil
}

// State reads the state alone.
func (f *Firewall) State() (State, error) { return f.load() }

// CameBack says whether what is wanted was refused, or not confirmed in time,
// and so is not applied again by itself.
func (f *Firewall) CameBack(st State, w Want) bool { return st.Returned == w.hash() }

func (w *xtWay) counters(b build) ([]Counted, []string, error) {
	var all []Counted
	var places []string
	for _, t := range w.tools {
		present, err := w.present(t)
		if err != nil {
			return nil, nil, err
		}
		for _, e := range entries {
			place, err := w.place(t, e.builtin)
			if err != nil {
				return nil, nil, err
			}
			places = append(places, place...)
		}
		for _, c := range Compile(b.set.Policy, b.set.Number, t.fam, b.mat).names() {
			if !slices.Contains(present.Chains, c) {
				continue
			}
			lines, err := t.ipt.ListWithCounters(table, c)
			if err != nil {
				return nil, nil, err
			}
			for _, l := range lines {
				if counted, ok := countedOf(t.fam, c, l); ok {
					all = append(all, counted)
				}
			}
		}
	}
	return all, places, nil
}

// place says where in a built-in chain Freshet's is entered.
func (w *xtWay) place(t tools, builtin string) ([]string, error) {
	lines, err := t.ipt.List(table, builtin)
	if err != nil {
		return nil, err
	}
	rules := slices.DeleteFunc(lines, func(l string) bool { return !strings.HasPrefix(l, "-A ") })
	var places []string
	for i, l := range rules {
		if strings.Contains(l, " -j "+chainMark) {
			places = append(places, t.fam.String()+" "+builtin+" "+strconv.Itoa(i+1)+" of "+strconv.Itoa(len(rules)))
		}
	}
	return places, nil
}

// countedOf reads a line of iptables -v -S: … -c PACKETS BYTES -j …
func countedOf(fam Family, chain, text string) (Counted, bool) {
	rule, ok := strings.CutPrefix(text, "-A "+chain+" ")
	if !ok {
		return Counted{}, false
	}
	words := parted(rule)
	i := slices.Index(words, "-c")
	if i < 0 || i+2 >= len(words) {
		return Counted{}, false
	}
	packets, err := strconv.ParseUint(words[i+1], 10, 64)
	bytes, err2 := strconv.ParseUint(words[i+2], 10, 64)
	if err != nil || err2 != nil {
		return Counted{}, false
	}
	return Counted{fam, chain, packets, bytes, joined(slices.Delete(words, i, i+3))}, true
}
