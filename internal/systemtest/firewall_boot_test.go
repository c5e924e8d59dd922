//go:build system

package systemtest_test

import (
	"strconv"
	"strings"
	"time"
)

// witness is a unit that looks at the rules when a network may begin.
const witness = `[Unit]
DefaultDependencies=no
After=network-pre.target
Before=systemd-networkd.service network.target
Wants=network-pre.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'iptables-save >/run/rules-then; ip6tables-save >>/run/rules-then; grep -c : /proc/net/dev >/run/devices-then; cat /proc/net/fib_trie >/run/addresses-then'
[Install]
WantedBy=multi-user.target
`

func (w *packaged) wallAtBoot() {
	if got := w.run("freshet", "service", "install"); !strings.Contains(got, "/systemd/system/freshet.service") {
		w.t.Errorf("service install: %s", got)
	}
	_, guest := w.addresses()
	w.write("/etc/systemd/network/10-cable.network", "[Match]\nName=host0\n[Network]\nAddress="+guest+"/30\nIPv6AcceptRA=no\nLinkLocalAddressing=no\n")
	w.write("/etc/systemd/system/witness.service", witness)
	w.write("/etc/systemd/system/online.service", "[Unit]\nWants=network-online.target\nAfter=network-online.target\n[Service]\nType=oneshot\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n")
	w.run("systemctl", "enable", "witness", "online", "systemd-networkd")
	before := w.ours()
	w.reset()
	w.connect()
	w.wallIsUp(before)
	w.inOrder("freshet-firewall.service", "network-pre.target", "witness.service", "systemd-networkd.service", "network.target", "network-online.target")
	then := w.run("cat", "/run/rules-then")
	if n := strings.Count(then, "PUT -j FRESHET-"); n != 4 {
		w.t.Errorf("%d of 4 jumps stood when a network could begin:\n%s", n, then)
	}
	if _, guest := w.addresses(); strings.Contains(w.run("cat", "/run/addresses-then"), guest) {
		w.t.Error("the network was there before the witness")
	}
	w.says("iptables", "of agent 1.30.0)")
	p := w.probe()
	poll(w.t, 10*time.Second, "packets are sent", p.enough)
	p.expectNothingLost()
	w.sameOthers()
}

// wallIsUp waits for the rules of before, put there by the unit of boot.
func (w *packaged) wallIsUp(before string) {
	w.t.Helper()
	if got := w.run("systemctl", "show", "-p", "Result,ActiveState", "--value", "freshet-firewall"); got != "active\nsuccess" && got != "success\nactive" {
		w.t.Errorf("the unit of boot: %s\n%s", got, w.run("journalctl", "-u", "freshet-firewall", "--no-pager"))
	}
	w.t.Log(lastLine(w.run("journalctl", "-u", "freshet-firewall", "--no-pager", "-o", "cat")))
	poll(w.t, time.Minute, "the agent serves", func() bool { return w.status().Agent })
	poll(w.t, 10*time.Second, "the rules of before are there", func() bool { return w.ours() == before })
}

// inOrder expects that units became active in an order.
func (w *packaged) inOrder(units ...string) {
	w.t.Helper()
	last := 0.0
	for _, u := range units {
		text := w.run("systemctl", "show", "-p", "ActiveEnterTimestampMonotonic", "--value", u)
		at, err := strconv.ParseFloat(text, 64)
		if err != nil || at == 0 || at < last {
			w.t.Errorf("%s became active at %q µs, after what comes before it at %.0f", u, text, last)
		}
		w.t.Logf("%9.0f µs: %s", at, u)
		last = at
	}
}

// wallCutShort has the power go while one family has the new rules and the other
// the old ones.
func (w *packaged) wallCutShort() {
	before := w.ours()
	// Both programs of a variant are looked for by name.
	w.tool("ip6tables-nft-restore", "[ ! -e /run/hang ] || { touch /run/hangs; exec sleep 1000; }")
	w.run("touch", "/run/hang")
	w.write("/etc/freshet/freshet.yaml", w.settings+strings.Replace(wallSettings, "in: drop", "in: reject", 1))
	poll(w.t, time.Minute, "the second family's tool hangs", func() bool {
		_, err := w.command("test", "-e", "/run/hangs").CombinedOutput()
		return err == nil
	})
	if w.ours() == before {
		w.t.Error("the first family has the rules of before still")
	}
	// The settings of before: what the boot brings is what stood, not what they say.
	w.run("systemctl", "mask", "freshet")
	w.reset()
	w.connect()
	if now := w.ours(); now != before {
		w.t.Errorf("they were\n%s\nand are\n%s", before, now)
	}
	w.t.Log(lastLine(w.run("journalctl", "-u", "freshet-firewall", "--no-pager", "-o", "cat")))
	w.run("systemctl", "unmask", "freshet")
	w.write("/etc/freshet/freshet.yaml", w.settings+wallSettings)
	w.run("systemctl", "start", "freshet")
	w.wallIsUp(before)
	w.run("rm", "/usr/local/sbin/ip6tables-nft-restore")
	w.sameOthers()
}
