package publish

import "time"

// RoleKeys are the keys of a role.
type RoleKeys struct {
	RoleState
	Threshold int       `json:"threshold"` // signatures that it takes
	Keys      []HeldKey `json:"keys"`
}

// HeldKey is a key of a role.
type HeldKey struct {
	ID   string `json:"id"`             // TUF key ID
	File string `json:"file,omitempty"` // with its private half, if that is at hand
}

// ListKeys gives the keys of all roles.
func (r *Repository) ListKeys() ([]RoleKeys, error) {
	st, err := r.load(time.Time{})
	if err != nil {
		return nil, err
	}
	files, err := r.keyFiles()
	if err != nil {
		files = nil // a list of what is public needs no folder of keys
	}
	var all []RoleKeys
	for _, s := range st.roles() {
		h, err := st.holders(s.Role)
		if err != nil {
			return nil, err
		}
		rk := RoleKeys{RoleState: s, Threshold: h.threshold, Keys: []HeldKey{}}
		for _, id := range h.ids {
			rk.Keys = append(rk.Keys, HeldKey{ID: id, File: files[id]})
		}
		all = append(all, rk)
	}
	return all, nil
}
