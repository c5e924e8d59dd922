//go:build system

package systemtest_test

import (
	"slices"
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
ExecStart=/bin/sh -c 'iptables-save >/run/rules-then; ip6tables-save >>/run/rules-then; cat /proc/net/fib_trie >/run/addresses-then'
[Install]
WantedBy=multi-user.target
`

// wallAtBoot has systemd-networkd bring the network up, and the power go.
func (w *packaged) wallAtBoot() {
	_, guest := w.addresses()
	w.write("/etc/systemd/network/10-cable.network", "[Match]\nName=host0\n[Network]\nAddress="+guest+"/30\nIPv6AcceptRA=no\nLinkLocalAddressing=no\n")
	w.write("/etc/systemd/system/witness.service", witness)
	w.run("systemctl", "enable", "witness", "systemd-networkd")
	w.run("systemctl", "mask", "systemd-networkd-wait-online") // the host's end of the cable comes after the boot
	before := w.ours()
	w.reset()
	w.connect()
	w.wallIsUp(before)
	w.inOrder("freshet-firewall.service", "network-pre.target", "witness.service", "systemd-networkd.service", "network.target")
	then := w.run("cat", "/run/rules-then")
	if n := strings.Count(then, "PUT -j FRESHET-"); n != 4 {
		w.t.Errorf("%d of 4 jumps stood when a network could begin:\n%s", n, then)
	}
	if strings.Contains(w.run("cat", "/run/addresses-then"), guest) {
		w.t.Error("the network was there before the witness")
	}
	w.stands("iptables")
	p := w.probe()
	p.ExpectNothingLost(w.t)
	w.othersAreBack()
}

// othersAreBack expects the rules of others after a boot. Tables are listed in
// the order in which these made them this time.
func (w *packaged) othersAreBack() {
	w.t.Helper()
	if lines(emptyTable.ReplaceAllString(w.others, "")) != lines(emptyTable.ReplaceAllString(w.ofOthers(), "")) {
		w.sameOthers()
	}
	w.others = w.ofOthers()
}

// wallCutShort has the power go while one family has the new rules and the other
// the old ones.
func (w *packaged) wallCutShort() {
	const tool = "/usr/local/sbin/ip6tables-nft-restore"
	before := w.ours()
	w.write(tool, `#!/bin/sh
case "$*" in *--test*) ;; *) [ ! -e /run/hang ] || exec sleep 4321 ;; esac
exec /usr/sbin/ip6tables-nft-restore "$@"
`)
	w.run("chmod", "755", tool)
	w.run("touch", "/run/hang") // until the next boot
	w.write("/etc/freshet/freshet.yaml", w.settings+strings.Replace(wallSettings, "in: drop", "in: reject", 1))
	poll(w.t, time.Minute, "the tool of the second family hangs", func() bool {
		return w.command("sh", "-c", "grep -qs 432[1] /proc/[0-9]*/cmdline").Run() == nil
	})
	if n := strings.Count(w.ours(), "REJECT"); n == strings.Count(before, "REJECT") {
		w.t.Errorf("the first family has the rules of before still:\n%s", w.ours())
	}
	w.run("systemctl", "mask", "freshet") // what the boot brings is what stood
	w.reset()
	w.connect()
	poll(w.t, time.Minute, "the unit of boot is through", func() bool {
		return w.command("systemctl", "is-active", "freshet-firewall", "others").Run() == nil
	})
	if now := w.ours(); now != before {
		w.t.Errorf("the rules were\n%s\nand are\n%s", before, now)
	}
	w.othersAreBack()
	w.run("systemctl", "unmask", "freshet")
	w.run("systemctl", "start", "freshet")
	poll(w.t, time.Minute, "both families have the new rules", func() bool { return strings.Count(w.ours(), "REJECT") >= 2 })
	w.stands("iptables")
	w.run("rm", tool)
	w.write("/etc/freshet/freshet.yaml", w.settings+wallSettings)
	poll(w.t, time.Minute, "both have those of before", func() bool { return strings.Count(w.ours(), "REJECT") == strings.Count(before, "REJECT") })
	w.stands("iptables")
	w.sameOthers()
}

// lines are those of text in order.
func lines(text string) string {
	return strings.Join(slices.Sorted(strings.Lines(text)), "")
}

// wallIsUp waits for the rules of before, put there by the unit of boot.
func (w *packaged) wallIsUp(before string) {
	w.t.Helper()
	log := w.run("journalctl", "-b", "-u", "freshet-firewall", "--no-pager", "-o", "cat")
	if got := strings.Fields(w.run("systemctl", "show", "-p", "Result,ActiveState", "--value", "freshet-firewall")); !slices.Contains(got, "active") || !slices.Contains(got, "success") {
		w.t.Errorf("the unit of boot: %s\n%s", got, log)
	}
	w.t.Log(log)
	poll(w.t, time.Minute, "the agent serves", func() bool { return w.status().Agent })
	if now := w.ours(); now != before {
		w.t.Errorf("the rules were\n%s\nand are\n%s", before, now)
	}
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

// wallGoesBack leaves a version that brought iptables, by hand.
func (w *packaged) wallGoesBack() {
	w.wallOffered("1.40.0", "nftables")
	p := w.probe()
	began := time.Now()
	w.t.Log(w.run("freshet", "modules", "rollback", "agent"))
	w.stands("iptables")
	w.t.Logf("rules by iptables %s after the rollback began", time.Since(began).Round(10*time.Millisecond))
	p.ExpectNothingLost(w.t)
	w.sameOthers()
}

func (w *packaged) wallRemoved() {
	w.run("apt-get", "remove", "-y", "-qq", "freshet")
	if out := w.run("sh", "-c", "{ iptables-save; ip6tables-save; iptables-legacy-save; nft list ruleset; ipset list -n; } 2>/dev/null | grep -i freshet | grep -v -e --comment -e comment || true"); out != "" {
		w.t.Errorf("left over: %s", out)
	}
	w.sameOthers()
	w.run("apt-get", "purge", "-y", "-qq", "freshet")
	w.sameOthers()
}
