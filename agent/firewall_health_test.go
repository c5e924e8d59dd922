package agent_test

import (
	"strings"
	"testing"

	"github.com/freshet/freshet/agent"
	"github.com/freshet/freshet/firewall"
)

func TestTheFirewallIsHeldAgainstAVersionOnlyWhereItIsItsFault(t *testing.T) {
	diff := []string{"- table inet freshet"}
	want := firewall.Want{Enabled: true, Automatic: true, Repair: true}
	set := firewall.State{Current: 3}
	told := want
	told.Repair = false
	byHand := want
	byHand.Automatic = false
	for _, row := range []struct {
		name     string
		want     firewall.Want
		shown    firewall.Shown
		cameBack bool
		text     string // "": it is as it should be
	}{
		{"the rules stand", want, firewall.Shown{State: set}, false, ""},
		{"none stand", want, firewall.Shown{}, false, "none stand"},
		{"none stand, and none are wanted", firewall.Want{}, firewall.Shown{}, false, ""},
		{"none stand, and they are applied by hand", byHand, firewall.Shown{}, false, ""},
		{"none stand, as they were given back", want, firewall.Shown{}, true, ""},
		{"they are off by hand", want, firewall.Shown{State: firewall.State{Off: true}}, false, ""},
		{"they differ", want, firewall.Shown{State: set, Diff: diff}, false, "not those of set 3: - table inet freshet"},
		{"they differ, which is to be told alone", told, firewall.Shown{State: set, Diff: diff}, false, ""},
		{"they differ, in a fight that was given up", want, firewall.Shown{State: firewall.State{Current: 3, Drift: firewall.Drift{GaveUp: true}}, Diff: diff}, false, ""},
		{"a set on trial stands", want, firewall.Shown{State: firewall.State{Trial: &firewall.Trial{Set: 4}}}, false, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			err := agent.JudgeWall(row.want, row.shown, row.cameBack)
			if row.text == "" && err != nil || row.text != "" && (err == nil || !strings.Contains(err.Error(), row.text)) {
				t.Errorf("%v, want %q", err, row.text)
			}
		})
	}
}
