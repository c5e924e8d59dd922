package firewall

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"path/filepath"
	"time"

	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/event"
)

// The log of events has one writer. What a process without one did, as that of
// the boot unit, waits in a file until one that has it takes the lock.

const maxUntold = 100

type untold struct {
	At     time.Time         `json:"at"`
	Code   event.Code        `json:"code"`
	Fields map[string]string `json:"fields,omitempty"`
}

func (f *Firewall) untoldPath() string { return filepath.Join(f.Dir, "untold.json") }

// keepUntold adds to the file. The caller holds the lock. Where that cannot be
// written the rules matter more: they are what they are all the same.
func (f *Firewall) keepUntold(code event.Code, fields map[string]string) {
	var all []untold
	err := unseal(f.Disk, f.untoldPath(), &all)
	if durable.Lasting(err) {
		return // what waits there is more than this
	}
	if err != nil {
		all = nil
	}
	all = append(all, untold{f.Clock.Now().UTC(), code, fields})
	_ = f.write(f.untoldPath(), all[max(0, len(all)-maxUntold):])
}

// tellUntold emits what waits, with the time at which it was. The caller holds
// the lock. A power cut may have it told twice, never not at all.
func (f *Firewall) tellUntold() {
	var all []untold
	if err := unseal(f.Disk, f.untoldPath(), &all); errors.Is(err, fs.ErrNotExist) || durable.Lasting(err) {
		return
	}
	for _, u := range all { // of a damaged file none
		fields := map[string]string{"at": u.At.Format(time.RFC3339)}
		maps.Copy(fields, u.Fields)
		f.Emit(u.Code, fields)
	}
	_ = f.Disk.RemoveAll(f.untoldPath()) // else it is told again
}

func (f *Firewall) tells() bool { return f.Emit != nil && (f.Keeps == nil || f.Keeps()) }

// Tell emits what processes that could not did to the rules. Each change does
// that too.
func (f *Firewall) Tell(ctx context.Context) error {
	_, end, err := f.begin(ctx)
	if err == nil {
		end()
	}
	return err
}
