package updater

import (
	"context"
	"slices"
)

// concerns says whether this update is about a base.
func (u *Updater) concerns(name string) bool {
	return len(u.Only) == 0 || slices.Contains(u.Only, name)
}

// only narrows an offer to what this update is about.
func (u *Updater) only(ctx context.Context, o *offer) {
	if len(u.Only) == 0 {
		return
	}
	for _, name := range u.Only {
		_, found := o.found[name]
		if _, missing := o.missing[name]; !found && !missing {
			o.missing[name] = &unknownError{name, u.offers(ctx, o)}
		}
	}
	for name := range o.found {
		if !u.concerns(name) {
			delete(o.found, name)
		}
	}
	for name := range o.missing {
		if !u.concerns(name) {
			delete(o.missing, name)
		}
	}
}
