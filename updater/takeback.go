package updater

import (
	"context"
	"fmt"
	"strings"

	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/modules"
)

// mostNamed is how many files that stay an event names.
const mostNamed = 5

// TakeBackDelivered removes from engines' folders what Engines no longer names,
// where TakeBack is set. Events tell of it, and of what had to stay. It may be
// repeated; the caller holds the lock.
func (u *Updater) TakeBackDelivered(ctx context.Context) {
	if !u.TakeBack {
		return
	}
	for _, t := range modules.TakeBack(ctx, u.Disk, u.Dir, u.Engines) {
		if t.Removed > 0 {
			u.emit(event.DeliveryTakenBack, "base", t.Base, "folder", t.To, "files", fmt.Sprint(t.Removed))
		}
		if len(t.Left) > 0 {
			named := strings.Join(t.Left[:min(len(t.Left), mostNamed)], ", ")
			if more := len(t.Left) - mostNamed; more > 0 {
				named += fmt.Sprintf(" and %d more", more)
			}
			u.emit(event.DeliveryLeft, "base", t.Base, "folder", t.To, "error", named+": changed since, or replaced")
		}
		if t.Err != nil {
			u.emit(event.DeliveryLeft, "base", t.Base, "folder", t.To, "error", t.Err.Error())
		}
	}
}
