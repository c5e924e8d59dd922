package publish

import (
	"context"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// warnBefore is how long before its expiry an offline role is pointed out.
const warnBefore = 30 * day

// RoleState says until when a role's metadata is valid.
type RoleState struct {
	Role    string    `json:"role"`
	Version int64     `json:"version"`
	Expires time.Time `json:"expires"`
	Offline bool      `json:"offline"` // its keys are
	Signed  bool      `json:"signed"`  // anew, by this call
}

// DueSoon says whether someone must sign it soon: an offline role within 30
// days of its expiry, an online one when Refresh should have done it long since.
func (s RoleState) DueSoon(now time.Time) bool {
	left := s.Expires.Sub(now)
	if s.Offline {
		return left < warnBefore
	}
	return left < life(s.Role)/4
}

// Refresh signs a new timestamp, and the metadata of bases and the snapshot
// where less than half of their life is left and their keys are at hand. It
// gives the state of all roles.
func (r *Repository) Refresh(ctx context.Context) ([]RoleState, error) {
	return r.resign(ctx, func(st *state, ring keyring) []string {
		old := r.old(roleBases, st.Targets[roleBases].Signed.Expires) || r.old(metadata.SNAPSHOT, st.Snapshot.Signed.Expires)
		if old && ring.check(st, roleBases, metadata.SNAPSHOT) == nil {
			return []string{roleBases}
		}
		return nil
	})
}

// Renew signs a role anew for its whole life: an offline one with keys from
// the folders in Keys. Above it the snapshot and the timestamp are signed with
// the online keys, except for root, which stands alone.
func (r *Repository) Renew(ctx context.Context, name string) ([]RoleState, error) {
	known := slices.ContainsFunc(roles(), func(ro role) bool { return ro.name == name })
	if !known {
		return nil, refuse("roles are root, targets, modules, bases, snapshot and timestamp", "there is no role %q", name)
	}
	return r.resign(ctx, func(*state, keyring) []string {
		switch name {
		case metadata.TIMESTAMP:
			return nil
		case metadata.SNAPSHOT:
			return []string{roleBases}
		}
		return []string{name}
	})
}

func (r *Repository) old(name string, expires time.Time) bool {
	return expires.Sub(r.now()) < life(name)/2
}

func (r *Repository) resign(ctx context.Context, pick func(*state, keyring) []string) ([]RoleState, error) {
	lock, st, ring, err := r.beginSigning(ctx)
	if err != nil {
		return nil, err
	}
	defer lock.Unlock()
	r.tellClock(st)
	was := st.roles()
	names := pick(st, ring)
	need := append([]string{metadata.TIMESTAMP}, names...)
	if len(names) > 0 && names[0] != metadata.ROOT {
		need = append(need, metadata.SNAPSHOT)
	}
	// All keys are looked for before anything is signed.
	if err := ring.check(st, need...); err != nil {
		return nil, err
	}
	if slices.Contains(names, metadata.ROOT) {
		err = r.renewRoot(st, ring)
	} else {
		err = r.commit(st, ring, names...)
	}
	if err != nil {
		return nil, err
	}
	now := st.roles()
	for i := range now {
		now[i].Signed = now[i].Version != was[i].Version
	}
	return now, nil
}

// renewRoot publishes the next root: agents take it as soon as it is there.
func (r *Repository) renewRoot(st *state, ring keyring) error {
	st.Root.Signed.Version++
	st.Root.Signed.Expires = r.now().Add(life(metadata.ROOT))
	if _, err := writeSigned(issue{r.write, life}, st, ring, metadata.ROOT, st.Root, st.Root.Signed.Version); err != nil {
		return err
	}
	return r.commit(st, ring)
}

// roles gives the state of all roles, in the order of roles().
func (st *state) roles() []RoleState {
	var all []RoleState
	for _, ro := range roles() {
		s := RoleState{Role: ro.name, Offline: ro.offline}
		switch ro.name {
		case metadata.ROOT:
			s.Version, s.Expires = st.Root.Signed.Version, st.Root.Signed.Expires
		case metadata.SNAPSHOT:
			s.Version, s.Expires = st.Snapshot.Signed.Version, st.Snapshot.Signed.Expires
		case metadata.TIMESTAMP:
			s.Version, s.Expires = st.Timestamp.Signed.Version, st.Timestamp.Signed.Expires
		default:
			t := st.Targets[ro.name].Signed
			s.Version, s.Expires = t.Version, t.Expires
		}
		all = append(all, s)
	}
	return all
}
