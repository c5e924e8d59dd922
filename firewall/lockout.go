package firewall

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Lifeline is a connection that must stay possible: an operator's session, an
// update source, a name server, the way in of who is to come.
type Lifeline struct {
	What   string // for people
	Packet Packet
	Doors  []Packet // in place of Packet, without a sender: that somebody passes one is enough
}

// LockOut says that a policy would cut lifelines. Nothing was changed.
type LockOut struct{ Cut []string }

func (e *LockOut) Error() string {
	return "it would cut off " + strings.Join(e.Cut, "; ")
}

// Cut says which lifelines a policy drops, and by which rule. Block lists are
// left out: what of them would cut one is not taken, see [Addresses.Without].
func (p Policy) Cut(lines []Lifeline) []string {
	p.Lists = nil
	var cut []string
	for _, l := range lines {
		action, rule := p.Judge(l.Packet, nil)
		if len(l.Doors) > 0 {
			action, rule = p.open(l.Doors)
		}
		if action == Pass {
			continue
		}
		what := fmt.Sprintf("%s, by %s", l.What, ruleWords(rule, cmp.Or(l.Packet.Direction, In)))
		if !slices.Contains(cut, what) {
			cut = append(cut, what)
		}
	}
	return cut
}

// maxCallers bounds the senders that are tried at a door: each is held against
// all rules.
const maxCallers = 100

// open says whether somebody passes one of the doors, and if not by which rule
// strangers do not. Where there are too many to try it is taken to be so.
func (p Policy) open(doors []Packet) (Action, string) {
	rule := ""
	for _, door := range doors {
		callers := p.callers(door)
		for i, c := range callers {
			action, by := p.Judge(c, nil)
			if action == Pass || i == maxCallers {
				return Pass, ""
			}
			rule = cmp.Or(rule, by)
		}
	}
	return Drop, rule
}

// callers are packets to a door: those of strangers, and of whom the rules name
// that let in there. What neither a door nor such a rule says is nothing that
// another rule names.
func (p Policy) callers(door Packet) []Packet {
	all := calls(door, Rule{})
	for _, r := range p.Rules {
		if r.Direction == In && r.Action == Pass && (r.Protocol == "" || r.Protocol == door.Protocol) &&
			(len(r.Ports) == 0 || within(r.Ports, door.Port)) {
			all = append(all, calls(door, r)...)
		}
	}
	return all
}

func calls(door Packet, r Rule) []Packet {
	from := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}
	to := []netip.Addr{netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("2001:db8::2")}
	if len(r.From) > 0 {
		from = firsts(r.From)
	}
	switch {
	case door.To.IsValid():
		to = []netip.Addr{door.To}
	case len(r.To) > 0:
		to = firsts(r.To)
	}
	door.Interface = cmp.Or(strings.TrimSuffix(r.Interface, "+"), door.Interface, "another")
	if len(r.FromPorts) > 0 {
		door.FromPort = r.FromPorts[0].First
	}
	var all []Packet
	for _, door.From = range from {
		for _, door.To = range to {
			if door.From.Is4() == door.To.Is4() {
				all = append(all, door)
			}
		}
	}
	return all
}

func firsts(list []netip.Prefix) []netip.Addr {
	var all []netip.Addr
	for _, p := range list {
		all = append(all, p.Masked().Addr())
	}
	return all
}

func ruleWords(rule string, d Direction) string {
	if rule == "default" {
		return fmt.Sprintf("what holds for everything else that goes %s", d)
	}
	return "the rule " + rule
}

// protected are the addresses that no block list may cover.
func protected(lines []Lifeline) []netip.Addr {
	var all []netip.Addr
	for _, l := range lines {
		far := l.Packet.From
		if l.Packet.Direction == Out {
			far = l.Packet.To
		}
		if far.IsValid() && !slices.Contains(all, far) {
			all = append(all, far)
		}
	}
	return all
}
