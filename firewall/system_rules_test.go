//go:build system

package firewall_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/freshet/freshet/firewall"
)

// TestWhatIsWrittenIsReadBackWordByWord holds the compiler's spelling against
// that of the real tools, in every backend.
func TestWhatIsWrittenIsReadBackWordByWord(t *testing.T) {
	for _, b := range backends {
		t.Run(b.variant+" "+string(b.by), func(t *testing.T) {
			e := newWorld(t).endpoint(b.variant)
			for name, p := range policies {
				want := wanted(p)
				want.Mechanism = b.by
				want.Lists = map[string]firewall.ListFile{
					"attackers": e.list("attackers", "198.51.100.0/24\n203.0.113.9\n2001:db8:bad::/48\n"),
					"loud":      e.list("loud", strings.Join(many(70), "\n")),
				}
				out, err := e.apply(want, firewall.Options{})
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if s := e.check(); s.Set.Number != out.Set || len(s.Counters) == 0 {
					t.Fatalf("%s: %+v", name, s)
				}
			}
			e.in("", func() {
				if err := e.fw.Off(t.Context()); err != nil {
					t.Error(err)
				}
			})
			e.check()
			if left := e.sh("ipset list -n"); left != "" {
				t.Errorf("sets are left: %s", left)
			}
		})
	}
}

func TestWithoutSetsListsAreChains(t *testing.T) {
	for _, v := range variants {
		t.Run(v, func(t *testing.T) {
			e := newWorld(t).endpoint(v)
			e.must("rm", e.fw.Path[0]+"/ipset")
			want := wanted(policies["lists"])
			text := []string{"10.77.0.3"}
			for i := range 3000 {
				text = append(text, fmt.Sprintf("%d.%d.%d.1", 11+i%80, i/256, i%256))
			}
			want.Lists = map[string]firewall.ListFile{"attackers": e.list("attackers", strings.Join(text, "\n"))}
			e.listen("", "tcp4", "10.77.0.1:443")
			e.mustApply(want)
			e.check()
			if e.reaches("p", "tcp4", "10.77.0.3", "10.77.0.1:443") {
				t.Error("what is on the list comes through")
			}
			if !e.reaches("p", "tcp4", "10.77.0.2", "10.77.0.1:443") {
				t.Error("what is not on the list does not come through")
			}
		})
	}
}
