package agent_test

import (
	"strings"
	"testing"
	"time"

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
	tried := time.Now()
	gone := []string{"IPv4 FRESHET-IN-3: - -j DROP", "IPv6 OUTPUT: + -j FRESHET-OUT-9"}
	added := []string{"IPv4 FRESHET-IN-3: + -s 192.0.2.1/32 -m comment --comment \"why: - \" -j RETURN"}
	for _, row := range []struct {
		name     string
		want     firewall.Want
		shown    firewall.Shown
		cameBack bool
		tried    time.Time // zero: no version is on trial
		text     string    // "": it is as it should be
	}{
		{"the rules stand", want, firewall.Shown{State: set}, false, time.Time{}, ""},
		{"none stand", want, firewall.Shown{}, false, time.Time{}, "none stand"},
		{"none stand, and none are wanted", firewall.Want{}, firewall.Shown{}, false, time.Time{}, ""},
		{"none stand, and they are applied by hand", byHand, firewall.Shown{}, false, time.Time{}, ""},
		{"none stand, as they were given back", want, firewall.Shown{}, true, time.Time{}, ""},
		{"they are off by hand", want, firewall.Shown{State: firewall.State{Off: true}}, false, time.Time{}, ""},
		{"they differ", want, firewall.Shown{State: set, Diff: diff}, false, time.Time{}, "not those of set 3: - table inet freshet"},
		{"they differ, which is to be told alone", told, firewall.Shown{State: set, Diff: diff}, false, time.Time{}, ""},
		{"they differ, in a fight that was given up", want, firewall.Shown{State: firewall.State{Current: 3, Drift: firewall.Drift{GaveUp: true}}, Diff: diff}, false, time.Time{}, ""},
		{"some went while a version is tried", told, firewall.Shown{State: set, Diff: gone}, false, tried, "not those of set 3: IPv4 FRESHET-IN-3: - -j DROP"},
		{"some went since, as was told", told, firewall.Shown{State: set, Diff: gone, Since: tried.Add(time.Second)}, false, tried, "not those of set 3"},
		{"some went before, as was told", told, firewall.Shown{State: set, Diff: gone, Since: tried.Add(-time.Second)}, false, tried, ""},
		{"some were added while a version is tried", told, firewall.Shown{State: set, Diff: added}, false, tried, ""},
		{"some went while nothing is tried", told, firewall.Shown{State: set, Diff: gone}, false, time.Time{}, ""},
		{"a set on trial stands", want, firewall.Shown{State: firewall.State{Trial: &firewall.Trial{Set: 4}}}, false, time.Time{}, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			err := agent.JudgeWall(row.want, row.shown, row.cameBack, row.tried)
			if row.text == "" && err != nil || row.text != "" && (err == nil || !strings.Contains(err.Error(), row.text)) {
				t.Errorf("%v, want %q", err, row.text)
			}
		})
	}
}
