package settings

import (
	"fmt"

	"go.yaml.in/yaml/v3"
)

// MigrationError says that a file of an older version of the schema, in which
// nothing need be wrong, could not be lifted to this program's. The file is as
// it was.
type MigrationError struct {
	File     string
	From, To int // versions of the schema
	Err      error
}

func (e *MigrationError) Error() string {
	return fmt.Sprintf("%s: lifting the settings from version %d to %d: %v", e.File, e.From, e.To, e.Err)
}

func (e *MigrationError) Unwrap() error { return e.Err }

// step lifts a document by one version. It is pure but for doc, which it may
// change, and keeps the lines of what it keeps. It need not set version.
type step func(doc *yaml.Node) (*yaml.Node, error)

// migrate lifts doc from its version to the one that steps lead to. A step
// that panics is an error like others: an agent runs without settings rather
// than not at all.
func migrate(file string, doc *yaml.Node, version int, steps []step) (*yaml.Node, error) {
	for v := version; v-1 < len(steps); v++ {
		next, err := lift(doc, steps[v-1])
		if err != nil {
			return nil, &MigrationError{File: file, From: v, To: v + 1, Err: err}
		}
		doc = next
	}
	return doc, nil
}

func lift(doc *yaml.Node, by step) (next *yaml.Node, err error) {
	defer func() {
		if p := recover(); p != nil {
			next, err = nil, fmt.Errorf("the step panicked: %v", p)
		}
	}()
	next, err = by(doc)
	if err == nil && (next == nil || next.Kind != yaml.MappingNode) {
		return nil, fmt.Errorf("the step led to no keys and values")
	}
	return next, err
}
