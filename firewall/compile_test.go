package firewall_test

import (
	"bytes"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/freshet/freshet/firewall"
)

var update = flag.Bool("update", false, "write the golden files anew")

func nets(all ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range all {
		p, err := firewall.ParsePrefix(s)
		if err != nil {
			panic(err)
		}
		out = append(out, p)
	}
	return out
}

func ports(all ...string) []firewall.Ports {
	var out []firewall.Ports
	for _, s := range all {
		p, err := firewall.ParsePorts(s)
		if err != nil {
			panic(err)
		}
		out = append(out, p)
	}
	return out
}

// policies are those of the golden files.
var policies = map[string]firewall.Policy{
	"nothing-but-defaults": {In: firewall.Pass, Out: firewall.Pass},
	"server": {
		In: firewall.Drop, Out: firewall.Pass,
		Rules: []firewall.Rule{
			{Name: "ssh", Direction: firewall.In, Action: firewall.Pass, Protocol: firewall.TCP, Ports: ports("22"), From: nets("10.0.0.0/8", "192.0.2.7", "2001:db8::/32"), State: []string{"new"}, Comment: "from the office alone"},
			{Name: "web", Direction: firewall.In, Action: firewall.Pass, Protocol: firewall.TCP, Ports: ports("443", "80", "8000-8080")},
			{Name: "ping", Direction: firewall.In, Action: firewall.Pass, Protocol: firewall.ICMP, ICMP: []string{"echo-request"}},
			{Name: "telnet", Direction: firewall.In, Action: firewall.Reject, Protocol: firewall.TCP, Ports: ports("23"), Log: true},
			{Name: "noise", Direction: firewall.In, Action: firewall.Reject, Interface: "eth+"},
			{Name: "mail", Direction: firewall.Out, Action: firewall.Drop, Protocol: firewall.TCP, Ports: ports("25"), FromPorts: ports("1024-65535"), Interface: "eth0", Log: true},
			{Name: "multicast", Direction: firewall.Out, Action: firewall.Drop, To: nets("224.0.0.0/4", "ff00::/8"), State: []string{"new", "invalid"}},
		},
	},
	"many-ports": {
		In: firewall.Drop, Out: firewall.Reject,
		Rules: []firewall.Rule{{
			Name: "games", Direction: firewall.Out, Action: firewall.Pass, Protocol: firewall.UDP,
			Ports: ports("9", "7", "8", "100-200", "150-300", "400", "402", "404", "406", "408", "410", "412", "414", "416", "418", "420", "422", "424", "426"),
		}},
	},
	"lists": {
		In: firewall.Pass, Out: firewall.Pass,
		Lists:      []firewall.List{{Base: "attackers", Direction: "both"}, {Base: "loud", Direction: "in", Log: true}},
		NeverBlock: nets("192.0.2.1", "2001:db8::1"),
	},
}

func material(t *testing.T, sets bool) firewall.Material {
	t.Helper()
	lists := map[string]firewall.Addresses{}
	for name, text := range map[string]string{
		"attackers": "198.51.100.0/24\n203.0.113.9\n2001:db8:bad::/48\n",
		"loud":      strings.Join(many(70), "\n"),
	} {
		a, err := firewall.ReadAddresses(text)
		if err != nil {
			t.Fatal(err)
		}
		lists[name] = a
	}
	return firewall.MaterialOf(lists, sets)
}

func many(n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("%d.%d.0.1", 10+i/40, i%40))
	}
	return all
}

func TestPoliciesCompileToTheGoldenRules(t *testing.T) {
	for name, p := range policies {
		if err := p.Check(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, sets := range []bool{true, false} {
			if !sets && len(p.Lists) == 0 {
				continue
			}
			m, kind := material(t, sets), ""
			if !sets {
				kind = "-without-sets"
			}
			before := firewall.Present{
				Jumps:  map[string][]string{"INPUT": {"-j FRESHET-IN-6"}, "OUTPUT": {"-j FRESHET-OUT-6"}},
				Chains: []string{"FRESHET-IN-6", "FRESHET-OUT-6"},
			}
			for _, fam := range firewall.Families() {
				golden(t, fmt.Sprintf("%s%s.v%d", name, kind, fam), firewall.Compile(p, 7, fam, m).Restore(before))
			}
			if sets {
				golden(t, name+".nft", firewall.NFT(p, 7, m))
			}
		}
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, []byte(got)) {
		t.Errorf("%s differs; go test ./firewall -args -update writes it anew:\n%s", path, got)
	}
}

func TestAChangeRemovesWhatStoodThereAndNothingElse(t *testing.T) {
	before := firewall.Present{
		Jumps:  map[string][]string{"INPUT": {"-j FRESHET-IN-6", "-j FRESHET-IN-6"}, "OUTPUT": {"-j FRESHET-OUT-7"}},
		Chains: []string{"FRESHET-IN-6", "FRESHET-OUT-7"},
	}
	text := firewall.Compile(policies["nothing-but-defaults"], 7, firewall.V4, firewall.Material{}).Restore(before)
	for _, want := range []string{"-D INPUT -j FRESHET-IN-6\n-D INPUT -j FRESHET-IN-6\n-D OUTPUT -j FRESHET-OUT-7\n-I INPUT 1 -j FRESHET-IN-7\n-I OUTPUT 1 -j FRESHET-OUT-7\n", "-F FRESHET-IN-6\n-X FRESHET-IN-6\nCOMMIT\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "-X FRESHET-OUT-7") {
		t.Errorf("it removes what it makes:\n%s", text)
	}
	if !(firewall.Present{}).None() || before.None() {
		t.Error("what is there is not told from nothing")
	}
}
