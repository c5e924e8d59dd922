package agent

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/internal/settings"
	"github.com/freshet/freshet/modules/supervisor"
)

// A trial of the agent that is rolled back takes no edit of the operator's
// along: what this version accepts stays in force, as it stands in the file. What
// it refuses, since only the other version understands it or since that version
// damaged it, goes beside the file, what was accepted last comes back into it,
// and nothing that was delivered is taken away until the operator's next edit.

// settleTrial does this once, after the trial that the supervisor tells of. It
// may be repeated. The caller holds a.mu.
func (a *Agent) settleTrial() {
	if !a.service || a.lock == nil {
		return
	}
	k, ok, err := supervisor.SettingsAfterTrial(a.Disk, a.Dir, a.Version)
	if a.left.Note(supervisor.AfterTrialPath(a.Dir), err, a.Clock.Now()); !ok {
		return
	}
	text, err := a.bringBack(k)
	if err != nil {
		a.warn("the settings file after a trial; it is tried again", err)
		return
	}
	if err := supervisor.SettledAfterTrial(a.Disk, a.Dir); err != nil {
		a.warn("that the settings are settled after a trial is not kept", err)
		return
	}
	if text != "" {
		a.emit(event.SettingsBack, map[string]string{"modules": k.For, "settings": text})
	}
}

// bringBack has the file be one that this version accepts, and says in words
// what was done, "" if nothing had to be.
func (a *Agent) bringBack(k supervisor.KeptSettings) (string, error) {
	path, err := realPath(a.Settings)
	if err != nil {
		return "", err
	}
	_, _, wrong := settings.LoadText(path)
	missing := errors.Is(wrong, settings.ErrMissing)
	switch {
	case wrong == nil, missing && k.Missing:
		return "", nil
	case !decisive(wrong):
		return "", wrong
	}
	now, err := readBytes(path)
	if err != nil && !missing {
		return "", err
	}
	h, err := a.history()
	if err == nil && !missing && !k.Missing && bytes.Equal(now, k.Data) && !h.has(now) {
		return "", nil // it was wrong before the trial: the operator knows, and is at it
	}
	return a.replace(path, k, now, missing)
}

// replace puts what was accepted last in the place of a file that is refused.
func (a *Agent) replace(path string, k supervisor.KeptSettings, now []byte, missing bool) (string, error) {
	texts := a.acceptedTexts()
	if !k.Missing {
		texts = append(texts, k.Data)
	}
	f, ok := a.firstUsable(texts)
	if !ok && !k.Missing {
		return "", nil // there is nothing better
	}
	edited := ""
	if !missing && (!ok || !bytes.Equal(now, f.text)) {
		edited = a.Settings + ".edited-during-" + strings.NewReplacer(" ", "-", ", ", "+", "/", "_").Replace(k.For)
		if err := a.copyFile(path, edited); err != nil {
			return "", err
		}
	}
	if !ok { // there was none before the trial, and none was accepted since
		err := a.Disk.RemoveAll(path)
		return "this version refuses the settings file that was made meanwhile: it is in " + edited, err
	}
	// First that nothing is taken away under it: what it does not name may be in use.
	h, err := a.history()
	if err != nil {
		return "", err
	}
	h.Keeps = hashOf(f.text)
	if err := a.saveHistory(h); err != nil {
		return "", err
	}
	if err := a.putSettings(path, f.text, k, missing); err != nil {
		return "", err
	}
	s, err := settings.Parse(a.Settings, f.text)
	if err != nil {
		return "", err
	}
	a.force.text = nil // so that it is adopted, though it be what is in force
	a.adoptLocked(s, f.text, nil)
	switch {
	case missing:
		return "the settings file, which had been removed, is back as it was accepted last; nothing that was delivered is taken away before your next edit", nil
	case edited == "":
		return "the settings file may be written by its owner alone again", nil
	}
	return "this version refuses the settings file as it was edited meanwhile: what was accepted last is back in it, and the edit is in " + edited +
		"; nothing that was delivered is taken away before your next edit", nil
}

// putSettings writes the file with the owner and mode that it had before.
func (a *Agent) putSettings(path string, text []byte, k supervisor.KeptSettings, missing bool) error {
	mode, uid, gid := k.Mode, k.UID, k.GID
	if k.Missing {
		mode, uid, gid = 0o600, os.Geteuid(), os.Getegid()
		if st, err := os.Stat(path); err == nil && !missing {
			mode = st.Mode().Perm() &^ 0o002
			uid, gid = ownerOf(st)
		}
	}
	if err := a.Disk.WriteInto(path, text, mode); err != nil {
		return err
	}
	return asOwned(path, mode, uid, gid)
}

// decisive says whether an error of a settings file is about what it says or
// is, and not about a disk or a process that cannot read for a moment.
func decisive(err error) bool {
	var problems settings.Problems
	return errors.As(err, &problems) || unlifted(err) != nil || errors.Is(err, settings.ErrMissing) || errors.Is(err, settings.ErrOpen)
}

// realPath is the file itself, where path is a link to it.
func realPath(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	if errors.Is(err, os.ErrNotExist) {
		return path, nil
	}
	if err != nil {
		return "", fmt.Errorf("following %s: %w", path, err)
	}
	return real, nil
}
