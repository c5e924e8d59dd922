//go:build nextschema && !afternext

package settings

// Version is one that no release has: with it tests update to a program whose
// schema is newer, and go back.
const Version = 2

const supportKey = "helpdesk"

func steps() []step { return []step{toHelpdesk} }
