//go:build system

package firewall_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/freshet/freshet/firewall"
)

// foreign are rule sets in the manner of others, for either variant (IPT, IPT6).
var foreign = map[string]string{
	"docker": `
IPT -t nat -N DOCKER; IPT -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
IPT -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
IPT -t nat -A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
IPT -N DOCKER; IPT -N DOCKER-USER; IPT -N DOCKER-ISOLATION-STAGE-1
IPT -P FORWARD DROP
IPT -A FORWARD -j DOCKER-USER; IPT -A FORWARD -j DOCKER-ISOLATION-STAGE-1
IPT -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
IPT -A FORWARD -o docker0 -j DOCKER; IPT -A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
IPT -A DOCKER-ISOLATION-STAGE-1 -j RETURN; IPT -A DOCKER-USER -j RETURN`,
	"ufw": `
for c in input output forward; do for p in before after reject track; do IPT -N ufw-$p-$c; IPT6 -N ufw6-$p-$c; done; done
IPT -P INPUT DROP; IPT -P FORWARD DROP; IPT6 -P INPUT DROP
IPT -A INPUT -j ufw-before-input; IPT -A INPUT -j ufw-after-input; IPT -A OUTPUT -j ufw-before-output
IPT6 -A INPUT -j ufw6-before-input; IPT6 -A OUTPUT -j ufw6-before-output
IPT -A ufw-before-input -i lo -j ACCEPT; IPT -A ufw-before-input -m conntrack --ctstate INVALID -j DROP
IPT -A ufw-before-input -p udp --sport 67 --dport 68 -j ACCEPT
IPT -A ufw-after-input -p udp -m udp --dport 137 -j RETURN
IPT -A ufw-before-input -m limit --limit 3/min --limit-burst 10 -j LOG --log-prefix "[UFW BLOCK] "
IPT6 -A ufw6-before-input -p ipv6-icmp -m icmp6 --icmpv6-type 135 -m hl --hl-eq 255 -j ACCEPT`,
	"firewalld": `
nft add table inet firewalld; nft add chain inet firewalld filter_INPUT '{ type filter hook input priority filter + 10; policy accept; }'
nft add rule inet firewalld filter_INPUT ct state established,related accept
nft add rule inet firewalld filter_INPUT iifname lo accept
nft add rule inet firewalld filter_INPUT reject with icmpx admin-prohibited
IPT -t mangle -A PREROUTING -m conntrack --ctstate INVALID -j DROP; IPT -t raw -A PREROUTING -p tcp --dport 21 -j NOTRACK`,
	"by-hand": `
IPT -A INPUT -s 192.0.2.0/24 -m comment --comment 'it'"'"'s "mine", -j FRESHET-IN-7' -j DROP
IPT -A INPUT -p tcp --dport 7 -m comment --comment '" -j FRESHET-IN-6' -j DROP
IPT -A OUTPUT -p tcp --dport 6667 -j REJECT; IPT -A INPUT -p tcp -m multiport --dports 1,2,3 -j ACCEPT
ipset create mine hash:ip; ipset add mine 192.0.2.9; IPT -A INPUT -m set --match-set mine src -j DROP
IPT -N FRESH; IPT -A INPUT -j FRESH; nft add table ip mine; nft add set ip mine s '{ type ipv4_addr; }'`,
}

var counters = regexp.MustCompile(`\[\d+:\d+\]`)

// others are the rules that are not Freshet's, byte for byte, without counters
// and times.
func (e *endpoint) others() string {
	var all []string
	out := e.sh(`{ for v in nft legacy; do echo "= $v"; iptables-$v-save; ip6tables-$v-save; done; for t in 'inet firewalld' 'ip mine'; do nft list table $t || true; done; ipset save; } 2>/dev/null`)
	for l := range strings.Lines(out) {
		// The chains that are built in stand in every listing of a table.
		if strings.Contains(l, "--comment") && strings.Contains(l, `\"`) {
			all = append(all, l) // of others, whatever it says
			continue
		}
		if !strings.HasPrefix(l, "#") && !strings.Contains(l, ":FRESHET-") && !strings.HasPrefix(l, "-A FRESHET-") && !strings.Contains(l, "PUT -j FRESHET-") && !strings.Contains(l, " FRESHET-") {
			all = append(all, counters.ReplaceAllString(l, ""))
		}
	}
	return strings.Join(all, "")
}

func TestRulesOfOthersAreTheSameBeforeAndAfterEverything(t *testing.T) {
	for name, script := range foreign {
		for _, v := range variants {
			t.Run(name+" "+v, func(t *testing.T) {
				t.Parallel()
				checkForeign(t, v, script)
			})
		}
	}
}

func checkForeign(t *testing.T, variant, script string) {
	e := newParallelWorld(t).endpoint(variant)
	e.sh(strings.NewReplacer("IPT6", "ip6tables-"+variant, "IPT", "iptables-"+variant).Replace(script))
	// A first run has the kernel make the tables of the other variant, and
	// empty ones, as any listing does.
	before := e.others()
	same := func(what string) {
		t.Helper()
		if now := e.others(); !sameRules(before, now) {
			t.Fatalf("after %s the rules of others were\n%s\nand are\n%s", what, before, now)
		}
	}
	want := wanted(matrix)
	want.Lists = map[string]firewall.ListFile{"attackers": e.list("attackers", "203.0.113.0/24\n")}
	if out := e.mustApply(want); name(out.Host.Backend) != variant && !strings.Contains(script, "nft add table inet firewalld") {
		t.Errorf("%s is used: %s", out.Host.Backend, out.Host.Why)
	}
	same("apply")
	other := want
	other.Policy.Rules = other.Policy.Rules[1:]
	e.mustApply(other)
	same("another apply")
	want.Mechanism = firewall.ByNFTables
	e.mustApply(want)
	same("a switch to nftables")
	want.Mechanism = firewall.ByIPTables
	e.mustApply(want)
	same("a switch back")
	broken := e.tools(variant)
	e.fw.Path = []string{e.badTool(broken, "ip6tables-"+variant+"-restore", "exit 3"), broken}
	if _, err := e.apply(other, firewall.Options{}); err == nil {
		t.Error("a family that fails is no error")
	}
	e.fw.Path = []string{broken}
	e.keep(want)
	same("a change that failed")
	e.in("", func() {
		if err := e.fw.Off(t.Context()); err != nil {
			t.Error(err)
		}
	})
	same("off")
	if holders := e.holders(); len(holders) > 0 && !strings.Contains(script, "mine") {
		t.Errorf("left over in %v", holders)
	}
}

func name(b firewall.Backend) string { return strings.TrimPrefix(string(b), "iptables-") }

// sameRules holds two listings against each other; a table that is there with
// its built-in chains alone, and was not there before, is no rule.
func sameRules(a, b string) bool { return rulesIn(a) == rulesIn(b) }

var emptyTable = regexp.MustCompile(`\*[a-z]+\n(:[A-Z]+ ACCEPT ?\n)*COMMIT\n`)

func rulesIn(s string) string { return emptyTable.ReplaceAllString(s, "") }
