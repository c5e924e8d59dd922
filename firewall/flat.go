package firewall

import (
	"cmp"
	"net/netip"
	"slices"
)

// Family is IPv4 or IPv6.
type Family int

// Families of addresses.
const (
	V4 Family = 4
	V6 Family = 6
)

// Families are both.
func Families() []Family { return []Family{V4, V6} }

func (f Family) String() string {
	if f == V4 {
		return "IPv4"
	}
	return "IPv6"
}

func familyOf(a netip.Addr) Family {
	if a.Is4() {
		return V4
	}
	return V6
}

// verdict is what a line does with a packet that fits.
type verdict string

const (
	toPass   verdict = "pass" // leaves the chain it stands in
	toDrop   verdict = "drop"
	toReject verdict = "reject"
	toLog    verdict = "log"  // and goes on
	toChain  verdict = "jump" // and goes on, if that chain has no verdict
)

// line is one line of a chain: the form common to iptables and nft. It holds
// one address, and as many ports as one line of iptables takes.
type line struct {
	chain     string // "in", "out", "block-in", "block-out" or a bucket of these
	from, to  netip.Prefix
	set       string // the set that the sender is looked up in, of what comes in, or the receiver
	outgoing  bool
	proto     Protocol
	fromPorts []Ports
	ports     []Ports
	iface     string
	icmp      string
	states    []string
	does      verdict
	jump      string // the chain, for toChain
	name      string // the rule that it is of
	comment   string
}

// listLine is the name of the lines of a block list; their comment is its base.
const listLine = "list"

// maxMultiport is how many ports a line of iptables takes; a range counts two.
const maxMultiport = 15

// spread gives the lines of a family in their order: the pure half of the
// compiler that both mechanisms share. sets are the lists' sets by base, or
// blocks the lines that stand for a list where there are no sets.
func spread(p Policy, fam Family, sets map[string]string, blocks map[string][]line) []line {
	var all []line
	for _, d := range []Direction{In, Out} {
		all = append(all, always(d, fam)...)
		block := blocking(p, d, fam, sets, blocks)
		if len(block) > 0 {
			all = append(all, line{chain: string(d), outgoing: d == Out, does: toChain, jump: "block-" + string(d), name: "block-lists"})
		}
		for _, r := range p.Rules {
			if r.Direction == d {
				all = append(all, flatten(r, fam)...)
			}
		}
		otherwise := p.In
		if d == Out {
			otherwise = p.Out
		}
		all = append(all, line{chain: string(d), outgoing: d == Out, does: verdict(otherwise), name: "default"})
		all = append(all, block...)
	}
	return all
}

// always is what passes whatever the policy says: without it a machine loses
// its connections, or its network.
func always(d Direction, fam Family) []line {
	base := line{chain: string(d), outgoing: d == Out, does: toPass}
	with := func(name string, set func(*line)) line {
		l := base
		l.name = name
		set(&l)
		return l
	}
	all := []line{
		with("loopback", func(l *line) { l.iface = "lo" }),
		with("established", func(l *line) { l.states = []string{"related", "established"} }),
	}
	if fam == V6 {
		for _, t := range []string{"router-solicitation", "router-advertisement", "neighbour-solicitation", "neighbour-advertisement", "listener-query", "listener-report", "listener-report-2"} {
			all = append(all, with("ipv6-neighbours", func(l *line) { l.proto, l.icmp = ICMP, t }))
		}
	}
	server, client := Ports{67, 67}, Ports{68, 68}
	if fam == V6 {
		server, client = Ports{547, 547}, Ports{546, 546}
	}
	if d == Out {
		server, client = client, server
	}
	return append(all, with("dhcp", func(l *line) {
		l.proto, l.fromPorts, l.ports = UDP, []Ports{server}, []Ports{client}
	}))
}

// blocking are the lines of the block lists, in a chain of their own: what is
// never to be blocked goes back from there to the packet rules.
func blocking(p Policy, d Direction, fam Family, sets map[string]string, blocks map[string][]line) []line {
	chain := "block-" + string(d)
	var all, buckets []line
	for i, l := range p.Lists {
		if !l.Covers(d) {
			continue
		}
		entry := line{chain: chain, outgoing: d == Out, does: toDrop, name: listLine, comment: l.Base}
		if set := sets[l.Base]; set != "" {
			entry.set = set
			all = append(all, logged(entry, l.Log)...)
			continue
		}
		top, rest := bucketed(blocks[l.Base], entry, i, l.Log)
		all, buckets = append(all, top...), append(buckets, rest...)
	}
	if len(all) == 0 {
		return nil
	}
	var never []line
	for _, n := range p.NeverBlock {
		if familyOf(n.Addr()) != fam {
			continue
		}
		l := line{chain: chain, outgoing: d == Out, from: n, does: toPass, name: "never-block"}
		if d == Out {
			l.from, l.to = netip.Prefix{}, n
		}
		never = append(never, l)
	}
	return slices.Concat(never, all, buckets)
}

// logged is l, behind a line that logs what fits it if log.
func logged(l line, log bool) []line {
	if !log {
		return []line{l}
	}
	first := l
	first.does = toLog
	return []line{first, l}
}

// flatten spreads a rule out: a line for each pair of addresses, ICMP type, and
// chunk of ports.
func flatten(r Rule, fam Family) []line {
	var types []string
	for _, name := range r.ICMP {
		t, _ := icmpOf(name)
		if fam == V4 && t.v4 >= 0 || fam == V6 && t.v6 >= 0 {
			types = append(types, name)
		}
	}
	if len(types) == 0 && len(r.ICMP) > 0 {
		return nil
	}
	var states []string
	for _, s := range States() { // in the kernel's order, once each
		if slices.Contains(r.State, s) {
			states = append(states, s)
		}
	}
	var all []line
	for _, from := range ofFamily(r.From, fam) {
		for _, to := range ofFamily(r.To, fam) {
			for _, fp := range chunks(r.FromPorts) {
				for _, tp := range chunks(r.Ports) {
					for _, t := range orNone(types) {
						l := line{
							chain: string(r.Direction), outgoing: r.Direction == Out, from: from, to: to,
							proto: r.Protocol, fromPorts: fp, ports: tp, iface: r.Interface, icmp: t,
							states: states, does: verdict(r.Action), name: r.Name, comment: r.Comment,
						}
						all = append(all, logged(l, r.Log)...)
					}
				}
			}
		}
	}
	return all
}

// ofFamily are those of a family; one that fits any where there is none at all.
// A network of all addresses is as good as none named.
func ofFamily(all []netip.Prefix, fam Family) []netip.Prefix {
	if len(all) == 0 {
		return []netip.Prefix{{}}
	}
	var own []netip.Prefix
	for _, p := range all {
		switch {
		case familyOf(p.Addr()) != fam:
		case p.Bits() == 0:
			return []netip.Prefix{{}} // any; the lines are of one family as it is
		case !slices.Contains(own, p):
			own = append(own, p)
		}
	}
	return own
}

// chunks are ports in portions that one line of iptables takes.
func chunks(all []Ports) [][]Ports {
	if len(all) == 0 {
		return [][]Ports{nil}
	}
	var out [][]Ports
	var now []Ports
	room := maxMultiport
	for _, p := range merged(all) {
		need := 1
		if p.First != p.Last {
			need = 2
		}
		if need > room {
			out, now, room = append(out, now), nil, maxMultiport
		}
		now, room = append(now, p), room-need
	}
	return append(out, now)
}

// merged are ports in their order, each once, as nft prints them.
func merged(all []Ports) []Ports {
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b Ports) int { return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Last, b.Last)) })
	out := all[:1]
	for _, p := range all[1:] {
		if last := &out[len(out)-1]; int(p.First) <= int(last.Last)+1 {
			last.Last = max(last.Last, p.Last)
			continue
		}
		out = append(out, p)
	}
	return out
}

func orNone(all []string) []string {
	if len(all) == 0 {
		return []string{""}
	}
	return all
}
