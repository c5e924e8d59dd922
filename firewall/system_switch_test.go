//go:build system

package firewall_test

import (
	"fmt"
	"testing"

	"github.com/freshet/freshet/firewall"
	"github.com/freshet/freshet/internal/systemtest/probe"
)

func TestASwitchOfTheMechanismLetsNothingThroughAndLosesNothing(t *testing.T) {
	for _, v := range variants {
		t.Run(v, func(t *testing.T) {
			e := newParallelWorld(t).endpoint(v)
			want := wanted(matrix)
			want.Policy.Lists = nil
			want.Mechanism = firewall.ByNFTables
			e.mustApply(want)
			p := probe.Begin(t, probe.Path{
				From: e.namespace("p"), To: e.namespace(""),
				Standing: "10.77.0.1:80", New: "10.77.0.1:8005", Forbidden: "10.77.0.1:123",
			})
			for i := range 6 {
				want.Mechanism = []firewall.Mechanism{firewall.ByIPTables, firewall.ByNFTables}[i%2]
				want.Policy.NeverBlock = nets(fmt.Sprintf("192.0.2.%d", i)) // a change as well
				e.keep(want)
				if s := e.check(); s.Set.Mechanism != want.Mechanism {
					t.Fatalf("%s is in force", s.Set.Mechanism)
				}
			}
			p.ExpectNothingLost(t)
		})
	}
}

// TestAVariantThatIsGoneIsLeft has the host change over to the other variant.
func TestAVariantThatIsGoneIsLeft(t *testing.T) {
	e := newWorld(t).endpoint("legacy")
	a, _ := crashPolicies(e)
	e.mustApply(a)
	if s := e.check(); s.Set.Backend != firewall.IPTablesLegacy {
		t.Fatalf("it stands in %s", s.Set.Backend)
	}
	e.fw.Path = []string{e.tools("nft")}
	other := a
	other.Policy.NeverBlock = nets("192.0.2.1")
	e.mustApply(other)
	if s := e.check(); s.Set.Backend != firewall.IPTablesNFT {
		t.Errorf("it stands in %s", s.Set.Backend)
	}
}
