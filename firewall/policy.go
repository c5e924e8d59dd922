package firewall

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Action is what happens to a packet.
type Action string

// Actions. What passes goes on to the rules of others: Freshet opens nothing
// that they close.
const (
	Pass   Action = "pass"
	Drop   Action = "drop"
	Reject Action = "reject" // drop, and tell the sender
)

// Direction is seen from this machine. Forwarded packets are left alone.
type Direction string

// Directions.
const (
	In  Direction = "in"
	Out Direction = "out"
)

// Protocol is a rule's; "" is any.
type Protocol string

// Protocols.
const (
	TCP  Protocol = "tcp"
	UDP  Protocol = "udp"
	ICMP Protocol = "icmp" // ICMPv6 in the rules for IPv6
)

// Policy is what the settings ask for: what is to pass, and what not.
//
// Before its rules these pass always: the loopback interface, packets of
// established connections, IPv6's neighbour discovery, and DHCP for this
// machine. Then the block lists are asked, then Rules in their order; the
// first that fits decides, else In or Out.
type Policy struct {
	In         Action         `yaml:"in" json:"in"`
	Out        Action         `yaml:"out" json:"out"`
	Rules      []Rule         `yaml:"rules,omitempty" json:"rules,omitempty"`
	Lists      []List         `yaml:"lists,omitempty" json:"lists,omitempty"`
	NeverBlock []netip.Prefix `yaml:"never_block,omitempty" json:"never_block,omitempty"` // passed over by Lists
}

// Rule is a packet rule. What it does not say fits any packet.
type Rule struct {
	Name      string         `yaml:"name" json:"name"`
	Direction Direction      `yaml:"direction" json:"direction"`
	Action    Action         `yaml:"action" json:"action"`
	Protocol  Protocol       `yaml:"protocol,omitempty" json:"protocol,omitempty"`
	From      []netip.Prefix `yaml:"from,omitempty" json:"from,omitempty"`
	To        []netip.Prefix `yaml:"to,omitempty" json:"to,omitempty"`
	FromPorts []Ports        `yaml:"from_ports,omitempty" json:"from_ports,omitempty"` // of the sender
	Ports     []Ports        `yaml:"ports,omitempty" json:"ports,omitempty"`           // of the receiver
	Interface string         `yaml:"interface,omitempty" json:"interface,omitempty"`   // a name, or its beginning and +
	ICMP      []string       `yaml:"icmp,omitempty" json:"icmp,omitempty"`             // names of ICMPTypes
	State     []string       `yaml:"state,omitempty" json:"state,omitempty"`           // names of States
	Log       bool           `yaml:"log,omitempty" json:"log,omitempty"`               // to the kernel's log, 10 a second at most
	Comment   string         `yaml:"comment,omitempty" json:"comment,omitempty"`
}

// List blocks the addresses of a base: as senders of what comes in, as
// receivers of what goes out.
type List struct {
	Base      string `yaml:"base" json:"base"`
	Direction string `yaml:"direction" json:"direction"` // in, out or both
	Log       bool   `yaml:"log,omitempty" json:"log,omitempty"`
}

// Covers says whether the list is asked for packets of a direction.
func (l List) Covers(d Direction) bool { return l.Direction == "both" || l.Direction == string(d) }

// States are the states of a connection that a rule may name, in the order in
// which the kernel's tools print them.
func States() []string { return []string{"invalid", "new", "related", "established"} }

// icmpType is a type by the numbers and nft's names that it has in either
// family; -1: it has none.
type icmpType struct {
	name     string
	v4, v6   int
	nft, nf6 string
}

var icmpTypes = []icmpType{
	{"echo-request", 8, 128, "echo-request", "echo-request"},
	{"echo-reply", 0, 129, "echo-reply", "echo-reply"},
	{"destination-unreachable", 3, 1, "destination-unreachable", "destination-unreachable"},
	{"time-exceeded", 11, 3, "time-exceeded", "time-exceeded"},
	{"parameter-problem", 12, 4, "parameter-problem", "parameter-problem"},
	{"packet-too-big", -1, 2, "", "packet-too-big"},
	{"redirect", 5, 137, "redirect", "nd-redirect"},
	{"timestamp-request", 13, -1, "timestamp-request", ""},
	{"router-solicitation", -1, 133, "", "nd-router-solicit"},
	{"router-advertisement", -1, 134, "", "nd-router-advert"},
	{"neighbour-solicitation", -1, 135, "", "nd-neighbor-solicit"},
	{"neighbour-advertisement", -1, 136, "", "nd-neighbor-advert"},
	{"listener-query", -1, 130, "", "mld-listener-query"},
	{"listener-report", -1, 131, "", "mld-listener-report"},
	{"listener-report-2", -1, 143, "", "mld2-listener-report"},
}

// ICMPTypes are the names that a rule may use.
func ICMPTypes() []string {
	var names []string
	for _, t := range icmpTypes {
		names = append(names, t.name)
	}
	return names
}

func icmpOf(name string) (icmpType, bool) {
	for _, t := range icmpTypes {
		if t.name == name {
			return t, true
		}
	}
	return icmpType{}, false
}

// Ports is a port, or all from First to Last.
type Ports struct{ First, Last uint16 }

// ParsePorts reads "22" or "8000-8080".
func ParsePorts(s string) (Ports, error) {
	first, last, ranged := strings.Cut(s, "-")
	if !ranged {
		last = first
	}
	a, err := port(first)
	b, err2 := port(last)
	if err != nil || err2 != nil || b < a {
		return Ports{}, fmt.Errorf("%.32q is no port from 1 to 65535, nor a range as 8000-8080", s)
	}
	return Ports{a, b}, nil
}

func port(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 || s[0] == '0' || s[0] == '+' {
		return 0, strconv.ErrRange
	}
	return uint16(n), nil
}

func (p Ports) String() string { return p.join("-") }

func (p Ports) join(by string) string {
	if p.First == p.Last {
		return strconv.Itoa(int(p.First))
	}
	return fmt.Sprintf("%d%s%d", p.First, by, p.Last)
}

// MarshalText is the form of JSON and YAML.
func (p Ports) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads it back.
func (p *Ports) UnmarshalText(text []byte) (err error) {
	*p, err = ParsePorts(string(text))
	return err
}

// ParsePrefix reads an address, or a network as 10.0.0.0/8. Bits beyond the
// network, zones and IPv4 in the clothes of IPv6 are mistakes.
func ParsePrefix(s string) (netip.Prefix, error) {
	var p netip.Prefix
	var err error
	if strings.Contains(s, "/") {
		p, err = netip.ParsePrefix(s)
	} else {
		var a netip.Addr
		if a, err = netip.ParseAddr(s); err == nil && a.Zone() == "" {
			p = netip.PrefixFrom(a, a.BitLen())
		}
	}
	switch {
	case err != nil || !p.IsValid():
		return netip.Prefix{}, fmt.Errorf("%.64q is no address, and no network as 10.0.0.0/8", s)
	case p.Addr().Is4In6():
		return netip.Prefix{}, fmt.Errorf("%.64q: write IPv4 as IPv4", s)
	case p.Masked() != p:
		return netip.Prefix{}, fmt.Errorf("%.64q has bits beyond its network: is %s meant?", s, p.Masked())
	}
	return p, nil
}
