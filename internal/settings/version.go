//go:build !nextschema

package settings

// Version is the current version of the schema.
const Version = 1

const supportKey = "support"

// steps lead from version 1 to Version: steps()[i] from i+1 to i+2. A new step
// comes with a file in testdata/migrate, which is what the step makes of the
// one before.
func steps() []step { return nil }
