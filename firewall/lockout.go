package firewall

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Lifeline is a connection that must stay possible: an operator's session, an
// update source, a name server.
type Lifeline struct {
	What   string // for people
	Packet Packet
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
		if action == Pass {
			continue
		}
		what := fmt.Sprintf("%s, by %s", l.What, ruleWords(rule, l.Packet.Direction))
		if !slices.Contains(cut, what) {
			cut = append(cut, what)
		}
	}
	return cut
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
