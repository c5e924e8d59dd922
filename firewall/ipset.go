package firewall

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// building begins the name of a set that is being filled.
const building = chainMark + "tmp-"

// hasSets says whether this host's iptables can look addresses up in sets.
func (f *Firewall) hasSets(ctx context.Context) bool {
	path := f.tool("ipset")
	if path == "" {
		return false
	}
	_, err := f.run(ctx, "", path, "list", "-n")
	return err == nil
}

// putSets makes the sets stand. One that is there and whole is left; a set is
// filled under another name, so that its own is never that of a part of it.
func (f *Firewall) putSets(ctx context.Context, all []kernelSet) error {
	have, err := f.standing(ctx)
	if err != nil {
		return err
	}
	for _, s := range all {
		n, there := have[s.name]
		d, err := f.setDiffers(ctx, s, n, there, false)
		if err != nil {
			return err
		}
		if d == "" {
			continue
		}
		if err := f.putSet(ctx, s, there, have); err != nil {
			return fmt.Errorf("loading a block list: %w", err)
		}
	}
	return nil
}

func (f *Firewall) putSet(ctx context.Context, s kernelSet, there bool, have map[string]int) error {
	f.forget(s.name)
	ipset := f.tool("ipset")
	tmp := building + strings.TrimPrefix(s.name, chainMark)
	if _, left := have[tmp]; left {
		if _, err := f.run(ctx, "", ipset, "destroy", tmp); err != nil {
			return err
		}
	}
	if _, err := f.run(ctx, ipsetText(tmp, s.fam, s.all), ipset, "restore"); err != nil {
		return err
	}
	now, err := f.standing(ctx)
	if err != nil {
		return err
	}
	if now[tmp] != len(s.all) {
		return fmt.Errorf("the kernel took %d of %d addresses", now[tmp], len(s.all))
	}
	if !there {
		_, err = f.run(ctx, "", ipset, "rename", tmp, s.name)
		return err
	}
	// Somebody changed the set, and rules look into it: contents change places.
	if _, err = f.run(ctx, "", ipset, "swap", tmp, s.name); err != nil {
		return err
	}
	_, err = f.run(ctx, "", ipset, "destroy", tmp)
	return err
}

// standing gives Freshet's sets and how many addresses each holds.
func (f *Firewall) standing(ctx context.Context) (map[string]int, error) {
	ipset := f.tool("ipset")
	if ipset == "" {
		return nil, nil
	}
	out, err := f.run(ctx, "", ipset, "list", "-t")
	if err != nil {
		return nil, err
	}
	all := map[string]int{}
	name := ""
	for l := range strings.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimSpace(l), ": ")
		switch key {
		case "Name":
			name = value
		case "Number of entries":
			if n, err := strconv.Atoi(value); err == nil && strings.HasPrefix(name, chainMark) {
				all[name] = n
			}
		}
	}
	return all, nil
}

// setsDiffer says which sets are not as they should be; see contentDiffers.
func (f *Firewall) setsDiffer(ctx context.Context, all []kernelSet, fresh bool) ([]string, error) {
	have, err := f.standing(ctx)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, s := range all {
		n, there := have[s.name]
		d, err := f.setDiffers(ctx, s, n, there, fresh)
		if err != nil {
			return nil, err
		}
		if d != "" {
			out = append(out, d)
		}
	}
	return out, nil
}

// setDiffers says in what way a set, of which n addresses stand, is not as it
// should be.
func (f *Firewall) setDiffers(ctx context.Context, s kernelSet, n int, there, fresh bool) (string, error) {
	switch {
	case !there:
		return "- set " + s.name, nil
	case n != len(s.all):
		return fmt.Sprintf("~ set %s holds %d addresses, not %d", s.name, n, len(s.all)), nil
	}
	return f.contentDiffers(s.name, n, fresh, func() (string, error) { return f.ipsetDiffers(ctx, s) })
}

// sweepSets removes Freshet's sets but those to keep. No rule may look into
// one of them any more.
func (f *Firewall) sweepSets(ctx context.Context, keep []kernelSet) error {
	have, err := f.standing(ctx)
	if err != nil {
		return err
	}
	for name := range have {
		if slices.ContainsFunc(keep, func(s kernelSet) bool { return s.name == name }) {
			continue
		}
		f.forget(name)
		if _, err := f.run(ctx, "", f.tool("ipset"), "destroy", name); err != nil {
			return err
		}
	}
	return nil
}
