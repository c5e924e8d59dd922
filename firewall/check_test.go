package firewall_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/freshet/freshet/firewall"
)

func TestWhatCouldBecomeAnOptionAChainOrAShellIsRefused(t *testing.T) {
	good := firewall.Rule{Name: "a", Direction: firewall.In, Action: firewall.Drop}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	rows := map[string]func(*firewall.Rule){
		"no name":                         func(r *firewall.Rule) { r.Name = "" },
		"a name that is an option":        func(r *firewall.Rule) { r.Name = "-j" },
		"a name with a line end":          func(r *firewall.Rule) { r.Name = "a\n-A INPUT -j ACCEPT" },
		"a name that only ends in a line": func(r *firewall.Rule) { r.Name = "a\n" },
		"a name with a quote":             func(r *firewall.Rule) { r.Name = `a"` },
		"a name that is long":             func(r *firewall.Rule) { r.Name = strings.Repeat("a", 33) },
		"a comment with a quote":          func(r *firewall.Rule) { r.Comment = `a" -j ACCEPT "` },
		"a comment with a shell":          func(r *firewall.Rule) { r.Comment = "a $(reboot)" },
		"a comment with a zero byte":      func(r *firewall.Rule) { r.Comment = "a\x00" },
		"a comment that is an option":     func(r *firewall.Rule) { r.Comment = "--jump" },
		"an interface that is an option":  func(r *firewall.Rule) { r.Interface = "-i" },
		"an interface with a space":       func(r *firewall.Rule) { r.Interface = "eth0 -j" },
		"an interface of 16 letters":      func(r *firewall.Rule) { r.Interface = strings.Repeat("e", 16) },
		"an interface with a negation":    func(r *firewall.Rule) { r.Interface = "!eth0" },
		"another action":                  func(r *firewall.Rule) { r.Action = "ACCEPT" },
		"a chain as an action":            func(r *firewall.Rule) { r.Action = "DOCKER" },
		"another direction":               func(r *firewall.Rule) { r.Direction = "forward" },
		"another protocol":                func(r *firewall.Rule) { r.Protocol = "all -j" },
		"ports without a protocol":        func(r *firewall.Rule) { r.Ports = ports("22") },
		"a port of 0":                     func(r *firewall.Rule) { r.Protocol = firewall.TCP; r.Ports = []firewall.Ports{{}} },
		"a range that runs backwards":     func(r *firewall.Rule) { r.Protocol = firewall.TCP; r.Ports = []firewall.Ports{{First: 9, Last: 8}} },
		"an address without a value":      func(r *firewall.Rule) { r.From = []netip.Prefix{{}} },
		"a network with bits beyond":      func(r *firewall.Rule) { r.From = []netip.Prefix{netip.MustParsePrefix("10.0.0.1/8")} },
		"IPv4 in the clothes of IPv6":     func(r *firewall.Rule) { r.From = []netip.Prefix{netip.MustParsePrefix("::ffff:10.0.0.1/128")} },
		"from IPv4 to IPv6":               func(r *firewall.Rule) { r.From, r.To = nets("10.0.0.1"), nets("2001:db8::1") },
		"an ICMP type that is not":        func(r *firewall.Rule) { r.Protocol = firewall.ICMP; r.ICMP = []string{"any"} },
		"an ICMP type of another family": func(r *firewall.Rule) {
			r.Protocol = firewall.ICMP
			r.ICMP = []string{"packet-too-big"}
			r.From = nets("10.0.0.1")
		},
		"a state that is not":                  func(r *firewall.Rule) { r.State = []string{"NEW,ESTABLISHED -j ACCEPT"} },
		"as many states as fill a line":        func(r *firewall.Rule) { r.State = make([]string, 9) },
		"addresses in such numbers as no rule": func(r *firewall.Rule) { r.From = make([]netip.Prefix, 257) },
	}
	for name, spoil := range rows {
		t.Run(name, func(t *testing.T) {
			r := good
			spoil(&r)
			if r.Check() == nil {
				t.Errorf("taken: %+v", r)
			}
			p := firewall.Policy{In: firewall.Pass, Out: firewall.Pass, Rules: []firewall.Rule{r}}
			if p.Check() == nil {
				t.Error("taken within a policy")
			}
		})
	}
}

func TestPoliciesThatCannotBeAreRefused(t *testing.T) {
	r := firewall.Rule{Name: "a", Direction: firewall.In, Action: firewall.Drop}
	wide := firewall.Rule{Name: "w", Direction: firewall.In, Action: firewall.Drop}
	for i := range 250 {
		a := netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})
		b := netip.AddrFrom4([4]byte{10, 0, 1, byte(i)})
		wide.From, wide.To = append(wide.From, netip.PrefixFrom(a, 32)), append(wide.To, netip.PrefixFrom(b, 32))
	}
	var pair []firewall.Rule
	for _, n := range []string{"a", "b"} {
		wide.Name = n
		pair = append(pair, wide)
	}
	rows := map[string]firewall.Policy{
		"no default":              {},
		"two rules of one name":   {In: firewall.Pass, Out: firewall.Pass, Rules: []firewall.Rule{r, r}},
		"a list without a base":   {In: firewall.Pass, Out: firewall.Pass, Lists: []firewall.List{{Direction: "in"}}},
		"a list twice":            {In: firewall.Pass, Out: firewall.Pass, Lists: []firewall.List{{Base: "a", Direction: "in"}, {Base: "a", Direction: "out"}}},
		"a base that is a path":   {In: firewall.Pass, Out: firewall.Pass, Lists: []firewall.List{{Base: "../a", Direction: "in"}}},
		"rules without a bound":   {In: firewall.Pass, Out: firewall.Pass, Rules: make([]firewall.Rule, firewall.MaxRules+1)},
		"rules that spread apart": {In: firewall.Pass, Out: firewall.Pass, Rules: pair},
	}
	for name, p := range rows {
		t.Run(name, func(t *testing.T) {
			if p.Check() == nil {
				t.Error("taken")
			}
		})
	}
}

func TestPortsAndNetworksAreReadStrictly(t *testing.T) {
	for _, s := range []string{"", "0", "65536", "22-", "-22", "22-21", "+22", "022", "22,23", "ssh", "22:23", " 22"} {
		if p, err := firewall.ParsePorts(s); err == nil {
			t.Errorf("ports %q are taken as %s", s, p)
		}
	}
	for _, s := range []string{"", "10.0.0.1/8", "10.0.0.0/33", "10.0.0", "fe80::1%eth0", "::ffff:1.2.3.4", "1.2.3.4/", "example.org", "-s"} {
		if p, err := firewall.ParsePrefix(s); err == nil {
			t.Errorf("network %q is taken as %s", s, p)
		}
	}
	for _, s := range []string{"1", "65535", "8000-8080"} {
		if p, err := firewall.ParsePorts(s); err != nil || p.String() != s {
			t.Errorf("%q: %v, %v", s, p, err)
		}
	}
}
