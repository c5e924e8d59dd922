package firewall

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// xtWay is a variant of iptables. Whole rule sets go through iptables-restore;
// what stands is read by go-iptables.
type xtWay struct {
	f     *Firewall
	tools []tools // a family each
}

func (w *xtWay) install(ctx context.Context, b build) error {
	if b.set.Sets {
		if err := w.f.putSets(ctx, b.mat.sets()); err != nil {
			return err
		}
	}
	for _, t := range w.tools {
		present, err := w.present(t)
		if err != nil {
			return err
		}
		text := Compile(b.set.Policy, b.set.Number, t.fam, b.mat).Restore(present)
		if err := w.restore(ctx, t, text); err != nil {
			return err
		}
	}
	return nil
}

func (w *xtWay) restore(ctx context.Context, t tools, text string) error {
	if _, err := w.f.run(ctx, text, t.restore, "--noflush", "--wait", strconv.Itoa(w.f.waits())); err != nil {
		return fmt.Errorf("changing the rules for %s: %w", t.fam, err)
	}
	return nil
}

func (w *xtWay) remove(ctx context.Context) error {
	for _, t := range w.tools {
		present, err := w.present(t)
		if err != nil {
			return err
		}
		if present.None() {
			continue
		}
		if err := w.restore(ctx, t, present.Remove()); err != nil {
			return err
		}
	}
	return nil
}

// present reads what of Freshet's stands.
func (w *xtWay) present(t tools) (Present, error) {
	p := Present{Jumps: map[string][]string{}}
	chains, err := t.ipt.ListChains(table)
	if err != nil {
		return p, fmt.Errorf("reading the rules for %s: %w", t.fam, err)
	}
	for _, c := range chains {
		if strings.HasPrefix(c, chainMark) {
			p.Chains = append(p.Chains, c)
		}
	}
	for _, builtin := range []string{"INPUT", "OUTPUT", "FORWARD"} {
		rules, err := t.ipt.List(table, builtin)
		if err != nil {
			return p, fmt.Errorf("reading the rules for %s: %w", t.fam, err)
		}
		for _, r := range rules {
			rule, ok := strings.CutPrefix(r, "-A "+builtin+" ")
			if ok && leadsToUs(rule) {
				p.Jumps[builtin] = append(p.Jumps[builtin], rule)
			}
		}
	}
	return p, nil
}

// leadsToUs says whether the target of a rule is a chain of Freshet's; what its
// comment says is something else.
func leadsToUs(rule string) bool {
	words := parted(rule)
	for i, w := range words[:max(len(words)-1, 0)] {
		target := w == "-j" || w == "-g"
		if target && (i == 0 || words[i-1] != "--comment" && words[i-1] != "--log-prefix") && strings.HasPrefix(words[i+1], chainMark) {
			return true
		}
	}
	return false
}

func (w *xtWay) differs(ctx context.Context, b build, fresh bool) ([]string, error) {
	var all []string
	if b.set.Sets {
		d, err := w.f.setsDiffer(ctx, b.mat.sets(), fresh)
		if err != nil {
			return nil, err
		}
		all = d
	}
	for _, t := range w.tools {
		d, err := w.familyDiffers(ctx, t, Compile(b.set.Policy, b.set.Number, t.fam, b.mat))
		if err != nil {
			return nil, err
		}
		all = append(all, d...)
	}
	return all, nil
}

func (w *xtWay) familyDiffers(ctx context.Context, t tools, want RuleSet) ([]string, error) {
	present, err := w.present(t)
	if err != nil {
		return nil, err
	}
	var all []string
	differ := func(chain string, want, have []string) {
		for _, d := range difference(want, have) {
			all = append(all, fmt.Sprintf("%s %s: %s", t.fam, chain, d))
		}
	}
	wanted := map[string][]string{}
	for _, e := range entries {
		wanted[e.builtin] = []string{"-j " + chainName(string(e.own), want.Number)}
	}
	for _, builtin := range []string{"INPUT", "OUTPUT", "FORWARD"} {
		differ(builtin, wanted[builtin], present.Jumps[builtin])
	}
	names := want.names()
	have, err := w.rules(ctx, t, present.Chains)
	if err != nil {
		return nil, fmt.Errorf("reading the rules for %s: %w", t.fam, err)
	}
	for _, c := range present.Chains {
		if !slices.Contains(names, c) {
			all = append(all, fmt.Sprintf("%s: + chain %s", t.fam, c))
		}
	}
	for _, c := range want.Chains {
		if !slices.Contains(present.Chains, c.Name) {
			all = append(all, fmt.Sprintf("%s: - chain %s", t.fam, c.Name))
			continue
		}
		differ(c.Name, spelled(c), have[c.Name])
	}
	return all, nil
}

// spelled are the rules of a chain as iptables -S gives them.
func spelled(c Chain) []string {
	all := make([]string, len(c.Rules))
	for i, r := range c.Rules {
		all[i] = joined(r)
	}
	return all
}

// fewChains are read one by one; of more, as block lists without sets need, all
// are read at once.
const fewChains = 6

// rules reads the rules of chains, in the one spelling: which words are quoted
// is not the same in all releases.
func (w *xtWay) rules(ctx context.Context, t tools, chains []string) (map[string][]string, error) {
	var lines []string
	if len(chains) > fewChains {
		out, err := w.f.run(ctx, "", strings.TrimSuffix(t.restore, "restore")+"save", "-t", table)
		if err != nil {
			return nil, err
		}
		lines = strings.Split(out, "\n")
	} else {
		for _, c := range chains {
			some, err := t.ipt.List(table, c)
			if err != nil {
				return nil, err
			}
			lines = append(lines, some...)
		}
	}
	all := map[string][]string{}
	for _, l := range lines {
		rule, ok := strings.CutPrefix(l, "-A ")
		chain, rule, _ := strings.Cut(rule, " ")
		if ok && strings.HasPrefix(chain, chainMark) {
			all[chain] = append(all[chain], joined(parted(rule)))
		}
	}
	return all, nil
}

// difference lists what is missing (-) and what is too much (+), in the order
// in which it stands; what is the same before and after is left out.
func difference(want, have []string) []string {
	for len(want) > 0 && len(have) > 0 && want[0] == have[0] {
		want, have = want[1:], have[1:]
	}
	for len(want) > 0 && len(have) > 0 && want[len(want)-1] == have[len(have)-1] {
		want, have = want[:len(want)-1], have[:len(have)-1]
	}
	var all []string
	for _, r := range want {
		if !slices.Contains(have, r) {
			all = append(all, "- "+r)
		}
	}
	for _, r := range have {
		if !slices.Contains(want, r) {
			all = append(all, "+ "+r)
		}
	}
	if len(all) == 0 && len(want)+len(have) > 0 {
		all = append(all, "~ its rules stand in another order, or more than once")
	}
	return all
}
