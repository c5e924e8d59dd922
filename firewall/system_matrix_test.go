//go:build system

package firewall_test

import (
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"github.com/freshet/freshet/firewall"
)

// matrix is a policy, and what it means on the wire.
var matrix = firewall.Policy{
	In: firewall.Drop, Out: firewall.Pass,
	Rules: []firewall.Rule{
		{Name: "enemy", Direction: firewall.In, Action: firewall.Drop, From: nets("10.77.0.3")},
		{Name: "ssh", Direction: firewall.In, Action: firewall.Pass, Protocol: firewall.TCP, Ports: ports("22"), Interface: "wan"},
		{Name: "web", Direction: firewall.In, Action: firewall.Pass, Protocol: firewall.TCP, Ports: ports("80", "8000-8010")},
		{Name: "dns", Direction: firewall.In, Action: firewall.Pass, Protocol: firewall.UDP, Ports: ports("53")},
		{Name: "ping", Direction: firewall.In, Action: firewall.Pass, Protocol: firewall.ICMP, ICMP: []string{"echo-request"}},
		{Name: "mail", Direction: firewall.Out, Action: firewall.Reject, Protocol: firewall.TCP, Ports: ports("25")},
	},
	Lists: []firewall.List{{Base: "attackers", Direction: "both"}},
}

// ping sends an echo request and waits for its answer.
func ping(network, address string) bool {
	c, err := icmp.ListenPacket(map[string]string{"4": "ip4:icmp", "6": "ip6:ipv6-icmp"}[network], "")
	if err != nil {
		return false
	}
	defer c.Close()
	var kind, reply icmp.Type = ipv4.ICMPTypeEcho, ipv4.ICMPTypeEchoReply
	proto := 1
	if network == "6" {
		kind, reply, proto = ipv6.ICMPTypeEchoRequest, ipv6.ICMPTypeEchoReply, 58
	}
	data, err := (&icmp.Message{Type: kind, Body: &icmp.Echo{ID: os.Getpid() & 0xffff, Seq: 1, Data: []byte("x")}}).Marshal(nil)
	if err != nil {
		return false
	}
	if _, err := c.WriteTo(data, &net.IPAddr{IP: net.ParseIP(address)}); err != nil {
		return false
	}
	c.SetReadDeadline(time.Now().Add(patience))
	buf := make([]byte, 256)
	for {
		n, _, err := c.ReadFrom(buf)
		if err != nil {
			return false
		}
		if m, err := icmp.ParseMessage(proto, buf[:n]); err == nil && m.Type == reply {
			return true
		}
	}
}

func TestWhatMustPassPassesAndWhatMustNotDoesNot(t *testing.T) {
	for _, b := range backends {
		t.Run(b.variant+" "+string(b.by), func(t *testing.T) {
			e := newWorld(t).endpoint(b.variant)
			for _, address := range []string{"10.77.0.1", "[fd77::1]"} {
				for _, port := range []string{"22", "80", "8005", "443"} {
					e.listen("", "tcp", address+":"+port)
				}
				for _, port := range []string{"53", "123"} {
					e.listen("", "udp", address+":"+port)
				}
			}
			e.listen("p", "tcp4", "10.77.0.2:25")
			e.listen("p", "tcp4", "10.77.0.2:80")
			e.listen("p", "tcp4", "10.77.0.3:80")
			e.listen("c", "tcp4", "10.88.0.2:80")
			e.listen("", "tcp4", "10.88.0.1:22")
			// Forwarding and address translation as Docker has them.
			e.sh("iptables-" + b.variant + " -t nat -A POSTROUTING -s 10.88.0.0/24 -o wan -j MASQUERADE")
			e.sh("iptables-" + b.variant + " -t nat -A PREROUTING -i wan -p tcp --dport 9000 -j DNAT --to-destination 10.88.0.2:80")
			want := wanted(matrix)
			want.Mechanism = b.by
			want.Lists = map[string]firewall.ListFile{"attackers": e.list("attackers", "203.0.113.0/24\nfd77::3\n")}
			e.mustApply(want)
			e.check()
			for _, row := range []struct {
				where, network, from, to string
				pass                     bool
			}{
				{"p", "tcp4", "10.77.0.2", "10.77.0.1:22", true},
				{"p", "tcp4", "10.77.0.3", "10.77.0.1:22", false},
				{"p", "tcp4", "10.77.0.2", "10.77.0.1:80", true},
				{"p", "tcp4", "10.77.0.2", "10.77.0.1:8005", true},
				{"p", "tcp4", "10.77.0.2", "10.77.0.1:443", false},
				{"p", "udp4", "10.77.0.2", "10.77.0.1:53", true},
				{"p", "udp4", "10.77.0.2", "10.77.0.1:123", false},
				{"p", "udp4", "10.77.0.3", "10.77.0.1:53", false},
				{"p", "tcp6", "", "[fd77::1]:22", true},
				{"p", "tcp6", "", "[fd77::1]:443", false},
				{"p", "udp6", "", "[fd77::1]:53", true},
				{"p", "udp6", "", "[fd77::1]:123", false},
				{"c", "tcp4", "", "10.88.0.1:22", false}, // ssh by the interface wan alone
				{"", "tcp4", "", "10.77.0.2:25", false},
				{"", "tcp4", "", "10.77.0.2:80", true},
				{"", "tcp4", "", "10.77.0.1:443", true},            // by loopback
				{"p", "tcp4", "10.77.0.2", "10.77.0.1:9000", true}, // forwarded into the container
				{"c", "tcp4", "", "10.77.0.2:25", true},            // forwarded out of it, mail too
			} {
				if got := e.reaches(row.where, row.network, row.from, row.to); got != row.pass {
					t.Errorf("%s from %q %s to %s: passes %v, want %v", row.network, row.where, row.from, row.to, got, row.pass)
				}
			}
			for network, address := range map[string]string{"4": "10.77.0.1", "6": "fd77::1"} {
				var got bool
				e.in("p", func() { got = ping(network, address) })
				if !got {
					t.Errorf("no answer to a ping by IPv%s", network)
				}
			}
			if e.sh("ip netns exec "+e.name+"p ip addr add fd77::3/64 dev wan nodad") == "" && e.reaches("p", "tcp6", "fd77::3", "[fd77::1]:22") {
				t.Error("what the list blocks comes through by IPv6")
			}
			packets := uint64(0)
			for _, c := range e.look().Counters {
				if strings.Contains(c.Rule, "web") {
					packets += c.Packets
				}
			}
			if packets == 0 {
				t.Error("the counters of the rule web are 0")
			}
		})
	}
}

// The kernel and the judge of the lock-out check are of one opinion.
func TestTheKernelDecidesAsTheJudgeSays(t *testing.T) {
	e := newWorld(t).endpoint("nft")
	for port := range 6 {
		e.listen("", "tcp4", fmt.Sprintf("10.77.0.1:%d", 2000+port))
	}
	p := firewall.Policy{In: firewall.Drop, Out: firewall.Pass, Rules: []firewall.Rule{
		{Name: "a", Direction: firewall.In, Action: firewall.Pass, Protocol: firewall.TCP, Ports: ports("2000-2001"), From: nets("10.77.0.2")},
		{Name: "b", Direction: firewall.In, Action: firewall.Drop, Protocol: firewall.TCP, Ports: ports("2001-2003"), Interface: "lan"},
		{Name: "c", Direction: firewall.In, Action: firewall.Pass, Protocol: firewall.TCP, Ports: ports("2002-2004"), From: nets("10.77.0.0/24"), State: []string{"new"}},
		{Name: "d", Direction: firewall.In, Action: firewall.Reject, Protocol: firewall.TCP, Ports: ports("2004")},
	}}
	e.mustApply(wanted(p))
	for _, from := range []string{"10.77.0.2", "10.77.0.3"} {
		for port := range uint16(6) {
			want, rule := p.Judge(firewall.Packet{Direction: firewall.In, From: addr(from), To: addr("10.77.0.1"), Protocol: firewall.TCP, FromPort: 40000, Port: 2000 + port, Interface: "wan"}, nil)
			if got := e.reaches("p", "tcp4", from, fmt.Sprintf("10.77.0.1:%d", 2000+port)); got != (want == firewall.Pass) {
				t.Errorf("from %s to port %d: the judge says %s by %s, the kernel passes %v", from, 2000+port, want, rule, got)
			}
		}
	}
}
