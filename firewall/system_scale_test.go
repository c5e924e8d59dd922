//go:build system

package firewall_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/freshet/freshet/firewall"
)

// plainCalls is how many calls of iptables are timed for comparison.
const plainCalls = 100

// plain gives the time that one call of iptables takes that appends a rule to
// a chain of its own, the mean of plainCalls. The chain is as good as empty: in
// a long one each call takes longer, so that what is reckoned from it is in
// favour of plain calls.
func (e *endpoint) plain() time.Duration {
	script := fmt.Sprintf("iptables-%[1]s -N PLAIN; i=0; while [ $i -lt %[2]d ]; do iptables-%[1]s -w 5 -A PLAIN -s 198.18.0.$i -j DROP; i=$((i+1)); done; iptables-%[1]s -F PLAIN; iptables-%[1]s -X PLAIN", filepath.Base(e.fw.Path[0])[len("tools-"):], plainCalls)
	began := time.Now()
	e.sh(script)
	return time.Since(began) / plainCalls
}

func TestTenThousandRulesAndThreeHundredThousandAddresses(t *testing.T) {
	for _, v := range variants {
		t.Run(v, func(t *testing.T) {
			e := newWorld(t).endpoint(v)
			each := e.plain()
			rules := firewall.Policy{In: firewall.Pass, Out: firewall.Pass}
			for i := range 10000 {
				a := netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 16 + byte(i>>12), byte(i >> 4), byte(i<<4) + 1}), 32)
				rules.Rules = append(rules.Rules, firewall.Rule{
					Name: fmt.Sprintf("r%d", i), Direction: firewall.In, Action: firewall.Drop, From: []netip.Prefix{a},
					Protocol: firewall.TCP, Ports: ports("22"),
				})
			}
			if err := rules.Check(); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			e.mustApply(wanted(rules))
			e.tell("10,000 packet rules", time.Since(began), 10000*each)
			var text strings.Builder
			for i := range 300000 {
				fmt.Fprintf(&text, "%d.%d.%d.%d\n", 20+i/65536, i/256%256, i%256, 1+i%250)
			}
			list := wanted(firewall.Policy{In: firewall.Pass, Out: firewall.Pass, Lists: []firewall.List{{Base: "attackers", Direction: "in"}}})
			list.Lists = map[string]firewall.ListFile{"attackers": e.list("attackers", text.String()+"10.77.0.3\n")}
			e.listen("", "tcp4", "10.77.0.1:80")
			began = time.Now()
			e.mustApply(list)
			e.tell("300,000 addresses", time.Since(began), 300000*each)
			if e.reaches("p", "tcp4", "10.77.0.3", "10.77.0.1:80") || !e.reaches("p", "tcp4", "10.77.0.2", "10.77.0.1:80") {
				t.Error("the list blocks what it should not, or does not what it should")
			}
			e.tellLooks("300,000 addresses")
			e.sh("s=$(ipset list -n | grep '^FRESHET.*-4$'); ipset del $s 20.0.0.1; ipset add $s 198.51.100.1")
			if d := e.look().Diff; len(d) != 1 || !strings.Contains(d[0], "1 missing: 20.0.0.1/32; 1 too much: 198.51.100.1/32") {
				t.Errorf("the difference is %q", d)
			}
			e.mustApply(list)
			e.check()
			if st, err := os.Stat(filepath.Join(e.fw.Dir, "lists")); err != nil || !st.IsDir() {
				t.Error(err)
			}
		})
	}
}

// tellLooks logs what a look for drift costs, with the content of sets and
// without.
func (e *endpoint) tellLooks(what string) {
	for _, fresh := range []bool{true, false} {
		var s firewall.Shown
		var err error
		before, began := usedCPU(), time.Now()
		e.in("", func() { s, err = e.fw.Look(context.Background(), false, fresh) })
		if err != nil || len(s.Diff) > 0 {
			e.t.Fatalf("%q, %v", s.Diff, err)
		}
		e.t.Logf("%s: a look for drift, their content anew %v: %s, %s of a processor", what, fresh, time.Since(began).Round(time.Millisecond), (usedCPU() - before).Round(time.Millisecond))
	}
}

// usedCPU is the processor time of this process and of the tools that it ran.
func usedCPU() time.Duration {
	var all time.Duration
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var r unix.Rusage
		if unix.Getrusage(who, &r) == nil {
			all += time.Duration(r.Utime.Nano() + r.Stime.Nano())
		}
	}
	return all
}

func (e *endpoint) tell(what string, took, plain time.Duration) {
	e.t.Logf("%s: %s, built, verified and switched over; by plain calls of iptables %s (reckoned from %d): %.0f times as long",
		what, took.Round(10*time.Millisecond), plain.Round(time.Second), plainCalls, float64(plain)/float64(took))
}
