package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/freshet/freshet/firewall"
	"github.com/freshet/freshet/rollback"
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
	shown, err := a.wall.Look(ctx, false, false)
	if err != nil {
		return err
	}
	err = judgeWall(want, shown, a.wall.CameBack(shown.State, want), a.triedSince())
	if err != nil {
		signal(a.wall.again) // it is mended now, not at its time: others may have done it
	}
	return err
}

// triedSince is when what is on trial was made the current generation; zero: nothing
// is on trial.
func (a *Agent) triedSince() time.Time {
	store := rollback.Store{Dir: a.Dir}
	st, err := store.Load()
	if err != nil || !st.OnTrial() {
		return time.Time{}
	}
	gen, err := store.Generation(cmp.Or(st.Trial, st.Current))
	if err != nil {
		return time.Time{}
	}
	return gen.Made
}

// judgeWall holds against a version that no rules stand where they are to, by
// themselves, that what is to be repaired is not, and that rules went since it
// is tried. What an operator did by hand, what was given back, and a fight with
// others that was given up are no fault of a version; nor are, where changes are
// only to be told, those from before it and rules that were added.
func judgeWall(want firewall.Want, s firewall.Shown, cameBack bool, tried time.Time) error {
	gone := slices.DeleteFunc(slices.Clone(s.Diff), func(d string) bool { return !firewall.Missing(d) })
	switch st := s.State; {
	case !want.Enabled || st.Off || st.Drift.GaveUp:
		return nil
	case st.Wanted() == 0 && want.Automatic && !cameBack:
		return errors.New("the settings want rules, and none stand")
	case want.Repair && len(s.Diff) > 0:
		return notThose(st, s.Diff)
	case !tried.IsZero() && len(gone) > 0 && (s.Since.IsZero() || !s.Since.Before(tried)):
		return notThose(st, gone)
	}
	return nil
}

func notThose(st firewall.State, diff []string) error {
	return fmt.Errorf("the rules are not those of set %d: %s", st.Wanted(), strings.Join(diff[:min(3, len(diff))], "; "))
}
