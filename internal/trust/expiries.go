package trust

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Expiry is until when the metadata of a role is valid.
type Expiry struct {
	Role    string
	Version int64
	Expires time.Time
	Empty   bool // it names no target and delegates nothing
}

// Expiries are those of root, timestamp, snapshot, targets and what targets
// delegates to, in the order of their names, of the metadata that is trusted. Of
// a view from Load a role that is not stored, or is damaged, is left out, and
// what is expired is not.
func (v *View) Expiries() []Expiry {
	v.loadDelegated()
	all := map[string]Expiry{}
	v.eachExpiry(func(role string, version int64, expires time.Time) {
		all[role] = Expiry{Role: role, Version: version, Expires: expires}
	})
	for at, md := range v.loaded {
		e := all[at.role]
		e.Empty = namesNothing(md)
		all[at.role] = e
	}
	list := make([]Expiry, 0, len(all))
	for _, e := range all {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b Expiry) int { return strings.Compare(a.Role, b.Role) })
	return list
}

// loadDelegated has a view from Load know the roles that targets delegates to.
func (v *View) loadDelegated() {
	if !v.offline {
		return
	}
	targets, err := v.load(context.Background(), nil, metadata.TARGETS, nil)
	if err != nil || targets.Signed.Delegations == nil {
		return
	}
	for i, role := range targets.Signed.Delegations.Roles {
		if i == maxRoles {
			return
		}
		_, _ = v.load(context.Background(), nil, role.Name, targets) // left out, as promised
	}
}

// namesNothing says whether a targets role says nothing at all.
func namesNothing(md *targetsMetadata) bool {
	return len(md.Signed.Targets) == 0 && (md.Signed.Delegations == nil || len(md.Signed.Delegations.Roles) == 0)
}
