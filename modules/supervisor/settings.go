package supervisor

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/rollback"
)

// keptSettings is the operator's settings file as it was before a trial, byte
// for byte. The supervisor does not read what it says.
type keptSettings struct {
	For     string      `json:"for"` // what was tried
	Missing bool        `json:"missing,omitempty"`
	Mode    fs.FileMode `json:"mode"`
	UID     int         `json:"uid"`
	GID     int         `json:"gid"`
	Data    []byte      `json:"data"`
}

func (s *Supervisor) keptPath() string { return filepath.Join(s.Dir, "settings-before-trial.json") }

func (s *Supervisor) readSettings() (keptSettings, error) {
	var k keptSettings
	st, err := os.Stat(s.Settings)
	if errors.Is(err, fs.ErrNotExist) {
		k.Missing = true
		return k, nil
	}
	if err != nil {
		return k, err
	}
	if !st.Mode().IsRegular() {
		return k, fmt.Errorf("%s is no regular file", s.Settings)
	}
	if k.Data, err = readBounded(s.Settings); err != nil {
		return k, err
	}
	k.Mode = st.Mode().Perm()
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		k.UID, k.GID = int(sys.Uid), int(sys.Gid)
	}
	return k, nil
}

func (s *Supervisor) kept() (keptSettings, error) {
	var k keptSettings
	data, err := readBounded(s.keptPath())
	if err != nil {
		return k, err
	}
	return k, json.Unmarshal(data, &k)
}

// keepSettings keeps the file over a trial. A trial that is taken up again, or
// that takes another's place, keeps what was before the first one's beginning.
func (s *Supervisor) keepSettings(tried string) error {
	k, err := s.kept()
	if err == nil && k.For == tried {
		return nil
	}
	if err != nil {
		k, err = s.readSettings()
	}
	if err != nil {
		return err
	}
	k.For = tried
	data, err := json.Marshal(k)
	if err != nil {
		return err
	}
	return s.Disk.WriteFile(s.keptPath(), data, 0o600)
}

func (s *Supervisor) forgetSettings() { os.Remove(s.keptPath()) }

// restoreSettings puts the file back as it was before the trial, and says where
// what was edited meanwhile is kept, "" if nothing was.
func (s *Supervisor) restoreSettings(tried string) string {
	k, err := s.kept()
	if err != nil || k.For != tried {
		return ""
	}
	defer s.forgetSettings()
	now, err := s.readSettings()
	if err != nil {
		return fmt.Sprintf("the settings file could not be put back: %v", err)
	}
	if now.Missing == k.Missing && bytes.Equal(now.Data, k.Data) && now.Mode == k.Mode && now.UID == k.UID && now.GID == k.GID {
		return ""
	}
	edited := s.Settings + ".edited-during-" + strings.NewReplacer(" ", "-", ", ", "+", "/", "_").Replace(tried)
	if !now.Missing {
		if err := s.put(edited, now); err != nil {
			return fmt.Sprintf("the settings file could not be put back: %v", err)
		}
	}
	if k.Missing {
		err = s.Disk.RemoveAll(s.Settings)
	} else {
		err = s.put(s.Settings, k)
	}
	switch {
	case err != nil:
		return fmt.Sprintf("the settings file could not be put back: %v", err)
	case now.Missing:
		return "the settings file, which had been removed, is back"
	}
	return "the settings file is back as it was; what was edited meanwhile is in " + edited
}

// settleSettings puts the file back after a trial that a person broke off,
// whether a supervisor ran then or not. What was confirmed keeps its own.
func (s *Supervisor) settleSettings(v view) {
	if v.Good == 0 || v.ofModules {
		return
	}
	k, err := s.kept()
	switch {
	case err != nil:
		return
	case isGood(k.For, v.good.Modules):
		s.forgetSettings()
		return
	}
	if text := s.restoreSettings(k.For); text != "" {
		s.tell(event.SettingsBack, map[string]string{"modules": k.For, "settings": text})
	}
}

// isGood says whether all that was tried, in the words of namesOf, is good now.
func isGood(tried string, good map[string]rollback.Slot) bool {
	for _, part := range strings.Split(tried, ", ") {
		name, version, _ := strings.Cut(part, " ")
		if good[name].Version != version {
			return false
		}
	}
	return true
}

func (s *Supervisor) put(path string, k keptSettings) error {
	if err := s.Disk.WriteFile(path, k.Data, k.Mode); err != nil {
		return err
	}
	if err := os.Chmod(path, k.Mode); err != nil {
		return err
	}
	if err := os.Chown(path, k.UID, k.GID); err != nil && os.Geteuid() == 0 {
		return err
	}
	return nil
}
