//go:build system

package firewall_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/firewall"
	"github.com/freshet/freshet/internal/clock"
	"github.com/freshet/freshet/internal/event"
)

func (e *endpoint) told(code event.Code) int {
	n := 0
	for _, c := range e.events {
		if c == code {
			n++
		}
	}
	return n
}

func TestWhatOthersDoToTheRulesIsSeenAndSetRightWithoutAFight(t *testing.T) {
	for _, v := range variants {
		t.Run(v, func(t *testing.T) {
			e := newWorld(t).endpoint(v)
			now := time.Now()
			e.fw.Clock = &clock.Clock{Wall: func() time.Time { return now }}
			want := wanted(matrix)
			want.Lists = map[string]firewall.ListFile{"attackers": e.list("attackers", "203.0.113.0/24\n")}
			e.mustApply(want)
			spoil := func() {
				e.sh("iptables-" + v + " -I $(iptables-" + v + " -S | sed -n 's/^-N \\(FRESHET-IN-.*\\)/\\1/p') 1 -s 192.0.2.66 -j ACCEPT")
			}
			spoil()
			e.keep(want)
			e.keep(want)
			if e.told(event.FirewallDrift) != 1 {
				t.Errorf("told %d times", e.told(event.FirewallDrift))
			}
			if s := e.look(); len(s.Diff) != 1 || !strings.Contains(s.Diff[0], "+ -s 192.0.2.66/32 -j ACCEPT") {
				t.Errorf("the difference is %q", s.Diff)
			}
			if d, ok := e.state().Drifted(); !ok || d.Missing || len(d.Lines) != 1 || d.More != 0 || d.Since.IsZero() {
				t.Errorf("what was added is kept as %+v, %v", d, ok)
			}
			e.sh("iptables-" + v + " -F; ip6tables-" + v + " -F")
			e.keep(want)
			if d, ok := e.state().Drifted(); !ok || !d.Missing || len(d.Lines) != 5 || d.More == 0 {
				t.Errorf("rules that were flushed are kept as %+v, %v", d, ok)
			}
			want.Repair = true
			for range 10 {
				e.keep(want)
				if len(e.look().Diff) == 0 {
					spoil()
				}
				now = now.Add(9 * time.Minute)
				if e.told(event.FirewallFight) > 0 {
					break
				}
				if e.told(event.FirewallRepaired) == 5 {
					now = now.Add(-8 * time.Minute)
				}
			}
			if d, ok := e.state().Drifted(); !ok || !d.GaveUp {
				t.Errorf("a fight is kept as %+v, %v", d, ok)
			}
			if e.told(event.FirewallRepaired) > 6 || e.told(event.FirewallRepaired) < 3 {
				t.Errorf("set right %d times", e.told(event.FirewallRepaired))
			}
			now = now.Add(2 * time.Hour)
			e.keep(want)
			e.check()
			if d, ok := e.state().Drifted(); ok || d.Missing || len(d.Lines) > 0 {
				t.Errorf("set right, it is kept as %+v", d)
			}
			for _, c := range []string{"iptables-" + v + " -D INPUT 1", "ip6tables-" + v + " -F", "ipset flush"} {
				e.sh(c)
				now = now.Add(20 * time.Minute)
				e.keep(want)
				e.check()
			}
		})
	}
}

func TestAnAddressThatOthersPutInPlaceOfAnotherIsSeen(t *testing.T) {
	for _, row := range []struct {
		by    firewall.Mechanism
		spoil string
	}{
		{firewall.ByIPTables, "s=$(ipset list -n | grep '^FRESHET.*-4$'); ipset del $s 203.0.113.0/24; ipset add $s 198.51.100.0/24"},
		{firewall.ByNFTables, "s=$(nft list table inet freshet | sed -n 's/.*set \\(FRESHET.*-4\\) {/\\1/p'); nft delete element inet freshet $s '{ 203.0.113.0/24 }'; nft add element inet freshet $s '{ 198.51.100.0/24 }'"},
	} {
		t.Run(string(row.by), func(t *testing.T) {
			e := newWorld(t).endpoint("nft")
			want := wanted(matrix)
			want.Mechanism, want.Repair = row.by, true
			want.Lists = map[string]firewall.ListFile{"attackers": e.list("attackers", "203.0.113.0/24\n192.0.2.7\n2001:db8:66::/48\n")}
			e.mustApply(want)
			e.check()
			e.sh(row.spoil)
			diff := e.look().Diff
			if len(diff) != 1 || !strings.Contains(diff[0], "1 missing: 203.0.113.0") || !strings.Contains(diff[0], "1 too much: 198.51.100.0") {
				t.Errorf("the difference is %q", diff)
			}
			e.keep(want)
			e.check()
			if e.told(event.FirewallDrift) != 1 || e.told(event.FirewallRepaired) != 1 {
				t.Errorf("told %d times, set right %d times", e.told(event.FirewallDrift), e.told(event.FirewallRepaired))
			}
		})
	}
}

func TestWhatAVersionDidThatWasTakenBackIsUndoneOnce(t *testing.T) {
	e := newWorld(t).endpoint("nft")
	want := wanted(matrix)
	want.Policy.Lists = nil
	e.mustApply(want)
	spoil := func() { e.sh("iptables-nft -D INPUT 1; ip6tables-nft -D OUTPUT 1") }
	spoil()
	e.keep(want)
	if n := len(e.look().Diff); n != 2 || e.told(event.FirewallDrift) != 1 {
		t.Fatalf("%d differences, told %d times", n, e.told(event.FirewallDrift))
	}
	want.Undo = time.Now()
	e.keep(want)
	e.check()
	if e.told(event.FirewallRepaired) != 1 {
		t.Errorf("the repair is told %d times", e.told(event.FirewallRepaired))
	}
	spoil()
	e.keep(want)
	if n := len(e.look().Diff); n != 2 || e.told(event.FirewallDrift) != 2 {
		t.Errorf("what others did after it: %d differences, told %d times", n, e.told(event.FirewallDrift))
	}
}

func TestALockOutAndABadListChangeNothing(t *testing.T) {
	e := newWorld(t).endpoint("nft")
	want := wanted(matrix)
	want.Lists = map[string]firewall.ListFile{"attackers": e.list("attackers", "203.0.113.0/24\n10.77.0.0/24\n")}
	var session firewall.Lifeline
	e.in("", func() { session, _ = firewall.Session("10.77.0.2 50000 10.77.0.1 22") }) // where its interface is
	want.Lifelines = nil
	e.mustApply(want)
	e.listen("", "tcp4", "10.77.0.1:22")
	if e.reaches("p", "tcp4", "10.77.0.2", "10.77.0.1:22") {
		t.Error("the list does not block")
	}
	want.Lifelines = lifeline(session)
	want.Policy.NeverBlock = nets("192.0.2.9")
	out := e.mustApply(want)
	if !e.reaches("p", "tcp4", "10.77.0.2", "10.77.0.1:22") || len(out.Notes) != 1 || e.told(event.FirewallListChanged) != 1 {
		t.Errorf("the session is cut off by a list: %v", out.Notes)
	}
	before := e.picture()
	bad := want
	bad.Policy.Rules = bad.Policy.Rules[2:]
	var cut *firewall.LockOut
	if _, err := e.apply(bad, firewall.Options{}); !errors.As(err, &cut) {
		t.Errorf("it is applied: %v", err)
	}
	if now := e.picture(); now["iptables-nft IPv4"] != before["iptables-nft IPv4"] {
		t.Error("it changed something")
	}
	bad = want
	bad.Lists = map[string]firewall.ListFile{"attackers": {Version: 2, Dir: e.list("attackers", "203.0.113.0/24\n0.0.0.0/0\n").Dir}}
	out = e.mustApply(bad)
	if e.told(event.FirewallListRefused) != 0 || out.Addresses != 1 || len(out.Notes) != 1 || !strings.Contains(out.Notes[0].Text, "line 2: \"0.0.0.0/0\": too wide") {
		t.Errorf("a line that blocks everything: %+v", out)
	}
	bad.Lists = map[string]firewall.ListFile{"attackers": {Version: 3, Dir: e.list("attackers", "0.0.0.0/0\n").Dir}}
	out = e.mustApply(bad)
	if e.told(event.FirewallListRefused) != 1 || out.Addresses != 1 {
		t.Errorf("a list that blocks everything: %+v", out)
	}
	e.check()
	if !slices.Contains(e.events, event.FirewallRefused) {
		t.Error("the lock-out is not told")
	}
}
