package agent

import (
	"bytes"
	"path/filepath"

	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/internal/settings"
)

// acceptedPath is the copy of the settings file that was accepted last. It
// outlives the file: with it a start goes on where the file has become wrong.
func (a *Agent) acceptedPath() string { return filepath.Join(a.Dir, "settings.yaml") }

// accepted puts the copy in force; false if there is none that can be used.
func (a *Agent) accepted() (*inForce, bool) {
	s, text, err := settings.LoadText(a.acceptedPath())
	if err != nil {
		return nil, false
	}
	f := a.wire(s)
	f.text = text
	return f, true
}

// keepAccepted brings the copy up to what is in force. Only who holds the state
// folder writes it; the caller holds a.mu.
func (a *Agent) keepAccepted() {
	if a.lock == nil || !a.force.read() {
		return
	}
	if _, old, err := settings.LoadText(a.acceptedPath()); err == nil && bytes.Equal(old, a.force.text) {
		return
	}
	// Sources may hold passwords: nobody else reads it.
	if err := a.Disk.WriteFile(a.acceptedPath(), a.force.text, 0o600); err != nil {
		a.warn("the accepted settings are not kept for the next start", err)
	}
}

// tellRefused logs why the settings file is not in force, and what is instead.
// The caller holds a.mu.
func (a *Agent) tellRefused() {
	instead := "the last accepted ones stay in force"
	if !a.force.read() {
		instead = "and none were accepted before: nothing is in force but the defaults, without a source"
	}
	if a.unlifted != nil {
		a.tellUnlifted(instead)
		return
	}
	a.emit(event.SettingsRefused, map[string]string{"file": a.Settings, "error": a.refused, "instead": instead})
}
