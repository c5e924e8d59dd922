package firewall

import (
	"fmt"
	"net/netip"
	"strings"
)

// nftTable is Freshet's own table.
const nftTable = "inet freshet"

// nftSet is a set of a table of nft's.
type nftSet struct {
	name     string
	fam      Family
	elements []netip.Prefix
}

// nftChains gives the chains of set number for both families in one table, in
// the very spelling in which nft list gives them back.
func nftChains(p Policy, number int, m Material) []Chain {
	var chains []Chain
	index := map[string]int{}
	for _, fam := range Families() {
		for _, l := range spread(p, fam, m.Sets[fam], m.Blocks[fam]) {
			i, ok := index[l.chain]
			if !ok {
				i = len(chains)
				index[l.chain] = i
				chains = append(chains, Chain{Name: nftChainName(l.chain, number)})
				if l.chain == string(In) || l.chain == string(Out) {
					chains[i].Rules = append(chains[i].Rules, []string{hookWords(Direction(l.chain))})
				}
			}
			chains[i].Rules = append(chains[i].Rules, []string{l.nft(fam, number)})
		}
	}
	return chains
}

func hookWords(d Direction) string {
	return fmt.Sprintf("type filter hook %sput priority filter - 10; policy accept;", d)
}

func nftChainName(chain string, number int) string { return fmt.Sprintf("%s-%d", chain, number) }

// nftText is the one transaction that puts a table in place of the one that may
// be there.
func nftText(chains []Chain, sets []nftSet) string {
	var b strings.Builder
	fmt.Fprintf(&b, "table %s\ndelete table %s\ntable %s {\n", nftTable, nftTable, nftTable)
	for _, s := range sets {
		fmt.Fprintf(&b, "\tset %s {\n\t\ttype %s\n\t\tflags interval\n", s.name, nftType(s.fam))
		for i, e := range s.elements {
			switch i {
			case 0:
				b.WriteString("\t\telements = { ")
			default:
				b.WriteString(",\n")
			}
			b.WriteString(nftPrefix(e))
		}
		if len(s.elements) > 0 {
			b.WriteString(" }\n")
		}
		b.WriteString("\t}\n")
	}
	// A chain must be there before a jump to it: leaves first.
	for i := len(chains) - 1; i >= 0; i-- {
		fmt.Fprintf(&b, "\tchain %s {\n", chains[i].Name)
		for _, r := range chains[i].Rules {
			b.WriteString("\t\t" + r[0] + "\n")
		}
		b.WriteString("\t}\n")
	}
	b.WriteString("}\n")
	return b.String()
}

func nftType(fam Family) string {
	if fam == V4 {
		return "ipv4_addr"
	}
	return "ipv6_addr"
}

func nftPrefix(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// nft gives a line in nft's words.
func (l line) nft(fam Family, number int) string {
	var w []string
	add := func(format string, args ...any) { w = append(w, fmt.Sprintf(format, args...)) }
	ip := "ip"
	if fam == V6 {
		ip = "ip6"
	}
	if !l.from.IsValid() && !l.to.IsValid() && l.set == "" && l.icmp == "" {
		add("meta nfproto ipv%d", fam)
	}
	if l.from.IsValid() {
		add("%s saddr %s", ip, nftPrefix(l.from))
	}
	if l.to.IsValid() {
		add("%s daddr %s", ip, nftPrefix(l.to))
	}
	if l.iface != "" {
		name := l.iface
		if cut, ok := strings.CutSuffix(name, "+"); ok {
			name = cut + "*"
		}
		add("%sifname %q", map[bool]string{false: "i", true: "o"}[l.outgoing], name)
	}
	if l.set != "" {
		add("%s %s @%s", ip, map[bool]string{false: "saddr", true: "daddr"}[l.outgoing], l.set)
	}
	if len(l.states) > 0 {
		add("ct state %s", strings.Join(nftStates(l.states), ","))
	}
	w = append(w, l.nftProtocol(fam)...)
	w = append(w, l.nftVerdict(fam, number)...)
	return strings.Join(w, " ")
}

func (l line) nftProtocol(fam Family) []string {
	var w []string
	switch {
	case l.icmp != "":
		t, _ := icmpOf(l.icmp)
		if fam == V6 {
			return []string{"icmpv6 type " + t.nf6}
		}
		return []string{"icmp type " + t.nft}
	case l.proto != "" && len(l.fromPorts)+len(l.ports) == 0:
		return []string{"meta l4proto " + protocolWord(l.proto, fam)}
	}
	if len(l.fromPorts) > 0 {
		w = append(w, string(l.proto)+" sport "+nftPorts(l.fromPorts))
	}
	if len(l.ports) > 0 {
		w = append(w, string(l.proto)+" dport "+nftPorts(l.ports))
	}
	return w
}

func nftPorts(all []Ports) string {
	var list []string
	for _, p := range all {
		list = append(list, p.String())
	}
	if len(list) == 1 {
		return list[0]
	}
	return "{ " + strings.Join(list, ", ") + " }"
}

// nftStates puts states into the order in which nft prints them.
func nftStates(states []string) []string {
	var out []string
	for _, s := range []string{"invalid", "established", "related", "new"} {
		for _, have := range states {
			if have == s {
				out = append(out, s)
			}
		}
	}
	return out
}

func (l line) nftVerdict(fam Family, number int) []string {
	note := fmt.Sprintf("comment %q", l.label())
	switch l.does {
	case toPass:
		if strings.HasPrefix(l.chain, "block-") {
			return []string{"counter return", note}
		}
		return []string{"counter accept", note}
	case toReject:
		switch {
		case l.proto == TCP:
			return []string{"counter reject with tcp reset", note}
		case fam == V6:
			return []string{"counter reject with icmpv6 port-unreachable", note}
		}
		return []string{"counter reject with icmp port-unreachable", note}
	case toLog:
		return []string{"limit rate 10/second burst 20 packets", fmt.Sprintf("counter log prefix %q", l.logPrefix()), note}
	case toChain:
		return []string{"counter jump " + nftChainName(l.jump, number), note}
	}
	return []string{"counter drop", note}
}
