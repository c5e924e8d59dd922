//go:build system

package systemtest_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/api"
)

// TestFirewallOfAMachine has the firewall of a booted Debian, which others use
// too, live through updates of the agent, good and bad.
func TestFirewallOfAMachine(t *testing.T) {
	needsRoot(t)
	needsProgram(t, "systemd-nspawn", "systemd-container")
	p := newPublisher(t, released)
	p.release("list", records(1, 1000))
	p.release("attackers", addresses(5000))
	m := bootCopy(t, debianWith(t, "firewall", "iptables", "nftables", "ipset"), "--network-veth")
	near := newMirror(t, p, m.connect())
	w := &packaged{machine: m, p: p, mirror: near, url: near.url, deb: deb(t, release(t, "v1.0.0")), unnamed: agentOf(t, unnamed, "")}
	for _, step := range []struct {
		name string
		do   func(*packaged)
	}{
		{"rules stand that keep out what others let in", (*packaged).wallBegins},
		{"an update of the agent brings nftables, and the next one iptables", (*packaged).wallSwitches},
		{"a version that deletes the rules is taken back, and they are there", (*packaged).wallDeleted},
		{"one that lets everything through is taken back", (*packaged).wallWrong},
		{"one that deletes them again and again is taken back, also where they are repaired", (*packaged).wallFought},
		{"at boot they stand before there is a network", (*packaged).wallAtBoot},
		{"after a boot in the middle of a change both families have the rules of before", (*packaged).wallCutShort},
		{"a rollback of the agent brings its mechanism back", (*packaged).wallGoesBack},
		{"the package's removal takes them away, and nothing of others", (*packaged).wallRemoved},
	} {
		ok := t.Run(step.name, func(t *testing.T) {
			m.t, p.t = t, t
			began := time.Now()
			step.do(w)
			t.Logf("%s", time.Since(began).Round(100*time.Millisecond))
		})
		if !ok {
			t.Fatalf("the steps after this one need it\n%s", m.journal())
		}
	}
}

func addresses(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "198.18.%d.%d\n", i/250, i%250+1)
	}
	return b.String()
}

// others are rule sets in the manner of Docker, ufw, firewalld and by hand. They
// let in what Freshet is to keep out.
const others = `#!/bin/sh -e
iptables -t nat -N DOCKER; iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
iptables -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
iptables -t nat -A DOCKER ! -i docker0 -p tcp -m tcp --dport 8081 -j DNAT --to-destination 172.17.0.2:80
iptables -N DOCKER; iptables -N DOCKER-USER; iptables -P FORWARD DROP
iptables -A FORWARD -j DOCKER-USER; iptables -A FORWARD -o docker0 -j DOCKER; iptables -A DOCKER-USER -j RETURN
iptables -A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
for t in iptables ip6tables; do
	for c in ufw-before-input ufw-after-input ufw-before-output; do $t -N $c; done
	$t -A INPUT -j ufw-before-input; $t -A INPUT -j ufw-after-input; $t -A OUTPUT -j ufw-before-output
	$t -A ufw-before-input -i lo -j ACCEPT
	$t -A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
	$t -A ufw-before-input -p tcp -m tcp --dport 8080 -j ACCEPT
	$t -A ufw-before-input -p udp -m udp --dport 9999 -j ACCEPT
	$t -A ufw-after-input -m limit --limit 3/min --limit-burst 10 -j LOG --log-prefix "[UFW BLOCK] "
	$t -P INPUT DROP
done
ip6tables -A ufw-before-input -p ipv6-icmp -j ACCEPT
iptables -t mangle -A PREROUTING -p tcp -m tcp --dport 7 -j DROP
iptables -A INPUT -p tcp --dport 7 -m comment --comment '" -j FRESHET-IN-6' -j DROP
ipset create mine hash:ip; ipset add mine 192.0.2.9; iptables -A INPUT -m set --match-set mine src -j DROP
nft add table inet firewalld
nft add chain inet firewalld filter_INPUT '{ type filter hook input priority filter + 10; policy accept; }'
nft add rule inet firewalld filter_INPUT ct state established,related accept
nft add rule inet firewalld filter_INPUT iifname lo accept
nft add rule inet firewalld filter_INPUT tcp dport 8080 accept
nft add rule inet firewalld filter_INPUT udp dport 9999 accept
nft add rule inet firewalld filter_INPUT meta nfproto ipv4 reject with icmpx admin-prohibited
`

const othersUnit = `[Unit]
After=network.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/others
[Install]
WantedBy=multi-user.target
`

const wallSettings = `firewall:
  enabled: true
  in: drop
  check_every: 10s
  rules:
    - {name: web, direction: in, action: pass, protocol: tcp, ports: [8080]}
    - {name: ping, direction: in, action: pass, protocol: icmp, icmp: [echo-request]}
  lists: [{base: attackers, direction: both, log: true}]
`

func (w *packaged) wallBegins() {
	w.write("/usr/local/sbin/others", others)
	w.run("chmod", "755", "/usr/local/sbin/others")
	w.write("/etc/systemd/system/others.service", othersUnit)
	w.run("systemctl", "enable", "--now", "others")
	w.others = w.ofOthers()
	w.apt(w.deb)
	w.runs()
	w.quickTrials()
	w.copyIn(w.p.repo()+"/metadata/1.root.json", "/root/root.json")
	w.run("freshet", "enroll", w.url, "--root", "/root/root.json")
	w.run("systemctl", "restart", "freshet")
	poll(w.t, time.Minute, "both bases are installed", func() bool { return len(w.status().Bases) == 2 })
	w.confirms("v1.0.0")
	w.ask = support
	w.settings = w.read("/etc/freshet/freshet.yaml") + "support: " + support + "\n"
	if out := w.run("freshet", "firewall", "mechanism"); !strings.HasPrefix(out, "iptables") || !strings.Contains(out, "names none") {
		w.t.Errorf("of a fresh install: %s", out)
	}
	before := w.probe()
	poll(w.t, 10*time.Second, "others let in what is to be forbidden", func() bool { return before.Through() > 0 })
	w.shutsNobodyOut()
	before.End()
	w.run("freshet", "firewall", "apply")
	w.stands("iptables")
	w.sameOthers()
	p := w.probe()
	p.ExpectNothingLost(w.t)
}

// shutsNobodyOut expects that the rules are not put in force while somebody
// listens where sshd does and the rules let nobody get there.
func (w *packaged) shutsNobodyOut() {
	w.run("systemd-run", "--unit=door", "systemd-socket-activate", "--listen=22", "/bin/cat")
	poll(w.t, 10*time.Second, "the door is there", func() bool {
		return w.command("sh", "-c", "grep -qs ':0016 0*:0000 0A' /proc/net/tcp6").Run() == nil
	})
	w.write("/etc/freshet/freshet.yaml", w.settings+wallSettings)
	poll(w.t, time.Minute, "the rules are refused", func() bool {
		return strings.Contains(w.says("events"), "it would cut off everybody who would log in at port 22, where sshd listens")
	})
	if out := w.run("sh", "-c", "{ iptables-save | grep ^:FRESHET; nft list tables | grep freshet; } || true"); out != "" {
		w.t.Errorf("rules are there: %s", out)
	}
	w.run("systemctl", "stop", "door")
}

func (w *packaged) wallSwitches() {
	w.wallOffered("1.10.0", "nftables")
	w.saysMechanism("nftables", "(generation ", "of agent 1.10.0)")
	w.wallOffered("1.30.0", "iptables")
	w.saysMechanism("iptables (iptables-nft: rules of others stand in it)", "(generation ", "of agent 1.30.0)")
}

// wallOffered has the host update to a version that brings a mechanism, under
// probes until that is in force.
func (w *packaged) wallOffered(version, mechanism string) {
	w.t.Helper()
	w.mechanism = mechanism
	w.publishes(version, w.built(version))
	p := w.probe()
	w.t.Log(w.run("freshet", "update"))
	began := time.Now()
	w.stands(mechanism)
	w.t.Logf("rules by %s %s after the update", mechanism, time.Since(began).Round(10*time.Millisecond))
	p.ExpectNothingLost(w.t)
	w.sameOthers()
	w.confirms("v" + version)
	w.good = version
	w.stands(mechanism)
}

// saysMechanism expects what the operator is told of the mechanism.
func (w *packaged) saysMechanism(begins string, has ...string) {
	w.t.Helper()
	out := w.run("freshet", "firewall", "mechanism")
	w.t.Logf("freshet firewall mechanism: %s", strings.ReplaceAll(out, "\n", " | "))
	if !strings.HasPrefix(out, begins) || slices.ContainsFunc(has, func(h string) bool { return !strings.Contains(out, h) }) {
		w.t.Errorf("it says %s", out)
	}
}

// stands waits until rules stand by a mechanism, in one place alone, as they
// should.
func (w *packaged) stands(mechanism string) {
	w.t.Helper()
	var f api.Firewall
	poll(w.t, time.Minute, "rules by "+mechanism, func() bool {
		f = api.Firewall{}
		waitFor(w.t, 100*time.Millisecond) // to look takes some calls of tools
		return w.freshet(&f, "firewall", "show") == 0 && f.InForce == mechanism && f.Mechanism == mechanism && len(f.Diff) == 0 && f.Error == ""
	})
	// At a change those of before go after the new ones stand, family by family.
	poll(w.t, 10*time.Second, "rules by "+mechanism+" alone", func() bool { return slices.Equal(w.standing(), []string{mechanism}) })
}

// standing are the mechanisms by which rules of Freshet stand in the kernel.
func (w *packaged) standing() (mechanisms []string) {
	w.t.Helper()
	xt := w.run("sh", "-c", "iptables-save; ip6tables-save")
	if strings.Contains(xt, "-j FRESHET-IN-") && strings.Contains(xt, "-A FRESHET-IN-") {
		mechanisms = append(mechanisms, "iptables")
	}
	if strings.Contains(w.run("nft", "list", "tables"), "inet freshet") {
		mechanisms = append(mechanisms, "nftables")
	}
	return mechanisms
}

// ours are Freshet's rules in iptables, word by word.
func (w *packaged) ours() string {
	w.t.Helper()
	return w.run("sh", "-c", "{ iptables-save; ip6tables-save; } | grep FRESHET | grep -v ^: | grep -v -e '--comment \"\\\\'; ipset list -t | awk '/^Name:/ { n = $2 } /entries/ && n ~ /FRESHET/ { print n, $0 }' | sort")
}

var changing = regexp.MustCompile(`(?m)^#.*\n|\[\d+:\d+\]| initval 0x[0-9a-f]+`)

// ofOthers are the rules that are not Freshet's, byte for byte, without counters
// times and seeds of hashes.
func (w *packaged) ofOthers() string {
	w.t.Helper()
	out := w.run("sh", "-c", `
for v in nft legacy; do for f in iptables ip6tables; do
	echo "= $f-$v"; $f-$v-save | grep -v -e '^:FRESHET-' -e '^-A FRESHET-' -e '^-A [A-Z]*PUT -j FRESHET-'
done; done 2>/dev/null
nft list table inet firewalld
ipset save | grep -v FRESHET-`)
	return changing.ReplaceAllString(out, "")
}

var emptyTable = regexp.MustCompile(`\*[a-z]+\n(:[A-Z]+ ACCEPT ?\n)*COMMIT\n`)

func (w *packaged) sameOthers() {
	w.t.Helper()
	before, now := emptyTable.ReplaceAllString(w.others, ""), emptyTable.ReplaceAllString(w.ofOthers(), "")
	if before != now {
		w.t.Errorf("the rules of others were\n%s\nand are\n%s", before, now)
	}
}

// wallRuined has a version of the agent taken back that does something to the
// rules, and expects those of before.
func (w *packaged) wallRuined(version, text string) {
	w.t.Helper()
	before := w.ours()
	w.offers(version, w.then(text))
	w.takenBack(version, "firewall")
	told := time.Now()
	poll(w.t, 10*time.Second, "the rules of before are there", func() bool { return w.ours() == before })
	w.t.Logf("%s later the rules of before are there", time.Since(told).Round(10*time.Millisecond))
	w.stands("iptables")
	w.sameOthers()
	p := w.probe()
	p.ExpectNothingLost(w.t)
}

func (w *packaged) wallDeleted() {
	w.wallRuined("1.30.1", "for t in iptables ip6tables; do $t-save -t filter | grep -v -e '^:FRESHET-' -e '^-A FRESHET-' -e '^-A [A-Z]*PUT -j FRESHET-' | $t-restore; done")
}

func (w *packaged) wallWrong() {
	w.wallRuined("1.30.2", "iptables-save -t filter | sed '/^-A FRESHET/s/-j DROP/-j RETURN/' | iptables-restore")
}

func (w *packaged) wallFought() {
	w.write("/etc/freshet/freshet.yaml", w.settings+wallSettings+"  drift: repair\n")
	poll(w.t, 10*time.Second, "the edit is in force", func() bool {
		return strings.Contains(w.run("freshet", "settings", "show"), "repair")
	})
	w.wallRuined("1.30.3", "(while :; do iptables -D INPUT -j $(iptables -S INPUT | sed -n 's/^-A INPUT -j \\(FRESHET-[A-Z0-9-]*\\)$/\\1/p'); sleep 0.5; done) 2>/dev/null &")
}
