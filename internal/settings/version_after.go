//go:build nextschema && afternext

package settings

import "go.yaml.in/yaml/v3"

// Version is the one after that of version_next.go: tests lift a file twice.
const Version = 3

const supportKey = "contact"

func steps() []step { return []step{toHelpdesk, toContact} }

// toContact calls helpdesk contact.
func toContact(doc *yaml.Node) (*yaml.Node, error) {
	rename(doc, "helpdesk", supportKey)
	return doc, nil
}
