package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/freshet/freshet/firewall"
)

const checkFirewall = "firewall"

// checkWall says why the firewall is not as it should be; see [judgeWall].
func (a *Agent) checkWall(ctx context.Context) error {
	want, _ := a.wantFirewall("")
	if !want.Enabled {
		return nil
	}
	a.mu.Lock()
	failed := a.wallError
	a.mu.Unlock()
	if failed != "" {
		return errors.New(failed)
	}
	shown, err := a.wall.Look(ctx, false)
	if err != nil {
		return err
	}
	err = judgeWall(want, shown, a.wall.CameBack(shown.State, want))
	if err != nil {
		signal(a.wall.again) // it is mended now, not at its time: others may have done it
	}
	return err
}

// judgeWall holds against a version that no rules stand where they are to, by
// themselves, and that what is to be repaired is not. What an operator did by
// hand, what was given back, and a fight with others that was given up are no
// fault of a version; nor are changes that are only to be told.
func judgeWall(want firewall.Want, s firewall.Shown, cameBack bool) error {
	switch st := s.State; {
	case !want.Enabled || st.Off || st.Drift.GaveUp:
		return nil
	case st.Wanted() == 0 && want.Automatic && !cameBack:
		return errors.New("the settings want rules, and none stand")
	case want.Repair && len(s.Diff) > 0:
		return fmt.Errorf("the rules are not those of set %d: %s", st.Wanted(), strings.Join(s.Diff[:min(3, len(s.Diff))], "; "))
	}
	return nil
}
