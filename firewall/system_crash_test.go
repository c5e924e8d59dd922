//go:build system

package firewall_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/freshet/freshet/firewall"
	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/event"
)

// order is what a process that is to be killed is told.
type order struct {
	Dir, Tools string
	Want       firewall.Want
	Confirm    time.Duration
	Off        bool
	At         int // it kills itself before this step of the disk or a tool
}

const orderVar = "FRESHET_TEST_FIREWALL"

// TestProcess is the process that is killed: see killed.
func TestProcess(t *testing.T) {
	text := os.Getenv(orderVar)
	if text == "" {
		t.Skip("it runs in a process of its own")
	}
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatal(err)
	}
	n := 0
	fw := &firewall.Firewall{Dir: o.Dir, Path: []string{o.Tools}, Disk: &durable.Disk{Step: func(string, string) error {
		if n++; n == o.At {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		return nil
	}}}
	var err error
	if o.Off {
		err = fw.Off(context.Background())
	} else {
		_, err = fw.Apply(context.Background(), o.Want, firewall.Options{Confirm: o.Confirm})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// killed does what it is told in a process that dies at a step; false says that
// there is no such step.
func (e *endpoint) killed(o order) bool {
	e.t.Helper()
	o.Dir, o.Tools = e.fw.Dir, e.fw.Path[0]
	text, err := json.Marshal(o)
	if err != nil {
		e.t.Fatal(err)
	}
	c := exec.Command("ip", "netns", "exec", e.name, os.Args[0], "-test.run", "^TestProcess$")
	c.Env = append(os.Environ(), orderVar+"="+string(text))
	out, err := c.CombinedOutput()
	if err == nil {
		return false
	}
	if ws, ok := c.ProcessState.Sys().(syscall.WaitStatus); !ok || !ws.Signaled() {
		e.t.Fatalf("at step %d it was not killed: %v\n%s", o.At, err, out)
	}
	return true
}

var setNumber = regexp.MustCompile(`(FRESHET-[A-Z-]+|(?:block-)?(?:in|out))-\d+`)

// picture is what stands in all backends, by backend and family, without numbers
// of sets.
type picture map[string]string

func (e *endpoint) picture() picture {
	e.t.Helper()
	out := e.sh(`{ for f in 4 6; do for v in nft legacy; do echo "== iptables-$v IPv$f"; t=iptables; [ $f = 4 ] || t=ip6tables; $t-$v-save -t filter; done; done
for f in 4 6; do echo "== nftables IPv$f"; nft -s -t list table inet freshet || true; done; } 2>/dev/null`)
	p := picture{}
	for _, part := range strings.Split(out, "== ")[1:] {
		key, text, _ := strings.Cut(part, "\n")
		var all []string
		for l := range strings.Lines(text) {
			own := strings.Contains(l, "FRESHET-") || strings.HasPrefix(key, "nftables")
			if own && !strings.HasPrefix(l, "#") {
				all = append(all, counters.ReplaceAllString(setNumber.ReplaceAllString(l, "$1"), ""))
			}
		}
		slices.Sort(all) // chains of two sets come in any order
		p[key] = strings.Join(all, "")
	}
	return p
}

// between says that now each family is as it was in a or in b, or, of a switch,
// that both stand; and that it is never none.
func (e *endpoint) between(now, a, b picture) {
	e.t.Helper()
	for key, text := range now {
		if text != a[key] && text != b[key] {
			e.t.Fatalf("%s holds a part:\n%s\nbefore:\n%s\nafter:\n%s", key, text, a[key], b[key])
		}
	}
	for _, fam := range firewall.Families() {
		some := false
		for key, text := range now {
			some = some || strings.HasSuffix(key, fam.String()) && text != ""
		}
		if !some {
			e.t.Fatalf("%s has no rules at all", fam)
		}
	}
}

func crashPolicies(e *endpoint) (a, b firewall.Want) {
	a, b = wanted(matrix), wanted(matrix)
	a.Policy.Lists = nil
	b.Policy.Rules = b.Policy.Rules[1:4]
	b.Lists = map[string]firewall.ListFile{"attackers": e.list("attackers", "203.0.113.0/24\nfd77::3\n")}
	return a, b
}

func TestKilledAtAnyStepEachFamilyHasTheOldRulesOrTheNew(t *testing.T) {
	for _, row := range []struct {
		name    string
		variant string
		from    firewall.Mechanism
		to      firewall.Mechanism
	}{
		{"a change, iptables-nft", "nft", firewall.ByIPTables, firewall.ByIPTables},
		{"a change, iptables-legacy", "legacy", firewall.ByIPTables, firewall.ByIPTables},
		{"a switch from nft to iptables", "nft", firewall.ByNFTables, firewall.ByIPTables},
		{"a switch from iptables to nft", "legacy", firewall.ByIPTables, firewall.ByNFTables},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			e := newParallelWorld(t).endpoint(row.variant)
			a, b := crashPolicies(e)
			a.Mechanism, b.Mechanism = row.from, row.to
			e.mustApply(b)
			after := e.picture()
			e.mustApply(a)
			before := e.picture()
			var longest time.Duration
			steps := 0
			for at := 1; e.killed(order{Want: b, At: at}); at++ {
				e.between(e.picture(), before, after)
				began := time.Now()
				quiet := a
				quiet.Automatic = false // what is wanted is another question
				e.keep(quiet)
				longest = max(longest, time.Since(began))
				steps = at
				s := e.check()
				if now := e.picture(); fmt.Sprint(now) == fmt.Sprint(after) {
					e.mustApply(a)
				} else if fmt.Sprint(now) != fmt.Sprint(before) {
					t.Fatalf("killed at step %d, set %d is neither old nor new:\n%v", at, s.Set.Number, now)
				}
				if at > 500 {
					t.Fatal("it has no end")
				}
			}
			e.check()
			t.Logf("killed at %d steps; mending took %s at most", steps, longest.Round(time.Millisecond))
		})
	}
}

func TestATrialEndsByItselfWhateverDies(t *testing.T) {
	e := newWorld(t).endpoint("nft")
	a, b := crashPolicies(e)
	e.mustApply(a)
	before := e.picture()
	t.Run("confirmed, it stays", func(t *testing.T) {
		if _, err := e.apply(b, firewall.Options{Confirm: time.Hour}); err != nil {
			t.Fatal(err)
		}
		e.check()
		if next := e.keep(b); next <= 0 || next > time.Hour {
			t.Errorf("to be looked after again in %s", next)
		}
		e.in("", func() {
			if _, err := e.fw.Confirm(t.Context()); err != nil {
				t.Error(err)
			}
		})
		if s := e.check(); s.State.Trial != nil || s.State.Current != s.Set.Number {
			t.Errorf("%+v", s.State)
		}
		e.mustApply(a)
	})
	t.Run("not confirmed, the rules of before are back, and what was tried is not applied again", func(t *testing.T) {
		if _, err := e.apply(b, firewall.Options{Confirm: 50 * time.Millisecond}); err != nil {
			t.Fatal(err)
		}
		e.in("", func() {
			if err := e.fw.EndTrial(t.Context()); err != nil {
				t.Error(err)
			}
		})
		if now := e.picture(); fmt.Sprint(now) != fmt.Sprint(before) {
			t.Errorf("not as before: %v", now)
		}
		e.keep(b)
		if now := e.picture(); fmt.Sprint(now) != fmt.Sprint(before) {
			t.Error("it was applied again")
		}
	})
	t.Run("ended where nobody keeps events, it is told once when somebody does", func(t *testing.T) {
		if _, err := e.apply(b, firewall.Options{Confirm: 50 * time.Millisecond}); err != nil {
			t.Fatal(err)
		}
		told := e.told(event.FirewallReturned)
		e.in("", func() {
			other := &firewall.Firewall{Dir: e.fw.Dir, Path: e.fw.Path}
			if err := other.EndTrial(t.Context()); err != nil {
				t.Error(err)
			}
			if e.told(event.FirewallReturned) != told {
				t.Error("it is told already")
			}
			keeps := false
			e.fw.Keeps = func() bool { return keeps }
			for range 2 {
				if err := e.fw.Tell(t.Context()); err != nil {
					t.Error(err)
				}
				keeps = true
			}
			if err := e.fw.Tell(t.Context()); err != nil {
				t.Error(err)
			}
			e.fw.Keeps = nil
		})
		if n := e.told(event.FirewallReturned) - told; n != 1 {
			t.Errorf("it is told %d times", n)
		}
	})
	t.Run("the process dies with it, the next start takes it back", func(t *testing.T) {
		if !e.killed(order{Want: b, Confirm: time.Millisecond, At: 9999}) {
			e.keep(b)
		}
		if now := e.picture(); fmt.Sprint(now) != fmt.Sprint(before) {
			t.Errorf("not as before: %v", now)
		}
		e.check()
	})
}

// TestARebootBringsTheRulesBack empties the kernel, as a boot does, and tells
// the state that it was another boot.
func TestARebootBringsTheRulesBack(t *testing.T) {
	e := newWorld(t).endpoint("nft")
	_, b := crashPolicies(e)
	e.mustApply(b)
	before := e.picture()
	e.sh("iptables-nft -F; iptables-nft -X; ip6tables-nft -F; ip6tables-nft -X; ipset destroy")
	e.in("", func() {
		if _, err := e.fw.Restore(t.Context()); err != nil {
			t.Error(err)
		}
	})
	if now := e.picture(); fmt.Sprint(now) != fmt.Sprint(before) {
		t.Errorf("not as before: %v", now)
	}
	e.check()
}

// TestALineThatIsRefusedLeavesTheRulesOfBefore has iptables-restore fail at
// each line in turn, for either family.
func TestALineThatIsRefusedLeavesTheRulesOfBefore(t *testing.T) {
	for _, v := range variants {
		t.Run(v, func(t *testing.T) {
			t.Parallel()
			e := newParallelWorld(t).endpoint(v)
			a, b := crashPolicies(e)
			a.Policy.Rules, b.Policy.Rules = a.Policy.Rules[:1], b.Policy.Rules[:2]
			e.mustApply(a)
			before := e.picture()
			real := e.fw.Path[0]
			for _, tool := range []string{"iptables-" + v + "-restore", "ip6tables-" + v + "-restore"} {
				at := filepath.Join(e.dir, tool+".at")
				bad := e.badTool(real, tool, `if [ -e `+at+` ]; then k=$(cat `+at+`); rm `+at+`; sed "${k}i-A FRESHET-IN-1 -j NO-SUCH-TARGET" | exec $REAL "$@"; else exec $REAL "$@"; fi`)
				e.fw.Path = []string{bad, real}
				for k := 2; ; k++ {
					if err := os.WriteFile(at, []byte(strconv.Itoa(k)), 0o644); err != nil {
						t.Fatal(err)
					}
					_, err := e.apply(b, firewall.Options{})
					if err == nil {
						if k < 10 {
							t.Fatalf("with a bad line %d it is applied", k)
						}
						e.mustApply(a)
						os.Remove(at)
						break // past its last line
					}
					if now := e.picture(); fmt.Sprint(now) != fmt.Sprint(before) {
						t.Fatalf("with a bad line %d of %s the rules are\n%v\nand were\n%v", k, tool, now, before)
					}
				}
				e.check()
			}
		})
	}
}

func TestAHeldLockLeavesTheRulesOfBefore(t *testing.T) {
	e := newWorld(t).endpoint("legacy")
	e.fw.Wait = 1
	a, b := crashPolicies(e)
	e.mustApply(a)
	before := e.picture()
	lock, err := os.OpenFile(os.Getenv("XTABLES_LOCKFILE"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if _, err = e.apply(b, firewall.Options{}); err == nil || !strings.Contains(err.Error(), "lock") {
		t.Errorf("while somebody holds the lock: %v", err)
	}
	lock.Close()
	if now := e.picture(); fmt.Sprint(now) != fmt.Sprint(before) {
		t.Errorf("not as before: %v", now)
	}
	a.Automatic = false
	e.keep(a)
	e.check()
}
