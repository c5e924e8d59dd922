package supervisor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/rollback"
)

// KeptSettings is the operator's settings file as it was when a trial of the
// agent began, byte for byte. The supervisor reads nothing of what it says and
// never writes the operator's file: whether an edit made in the trial is good
// for the version that comes back is known to that version alone.
//
//	trial begins ► settings-before-trial.json, anew for each trial
//	confirmed    ► it is removed
//	rolled back  ► settings-after-trial.json ► the agent that serves settles it
type KeptSettings struct {
	For     string      `json:"for"` // what was tried
	Missing bool        `json:"missing,omitempty"`
	Mode    fs.FileMode `json:"mode"`
	UID     int         `json:"uid"`
	GID     int         `json:"gid"`
	Data    []byte      `json:"data"`
}

func keptPath(dir string) string { return filepath.Join(dir, "settings-before-trial.json") }

// AfterTrialPath is the file that [SettingsAfterTrial] reads.
func AfterTrialPath(dir string) string { return filepath.Join(dir, "settings-after-trial.json") }

// SettingsAfterTrial gives what the file was before a trial that ended badly or
// was broken off, in the state folder dir; false if that is settled. It is for
// an agent that was not tried: false too for the version that was. The error is
// of a file that is left as it is, see [durable.Lasting]: it is asked for again.
func SettingsAfterTrial(disk *durable.Disk, dir, version string) (KeptSettings, bool, error) {
	k, err := readKept(disk, AfterTrialPath(dir))
	if durable.Lasting(err) {
		return k, false, err
	}
	return k, err == nil && !tries(k.For, version), nil
}

// SettledAfterTrial says that the agent that serves has settled the matter.
func SettledAfterTrial(disk *durable.Disk, dir string) error {
	return disk.RemoveAll(AfterTrialPath(dir))
}

// tries says whether a version of the agent is among what was tried, in the
// words of namesOf. Programs of a release call themselves v1.2.3, their slot 1.2.3.
func tries(tried, version string) bool {
	version = strings.TrimPrefix(version, "v")
	for _, part := range strings.Split(tried, ", ") {
		if part == agentModule+" "+version {
			return true
		}
	}
	return false
}

// readKept reads what was kept at path; see [durable.UnreadError] for its errors.
func readKept(disk *durable.Disk, path string) (KeptSettings, error) {
	var k KeptSettings
	err := disk.ReadJSON(path, maxFile, ownFormat, &k)
	return k, err
}

func (s *Supervisor) readSettings() (KeptSettings, error) {
	var k KeptSettings
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

// keepSettings keeps the file over a trial of the agent. One that is taken up
// again keeps what was before its beginning; each other one begins anew.
func (s *Supervisor) keepSettings(t *trial) error {
	if !t.ofAgent() {
		return nil // the agent, which reads them, stays
	}
	k, err := readKept(s.Disk, keptPath(s.Dir))
	if durable.Lasting(err) || err == nil && k.For == t.names() {
		return err
	}
	k, err = s.readSettings()
	if err != nil {
		return err
	}
	k.For = t.names()
	data, err := json.Marshal(k)
	if err != nil {
		return err
	}
	return s.Disk.WriteFile(keptPath(s.Dir), data, 0o600)
}

// settleSettings is called when no trial runs: what was kept for one that was
// not confirmed, whether a supervisor ran at its end or not, is handed to the
// agent that serves now. A trial that waits to be taken up again keeps it.
func (s *Supervisor) settleSettings(v view) {
	if v.Good == 0 || v.ofModules {
		return
	}
	k, err := readKept(s.Disk, keptPath(s.Dir))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return
	case durable.Lasting(err): // it is what the operator had: it stays, and is settled later
	case err == nil && !isGood(k.For, v.good.Modules):
		err = s.Disk.Rename(keptPath(s.Dir), AfterTrialPath(s.Dir))
	default:
		err = s.Disk.RemoveAll(keptPath(s.Dir))
	}
	if err != nil {
		s.say("what the settings were before the trial: %v", err)
	}
}

// handSettings is settleSettings for a trial that was just rolled back, where
// another one may run on.
func (s *Supervisor) handSettings(tried string) {
	if k, err := readKept(s.Disk, keptPath(s.Dir)); err != nil || k.For != tried {
		return
	}
	if err := s.Disk.Rename(keptPath(s.Dir), AfterTrialPath(s.Dir)); err != nil {
		s.say("what the settings were before the trial: %v", err)
	}
}

func (s *Supervisor) forgetSettings() { os.Remove(keptPath(s.Dir)) }

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
