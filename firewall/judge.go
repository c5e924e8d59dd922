package firewall

import (
	"net/netip"
	"slices"
	"strings"
)

// Packet is the first of a connection, as far as rules see it.
type Packet struct {
	Direction Direction
	From, To  netip.Addr // To may be unknown; then no rule that names receivers passes it
	Protocol  Protocol
	FromPort  uint16
	Port      uint16
	ICMP      string
	Interface string // "": unknown; a rule for an interface is then taken to drop it, and not to pass it
}

// Family is that of its addresses.
func (p Packet) Family() Family {
	if p.From.IsValid() {
		return familyOf(p.From)
	}
	return familyOf(p.To)
}

// Judge says what the policy does with a packet, and by which rule. lists are
// asked as well where they are given. It reads the same lines that the kernel
// gets.
func (p Policy) Judge(pkt Packet, lists map[string]Addresses) (Action, string) {
	fam := pkt.Family()
	sets := map[string]string{}
	content := map[string]Addresses{}
	for i, l := range p.Lists {
		name := chainName("l", i)
		sets[l.Base], content[name] = name, lists[l.Base]
	}
	chains := map[string][]line{}
	for _, l := range spread(p, fam, sets, nil) {
		chains[l.chain] = append(chains[l.chain], l)
	}
	does, name, _ := judge(chains, string(pkt.Direction), pkt, content)
	return Action(does), name
}

func judge(chains map[string][]line, chain string, pkt Packet, sets map[string]Addresses) (verdict, string, bool) {
	for _, l := range chains[chain] {
		if l.does == toLog || !l.fits(pkt, sets) {
			continue
		}
		if l.does == toChain {
			if v, name, final := judge(chains, l.jump, pkt, sets); final {
				return v, name, true
			}
			continue
		}
		// What a block list's chain passes goes on in the chain before.
		return l.does, l.name, l.does != toPass || !strings.HasPrefix(chain, "block-")
	}
	return toPass, "", false
}

func (l line) fits(p Packet, sets map[string]Addresses) bool {
	unsure := l.does == toPass // what is not known is taken for the worse
	switch {
	case l.from.IsValid() && !l.from.Contains(p.From):
		return false
	case l.to.IsValid() && !p.To.IsValid():
		return !unsure
	case l.to.IsValid() && !l.to.Contains(p.To):
		return false
	case l.iface != "" && p.Interface == "" && (unsure || l.iface == "lo"):
		return false
	case l.iface != "" && p.Interface != "" && !interfaceFits(l.iface, p.Interface):
		return false
	case l.proto != "" && l.proto != p.Protocol:
		return false
	case len(l.fromPorts) > 0 && !within(l.fromPorts, p.FromPort), len(l.ports) > 0 && !within(l.ports, p.Port):
		return false
	case l.icmp != "" && l.icmp != p.ICMP:
		return false
	case len(l.states) > 0 && !slices.Contains(l.states, "new"):
		return false
	case l.set != "" && l.outgoing:
		return p.To.IsValid() && sets[l.set].Contains(p.To)
	case l.set != "":
		return sets[l.set].Contains(p.From)
	}
	return true
}

func interfaceFits(pattern, name string) bool {
	if start, ok := strings.CutSuffix(pattern, "+"); ok {
		return strings.HasPrefix(name, start)
	}
	return pattern == name
}

func within(all []Ports, port uint16) bool {
	return slices.ContainsFunc(all, func(p Ports) bool { return p.First <= port && port <= p.Last })
}
