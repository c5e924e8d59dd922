package updater

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/modules"
	"github.com/freshet/freshet/rollback"
)

// mostNamed is how many files that stay an event names.
const mostNamed = 5

// fewOf names some of the files.
func fewOf(files []string) string {
	named := strings.Join(files[:min(len(files), mostNamed)], ", ")
	if more := len(files) - mostNamed; more > 0 {
		named += fmt.Sprintf(" and %d more", more)
	}
	return named
}

// TakeBackDelivered removes from engines' folders what Engines no longer names,
// where TakeBack is set. Events tell of it, and of what had to stay. It may be
// repeated; the caller holds the lock.
func (u *Updater) TakeBackDelivered(ctx context.Context) {
	if !u.TakeBack {
		return
	}
	u.tellTakenBack(modules.TakeBack(ctx, u.Disk, u.Dir, u.Engines))
}

// takeBackFirst removes from engines' folders what was delivered of first
// versions that are given up: g has none of their bases.
func (u *Updater) takeBackFirst(ctx context.Context, g rollback.Generation) {
	var absent []string
	for name := range u.Engines {
		if _, ok := g.Bases[name]; !ok {
			absent = append(absent, name)
		}
	}
	all := modules.TakeBackFirst(ctx, u.Disk, u.Dir, u.Engines, absent)
	u.tellTakenBack(all)
	told := map[string]bool{}
	for _, t := range all {
		if t.Removed == 0 || told[t.Base] {
			continue
		}
		told[t.Base] = true
		if err := u.Engines[t.Base].Reread(ctx); !errors.Is(err, modules.ErrNotRunning) {
			u.engineFailed(t.Base, "took", err)
		}
	}
}

func (u *Updater) tellTakenBack(all []modules.TakenBack) {
	for _, t := range all {
		if t.Removed > 0 {
			u.emit(event.DeliveryTakenBack, "base", t.Base, "folder", t.To, "files", fmt.Sprint(t.Removed))
		}
		if len(t.Left) > 0 {
			u.emit(event.DeliveryLeft, "base", t.Base, "folder", t.To, "error", fewOf(t.Left)+": changed since, or replaced")
		}
		if len(t.Adopted) > 0 {
			u.emit(event.DeliveryLeft, "base", t.Base, "folder", t.To, "error", fewOf(t.Adopted)+": there before the first delivery")
		}
		if t.Err != nil {
			u.emit(event.DeliveryLeft, "base", t.Base, "folder", t.To, "error", t.Err.Error())
		}
	}
}
