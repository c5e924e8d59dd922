package agent

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/internal/settings"
)

// unlifted is the error of a migration that err is; nil: it is another.
func unlifted(err error) *settings.MigrationError {
	var e *settings.MigrationError
	errors.As(err, &e)
	return e
}

// tellUnlifted logs that a step to this program's schema failed, after it put a
// copy of the operator's file beside it: who mends the file for this program has
// the old one for going back. The caller holds a.mu.
func (a *Agent) tellUnlifted(instead string) {
	e, kept := a.unlifted, ""
	if path, err := a.keepBeside(e.From); err != nil {
		a.warn("the settings file is not copied", err)
	} else if path != "" {
		kept = ", and a copy is in " + path
	}
	a.emit(event.SettingsNotMigrated, map[string]string{
		"file": a.Settings, "from": strconv.Itoa(e.From), "to": strconv.Itoa(e.To),
		"error": e.Err.Error(), "instead": instead, "kept": kept,
	})
}

// keepBeside copies the settings file to one beside it, with its owner and
// mode; "" where this process may not, since another is the service's.
func (a *Agent) keepBeside(version int) (string, error) {
	if a.lock == nil && a.place == nil {
		return "", nil
	}
	st, err := os.Stat(a.Settings)
	if err != nil {
		return "", err
	}
	text, err := settings.ReadText(a.Settings)
	if err != nil {
		return "", err
	}
	path := fmt.Sprintf("%s.of-version-%d", a.Settings, version)
	if err := a.Disk.WriteFile(path, text, st.Mode().Perm()); err != nil {
		return "", err
	}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 {
		err = os.Chown(path, int(sys.Uid), int(sys.Gid))
	}
	return path, err
}
