package updater

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/internal/source"
	"github.com/freshet/freshet/modules"
	"github.com/freshet/freshet/rollback"
)

// EngineNote is what is still open between a base's engine and a version. It is
// kept at engines/NAME.json: lost, the engine is asked once more, or once less.
type EngineNote struct {
	Try  *EngineOpen `json:"try,omitempty"`  // a version on offer that could not be tried, or watched, to the end
	Took *EngineOpen `json:"took,omitempty"` // the version in use, which the engine was not seen to accept
}

// EngineOpen is one step that an engine has to be asked for again.
type EngineOpen struct {
	Dir     string    `json:"dir"` // of the version, below bases/NAME
	Version int64     `json:"version"`
	Step    string    `json:"step"`
	Error   string    `json:"error"`
	At      time.Time `json:"at"`
	Tries   int       `json:"tries"`          // in vain
	Until   time.Time `json:"until,omitzero"` // the schedule does not ask again before
}

const (
	maxEngineNote = 64 << 10

	// A try that ran out of time took a core for all of it: it is tried again
	// after this, then after twice as long each time.
	firstTryAgain = 30 * time.Minute
	lastTryAgain  = 24 * time.Hour
)

func (u *Updater) engineNotePath(name string) string {
	return filepath.Join(u.Dir, "engines", name+".json")
}

// EngineNote reads what is open with a base's engine. It needs no lock. What
// cannot be read is as if nothing was.
func (u *Updater) EngineNote(name string) EngineNote {
	var n EngineNote
	f, err := os.Open(u.engineNotePath(name))
	if err != nil {
		return n
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxEngineNote))
	if err != nil || json.Unmarshal(data, &n) != nil {
		return EngineNote{}
	}
	return n
}

// keepEngineNote replaces what is open with a base's engine.
func (u *Updater) keepEngineNote(name string, n EngineNote) error {
	path := u.engineNotePath(name)
	if n == (EngineNote{}) {
		if _, err := os.Lstat(path); err != nil {
			return nil
		}
		return u.Disk.RemoveAll(path)
	}
	data, err := json.Marshal(n)
	if err != nil {
		return err
	}
	if err := u.Disk.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return u.Disk.WriteFile(path, data, 0o600) // it quotes what commands wrote
}

// open makes the next state of a step that failed.
func (u *Updater) open(was *EngineOpen, ref rollback.Ref, step string, err error) *EngineOpen {
	now := u.Clock.Now().UTC()
	o := &EngineOpen{Dir: ref.Dir, Version: ref.Version, Step: step, Error: rollback.Brief(err.Error()), At: now}
	if was != nil && was.Dir == ref.Dir {
		o.Tries = was.Tries
	}
	o.Tries++
	if modules.IsTimeout(err) {
		o.Until = now.Add(source.Backoff{First: firstTryAgain, Max: lastTryAgain}.Delay(o.Tries, 1))
	}
	return o
}

// deferTry notes that a version could not be judged for want of time, and gives
// err with when it is tried again.
func (u *Updater) deferTry(name string, ref rollback.Ref, step string, err error) error {
	n := u.EngineNote(name)
	n.Try = u.open(n.Try, ref, step, err)
	again := fmt.Errorf("%w; that is no judgement of it: it is tried again after %s, or at once by freshet update", err, stamp(n.Try.Until))
	return errors.Join(again, u.keepEngineNote(name, n))
}

// deferred says why the schedule does not try the job's version yet, or "".
func (u *Updater) deferred(j *job) string {
	if !j.thrifty || j.manifest == nil {
		return ""
	}
	o := u.EngineNote(j.name).Try
	now := u.Clock.Now()
	if o == nil || o.Dir != j.ref().Dir || !now.Before(o.Until) || now.Before(o.At) {
		return ""
	}
	return fmt.Sprintf("%s; it is tried again after %s, or at once by freshet update", o.Error, stamp(o.Until))
}

// settleTry forgets that a version could not be tried: it was, or another one
// is in use.
func (u *Updater) settleTry(name string) error {
	n := u.EngineNote(name)
	n.Try = nil
	return u.keepEngineNote(name, n)
}

// settleTook notes what an engine made of the version in use. One that accepts
// it at last is announced.
func (u *Updater) settleTook(name string, ref rollback.Ref, err error) {
	n := u.EngineNote(name)
	was := n.Took
	if err == nil {
		n.Took = nil
	} else {
		n.Took = u.open(was, ref, "took", err)
	}
	if err := u.keepEngineNote(name, n); err != nil {
		u.engineFailed(name, "took", fmt.Errorf("noting that it was asked: %w", err))
	}
	if err == nil && was != nil {
		u.emit(event.EngineAccepted, "base", name, "version", fmt.Sprint(ref.Version))
	}
}

// unsettled says whether the engine was not seen to accept the version in use.
func (u *Updater) unsettled(name string, ref rollback.Ref) bool {
	o := u.EngineNote(name).Took
	return o != nil && o.Dir == ref.Dir
}
