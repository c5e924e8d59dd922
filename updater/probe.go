package updater

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/freshet/freshet/internal/trust"
)

// Probe asks the first source what bases it offers to who trusts u.Root, and
// keeps nothing of that. It fetches metadata alone. The caller holds the lock.
func (u *Updater) Probe(ctx context.Context) (names []string, err error) {
	if len(u.Sources) == 0 {
		return nil, errNoSource
	}
	defer u.closeIdle()
	dir := filepath.Join(u.tmp(), "probe")
	if err := u.Disk.RemoveAll(dir); err != nil {
		return nil, err
	}
	defer func() {
		if e := u.Disk.RemoveAll(dir); err == nil {
			err = e
		}
	}()
	c, from := u.client(), fetcher{u.Sources[0], u}
	c.Dir = filepath.Join(dir, "trust")
	view, err := c.Refresh(ctx, from)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from.Name(), err)
	}
	list, err := view.List(ctx, from, "bases")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from.Name(), err)
	}
	for _, t := range list {
		if name, ok := baseOf(t.Path); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// FetchRoot gets the root of trust that agents are given from the first source.
// It is worth nothing until its hash was compared.
func (u *Updater) FetchRoot(ctx context.Context) ([]byte, error) {
	if len(u.Sources) == 0 {
		return nil, errNoSource
	}
	defer u.closeIdle()
	return u.Sources[0].Fetch(ctx, trust.FirstRoot, trust.MaxRoot)
}

// disown drops from the survey what the repository that was trusted before has
// installed and this one does not offer.
func (u *Updater) disown(s *survey) {
	if !u.Foreign {
		return
	}
	for name := range s.now.Bases {
		if _, offered := s.offer.found[name]; !offered && !slices.Contains(s.drop, name) {
			s.drop = append(s.drop, name)
		}
	}
	slices.Sort(s.drop)
}
