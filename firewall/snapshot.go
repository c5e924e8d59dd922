package firewall

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/freshet/freshet/internal/event"
)

// maxSnapshots bounds what is put aside.
const maxSnapshots = 32

// ErrNoSnapshot says that there is none of that name.
var ErrNoSnapshot = errors.New("there is no such snapshot")

func (f *Firewall) snapshotPath(name string) string {
	return filepath.Join(f.Dir, "snapshots", name+".json")
}

// Snapshots names what was put aside, sorted.
func (f *Firewall) Snapshots() []string {
	entries, _ := os.ReadDir(filepath.Join(f.Dir, "snapshots"))
	var all []string
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".json")
		if ok && CheckName(name) == nil {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}

// Snapshot puts the set in force aside under a name, in place of one that has
// it.
func (f *Firewall) Snapshot(ctx context.Context, name string) (int, error) {
	if err := CheckName(name); err != nil {
		return 0, err
	}
	st, end, err := f.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer end()
	if st.Current == 0 {
		return 0, errors.New("no rules are in force that could be put aside")
	}
	all := f.Snapshots()
	if len(all) >= maxSnapshots && !slices.Contains(all, name) {
		return 0, fmt.Errorf("there are %d snapshots: remove one from %s", len(all), filepath.Join(f.Dir, "snapshots"))
	}
	b, err := f.build(st.Current)
	if err != nil {
		return 0, err
	}
	if err := f.Disk.MkdirAll(filepath.Join(f.Dir, "snapshots"), 0o700); err != nil {
		return 0, err
	}
	return b.set.Number, f.write(f.snapshotPath(name), b.set)
}

// Return goes back to a snapshot; "" is the set before the one in force. It
// holds until somebody applies what the settings say. Where it would cut one of
// the lifelines that now stands, it does nothing unless forced.
func (f *Firewall) Return(ctx context.Context, name string, lifelines []Lifeline, force bool) (int, error) {
	if name != "" && CheckName(name) != nil {
		return 0, ErrNoSnapshot
	}
	st, end, err := f.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer end()
	path := f.snapshotPath(name)
	if name == "" {
		if st.Previous == 0 {
			return 0, fmt.Errorf("%w: no set was in force before", ErrNoSnapshot)
		}
		path = f.setPath(st.Previous)
	}
	var s Set
	if err := unseal(f.Disk, path, &s); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return 0, fmt.Errorf("%w: %s", ErrNoSnapshot, name)
		}
		return 0, err
	}
	s.Number, s.Made = st.Last+1, f.Clock.Now().UTC()
	if cut := f.newlyCut(s.Policy, st, lifelines); len(cut) > 0 && !force {
		f.emit(event.FirewallRefused, "error", (&LockOut{cut}).Error())
		return 0, &LockOut{cut}
	}
	lists, err := f.lists(s)
	if err != nil {
		return 0, err
	}
	for i, l := range s.Lists { // it may be another who is to be spared now
		rest, left := lists[l.Base].Without(protected(lifelines))
		l.Left = append(slices.Clone(l.Left), left...)
		l.SHA256, l.Count, lists[l.Base] = rest.sum(), len(rest), rest
		s.Lists[i] = l
	}
	if host, err := f.detect(ctx); err == nil && s.Backend != NFTables {
		s.Backend = host.Backend
		s.Sets = len(s.Lists) > 0 && f.hasSets(ctx)
	}
	next := build{s, materialOf(lists, s.Sets || s.Backend == NFTables)}
	if err := f.keep(s, lists); err != nil {
		return 0, err
	}
	st.Last = s.Number
	if err := f.save(st.begin(s.Number)); err != nil {
		return 0, err
	}
	if err := f.stand(ctx, next); err != nil {
		return 0, errors.Join(err, f.back(ctx, st))
	}
	before := st
	st = st.take(s.Number, bootID())
	st.Off, st.Held = false, "set before"
	if name != "" {
		st.Held = name
	}
	return s.Number, f.settleOn(ctx, before, st, next, func() {
		f.emit(event.FirewallApplied, "set", fmt.Sprint(s.Number), "backend", string(s.Backend), "rules", fmt.Sprint(next.lines()), "addresses", fmt.Sprint(next.addresses()))
	})
}
