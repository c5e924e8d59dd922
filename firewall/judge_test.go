package firewall_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/freshet/freshet/firewall"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func TestThePolicyIsJudgedAsTheKernelWould(t *testing.T) {
	lists := map[string]firewall.Addresses{"attackers": firewall.Addresses(nets("198.51.100.0/24", "203.0.113.9"))}
	p := policies["server"]
	p.Lists, p.NeverBlock = policies["lists"].Lists[:1], nets("198.51.100.7")
	in := func(from string, proto firewall.Protocol, port uint16) firewall.Packet {
		return firewall.Packet{Direction: firewall.In, From: addr(from), To: addr("192.0.2.1"), Protocol: proto, Port: port, Interface: "wan0"}
	}
	rows := map[string]struct {
		pkt  firewall.Packet
		want firewall.Action
		rule string
	}{
		"ssh from the office":                   {in("10.1.2.3", firewall.TCP, 22), firewall.Pass, "ssh"},
		"ssh from elsewhere":                    {in("172.16.0.1", firewall.TCP, 22), firewall.Drop, "default"},
		"the web":                               {in("172.16.0.1", firewall.TCP, 8042), firewall.Pass, "web"},
		"the web by UDP":                        {in("172.16.0.1", firewall.UDP, 443), firewall.Drop, "default"},
		"the web from a blocked network":        {in("198.51.100.9", firewall.TCP, 443), firewall.Drop, "list"},
		"the web from one never to be blocked":  {in("198.51.100.7", firewall.TCP, 443), firewall.Pass, "web"},
		"ssh from one never to be blocked":      {in("198.51.100.7", firewall.TCP, 22), firewall.Drop, "default"},
		"telnet":                                {in("10.0.0.1", firewall.TCP, 23), firewall.Reject, "telnet"},
		"an interface of the rule noise":        {firewall.Packet{Direction: firewall.In, From: addr("172.16.0.1"), To: addr("192.0.2.1"), Interface: "eth3"}, firewall.Reject, "noise"},
		"an interface not known":                {firewall.Packet{Direction: firewall.In, From: addr("172.16.0.1"), To: addr("192.0.2.1")}, firewall.Reject, "noise"},
		"loopback":                              {firewall.Packet{Direction: firewall.In, From: addr("127.0.0.1"), To: addr("127.0.0.1"), Interface: "lo"}, firewall.Pass, "loopback"},
		"a neighbour in IPv6":                   {firewall.Packet{Direction: firewall.In, From: addr("fe80::1"), To: addr("fe80::2"), Protocol: firewall.ICMP, ICMP: "neighbour-solicitation", Interface: "wan0"}, firewall.Pass, "ipv6-neighbours"},
		"mail out of the interface it is for":   {firewall.Packet{Direction: firewall.Out, From: addr("192.0.2.1"), To: addr("192.0.2.9"), Protocol: firewall.TCP, FromPort: 2000, Port: 25, Interface: "eth0"}, firewall.Drop, "mail"},
		"to a blocked address":                  {firewall.Packet{Direction: firewall.Out, To: addr("203.0.113.9"), Protocol: firewall.TCP, Port: 443, Interface: "eth0"}, firewall.Drop, "list"},
		"to anywhere":                           {firewall.Packet{Direction: firewall.Out, To: addr("203.0.113.10"), Protocol: firewall.TCP, Port: 443, Interface: "eth0"}, firewall.Pass, "default"},
		"multicast, which state new is part of": {firewall.Packet{Direction: firewall.Out, To: addr("224.0.0.251"), Protocol: firewall.UDP, Port: 5353}, firewall.Drop, "multicast"},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			if got, rule := p.Judge(row.pkt, lists); got != row.want || rule != row.rule {
				t.Errorf("%s by %s, want %s by %s", got, rule, row.want, row.rule)
			}
		})
	}
}

func TestALockOutIsSeenBeforeItHappens(t *testing.T) {
	office, ok := firewall.Session("10.1.2.3 50000 192.0.2.1 22")
	home, ok2 := firewall.Session("172.16.0.1 50000 192.0.2.1 22")
	if !ok || !ok2 {
		t.Fatal("sessions are not read")
	}
	mirror := firewall.Lifeline{What: "the source https://mirror.example", Packet: firewall.Packet{Direction: firewall.Out, To: addr("198.51.100.4"), Protocol: firewall.TCP, FromPort: 50000, Port: 443}}
	p := policies["server"]
	p.Rules = p.Rules[:4] // without the rule for interfaces
	if cut := p.Cut([]firewall.Lifeline{office, mirror}); len(cut) > 0 {
		t.Errorf("cut: %q", cut)
	}
	cut := p.Cut([]firewall.Lifeline{home, mirror, home})
	if len(cut) != 1 || !strings.Contains(cut[0], "172.16.0.1") {
		t.Errorf("cut: %q", cut)
	}
	p.Out = firewall.Reject
	if cut := p.Cut([]firewall.Lifeline{mirror}); len(cut) != 1 || !strings.Contains(cut[0], "mirror.example") {
		t.Errorf("cut: %q", cut)
	}
}

// TestWhoWillLogInIsNotShutOut has nobody logged in, and sshd listening.
func TestWhoWillLogInIsNotShutOut(t *testing.T) {
	pass := func(r firewall.Rule) firewall.Rule {
		r.Name, r.Direction, r.Action = "way in", firewall.In, firewall.Pass
		return r
	}
	net := func(s string) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(s)} }
	ports := func(n uint16) []firewall.Ports { return []firewall.Ports{{First: n, Last: n}} }
	anywhere := []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:22"), netip.MustParseAddrPort("[::]:22")}
	one := []netip.AddrPort{netip.MustParseAddrPort("198.51.100.5:22")}
	two := []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:22"), netip.MustParseAddrPort("0.0.0.0:2222")}
	here := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:22"), netip.MustParseAddrPort("0.0.0.0:80")}
	for name, row := range map[string]struct {
		listen []netip.AddrPort
		in     firewall.Action
		rules  []firewall.Rule
		cut    string // "": nobody is shut out
	}{
		"nothing passes":                      {anywhere, firewall.Drop, nil, "port 22, where sshd listens, by what holds for everything else"},
		"everything passes":                   {anywhere, firewall.Pass, nil, ""},
		"from one network":                    {anywhere, firewall.Drop, []firewall.Rule{pass(firewall.Rule{Protocol: firewall.TCP, Ports: ports(22), From: net("10.0.0.0/8")})}, ""},
		"from one network by IPv6":            {anywhere, firewall.Reject, []firewall.Rule{pass(firewall.Rule{From: net("2001:db8:1::/48")})}, ""},
		"by one interface":                    {anywhere, firewall.Drop, []firewall.Rule{pass(firewall.Rule{Protocol: firewall.TCP, Interface: "vpn+"})}, ""},
		"to one address":                      {anywhere, firewall.Drop, []firewall.Rule{pass(firewall.Rule{To: net("198.51.100.5/32")})}, ""},
		"to another address than sshd's":      {one, firewall.Drop, []firewall.Rule{pass(firewall.Rule{To: net("198.51.100.6/32")})}, "port 22"},
		"another port":                        {anywhere, firewall.Drop, []firewall.Rule{pass(firewall.Rule{Protocol: firewall.TCP, Ports: ports(443)})}, "port 22"},
		"another protocol":                    {anywhere, firewall.Drop, []firewall.Rule{pass(firewall.Rule{Protocol: firewall.UDP})}, "port 22"},
		"one of two ports":                    {two, firewall.Drop, []firewall.Rule{pass(firewall.Rule{Protocol: firewall.TCP, Ports: ports(2222)})}, ""},
		"neither of two":                      {two, firewall.Drop, nil, "port 22 or 2222"},
		"a rule before takes it back":         {anywhere, firewall.Pass, []firewall.Rule{{Name: "no ssh", Direction: firewall.In, Action: firewall.Drop, Protocol: firewall.TCP, Ports: ports(22)}, pass(firewall.Rule{Ports: ports(22), Protocol: firewall.TCP})}, "the rule no ssh"},
		"a rule drops at another interface":   {anywhere, firewall.Pass, []firewall.Rule{{Name: "wan", Direction: firewall.In, Action: firewall.Drop, Interface: "wan0"}}, ""},
		"a rule drops from another network":   {anywhere, firewall.Pass, []firewall.Rule{{Name: "far", Direction: firewall.In, Action: firewall.Drop, From: net("203.0.113.0/24")}}, ""},
		"sshd listens for this machine alone": {here, firewall.Drop, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			l, ok := firewall.WayIn(row.listen, []uint16{22, 2222})
			if !ok {
				l = firewall.Lifeline{Packet: firewall.Packet{Direction: firewall.Out, To: addr("192.0.2.9")}}
			}
			cut := firewall.Policy{In: row.in, Out: firewall.Pass, Rules: row.rules}.Cut([]firewall.Lifeline{l})
			if len(cut) > 1 || (len(cut) == 1) != (row.cut != "") || row.cut != "" && !strings.Contains(cut[0], row.cut) {
				t.Errorf("cut: %q", cut)
			}
		})
	}
}

func TestTextThatIsNoSessionIsNone(t *testing.T) {
	for _, s := range []string{"", "10.0.0.1 1 10.0.0.2", "a 1 b 22", "10.0.0.1 1 10.0.0.2 99999", strings.Repeat("1 ", 400)} {
		if l, ok := firewall.Session(s); ok {
			t.Errorf("%q is taken as %+v", s, l)
		}
	}
}

func TestAListGivesWayToWhatMustStayReachable(t *testing.T) {
	a, err := firewall.ReadAddresses("10.0.0.0/8\n10.1.0.0/16\n192.0.2.1\n2001:db8::/32\n198.51.100.77/24 ; bits beyond\n")
	if err != nil || len(a) != 4 {
		t.Fatalf("%v, %v", a, err)
	}
	rest, left := a.Without([]netip.Addr{addr("10.200.0.1"), addr("192.0.2.2"), addr("2001:db8::5")})
	if strings.Join(left, " ") != "10.0.0.0/8 2001:db8::/32" || len(rest) != 2 || len(a) != 4 {
		t.Errorf("left out %v, rest %v of %v", left, rest, a)
	}
	if !rest.Contains(addr("198.51.100.1")) || rest.Contains(addr("10.200.0.1")) {
		t.Error("what is left blocks the wrong addresses")
	}
}
