package modules

import (
	"context"
	"errors"
)

// Delivery puts the files of a base into an engine's own folder.
type Delivery struct {
	To           string // absolute path
	Owner, Group string // names or numbers; "": as the files are
	Mode         uint32 // permission bits of each file; 0: as the files are
	StateDir     string // where it remembers, under delivered/, what it delivered
}

// DeliverFiles reconciles the engine's folder to the version in dir.
func (e *Engine) DeliverFiles(ctx context.Context, dir string) error {
	if e.Delivery == nil {
		return ctx.Err()
	}
	return errors.New("delivering files: not yet")
}
