package publish

import "time"

// Names of the delegated roles.
const (
	roleBases   = "bases"
	roleModules = "modules"
)

const day = 24 * time.Hour

// role says how a role of the repository is held. The online keys together
// cannot install a program: that takes two of the modules keys.
type role struct {
	name      string
	keys      int
	threshold int
	life      time.Duration // from signing to expiry
	offline   bool
}

// roles gives all roles, offline ones first.
func roles() []role {
	return []role{
		{"root", 3, 2, 365 * day, true},
		{"targets", 2, 2, 365 * day, true},
		{roleModules, 3, 2, 90 * day, true},
		{roleBases, 1, 1, 14 * day, false},
		{"snapshot", 1, 1, 14 * day, false},
		{"timestamp", 1, 1, 7 * day, false},
	}
}

func life(name string) time.Duration {
	for _, r := range roles() {
		if r.name == name {
			return r.life
		}
	}
	return 0
}
