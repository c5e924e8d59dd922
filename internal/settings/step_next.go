//go:build nextschema

package settings

import (
	"errors"

	"go.yaml.in/yaml/v3"
)

// Texts of support that the step of this schema does not bear.
const (
	testPanic = "FRESHET_TEST_MIGRATION_PANICS"
	testError = "FRESHET_TEST_MIGRATION_FAILS"
)

// toHelpdesk calls support helpdesk.
func toHelpdesk(doc *yaml.Node) (*yaml.Node, error) {
	for i := 1; i < len(doc.Content); i += 2 {
		switch doc.Content[i].Value {
		case testPanic:
			panic("it holds what it did not expect")
		case testError:
			return nil, errors.New("it cannot be said in this version")
		}
	}
	rename(doc, "support", "helpdesk")
	return doc, nil
}

// rename gives a key of doc another name, and keeps its place and its value.
func rename(doc *yaml.Node, from, to string) {
	for i := 0; i+1 < len(doc.Content); i += 2 {
		if doc.Content[i].Value == from {
			doc.Content[i].Value = to
		}
	}
}
