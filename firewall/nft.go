package firewall

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// nftWay is a table of nft's own, the mechanism of the major line before. A
// change replaces the table in one transaction, for both families at once.
type nftWay struct {
	f   *Firewall
	nft string
}

func (w *nftWay) install(ctx context.Context, b build) error {
	w.f.forget("")
	text := nftText(nftChains(b.set.Policy, b.set.Number, b.mat), b.mat.nftSets())
	if _, err := w.f.run(ctx, text, w.nft, "-f", "-"); err != nil {
		return fmt.Errorf("changing the table %s: %w", nftTable, err)
	}
	return nil
}

func (w *nftWay) remove(ctx context.Context) error {
	there, err := w.there(ctx)
	if err != nil || !there {
		return err
	}
	if _, err := w.f.run(ctx, "", w.nft, "delete", "table", "inet", "freshet"); err != nil {
		return fmt.Errorf("removing the table %s: %w", nftTable, err)
	}
	return nil
}

func (w *nftWay) there(ctx context.Context) (bool, error) {
	out, err := w.f.run(ctx, "", w.nft, "list", "tables")
	if err != nil {
		return false, fmt.Errorf("reading the tables of nft: %w", err)
	}
	for l := range strings.Lines(out) {
		if strings.TrimSpace(l) == "table "+nftTable {
			return true, nil
		}
	}
	return false, nil
}

func (w *nftWay) differs(ctx context.Context, b build, fresh bool) ([]string, error) {
	there, err := w.there(ctx)
	if err != nil {
		return nil, err
	}
	if !there {
		return []string{"- table " + nftTable}, nil
	}
	out, err := w.f.run(ctx, "", w.nft, "-s", "-t", "list", "table", "inet", "freshet")
	if err != nil {
		return nil, fmt.Errorf("reading the table %s: %w", nftTable, err)
	}
	want := nftLines(nftText(nftChains(b.set.Policy, b.set.Number, b.mat), nil))
	have := nftLines(out)
	var all []string
	for name, rules := range want {
		if _, ok := have[name]; !ok {
			all = append(all, "- "+name)
			continue
		}
		for _, d := range difference(rules, have[name]) {
			all = append(all, name+": "+d)
		}
	}
	for name := range have {
		if _, ok := want[name]; !ok && !strings.HasPrefix(name, "set ") {
			all = append(all, "+ "+name)
		}
	}
	for _, s := range b.mat.nftSets() {
		if _, ok := have["set "+s.name]; !ok {
			all = append(all, "- set "+s.name)
			continue
		}
		d, err := w.f.contentDiffers(s.name, len(s.elements), fresh, func() (string, error) { return w.nftSetDiffers(ctx, s) })
		if err != nil {
			return nil, err
		}
		if d != "" {
			all = append(all, d)
		}
	}
	return all, nil
}

// nftLines gives the lines of each block of a table.
func nftLines(text string) map[string][]string {
	all := map[string][]string{}
	name := ""
	for l := range strings.Lines(text) {
		l = strings.TrimSpace(l)
		block, opens := strings.CutSuffix(l, " {")
		switch {
		case opens && (strings.HasPrefix(l, "chain ") || strings.HasPrefix(l, "set ")):
			name = block
			all[name] = nil
		case l == "}":
			name = ""
		case l != "" && name != "" && strings.HasPrefix(name, "chain "):
			all[name] = append(all[name], l)
		}
	}
	return all
}

var nftCounter = regexp.MustCompile(`counter packets (\d+) bytes (\d+)`)

// counters reads the rules with their counters.
func (w *nftWay) counters(ctx context.Context, b build) ([]Counted, error) {
	out, err := w.f.run(ctx, "", w.nft, "-t", "list", "table", "inet", "freshet")
	if err != nil {
		return nil, fmt.Errorf("reading the table %s: %w", nftTable, err)
	}
	have := nftLines(out)
	var all []Counted
	for _, c := range nftChains(b.set.Policy, b.set.Number, b.mat) {
		for _, l := range have["chain "+c.Name] {
			m := nftCounter.FindStringSubmatch(l)
			if m == nil {
				continue
			}
			fam := V4
			if strings.Contains(l, "ipv6") || strings.Contains(l, "ip6 ") || strings.Contains(l, "icmpv6") {
				fam = V6
			}
			n, _ := strconv.ParseUint(m[1], 10, 64)
			bytes, _ := strconv.ParseUint(m[2], 10, 64)
			all = append(all, Counted{Family: fam, Chain: c.Name, Packets: n, Bytes: bytes, Rule: nftCounter.ReplaceAllString(l, "counter")})
		}
	}
	return all, nil
}
