package agent

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

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
	path := fmt.Sprintf("%s.of-version-%d", a.Settings, version)
	return path, a.copyFile(a.Settings, path)
}

// copyFile copies a settings file, whatever is in it, with its owner and mode.
func (a *Agent) copyFile(from, to string) error {
	st, err := os.Stat(from)
	if err != nil {
		return err
	}
	text, err := readBytes(from)
	if err != nil {
		return err
	}
	if err := a.Disk.WriteFile(to, text, st.Mode().Perm()&^0o002); err != nil {
		return err
	}
	uid, gid := ownerOf(st)
	return asOwned(to, st.Mode().Perm()&^0o002, uid, gid)
}

func ownerOf(st os.FileInfo) (uid, gid int) {
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		return int(sys.Uid), int(sys.Gid)
	}
	return os.Geteuid(), os.Getegid()
}

// asOwned gives a file an owner, as far as this process may, and a mode.
func asOwned(path string, mode os.FileMode, uid, gid int) error {
	if err := os.Chown(path, uid, gid); err != nil && os.Geteuid() == 0 {
		return err
	}
	return os.Chmod(path, mode)
}

// readBytes reads a settings file whoever may write it; more of it than a
// settings file may have is cut off.
func readBytes(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, settings.MaxSize+1))
}
