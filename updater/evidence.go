package updater

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/freshet/freshet/modules"
	"github.com/freshet/freshet/rollback"
)

// maxEvidence is the most bytes of evidence that are kept of one version.
const maxEvidence = 4 << 10

func evidenceName(base string, version int64) string { return fmt.Sprintf("%s-%d.txt", base, version) }

func (u *Updater) evidencePath(base string, version int64) string {
	return filepath.Join(u.Dir, "evidence", evidenceName(base, version))
}

// keepEvidence keeps what an engine's program wrote before it spoke against a
// version, beside the quarantine: the state stays small. That it cannot be kept
// is noted, and holds up no rollback.
func (u *Updater) keepEvidence(base string, version int64, cause error) {
	text := modules.Evidence(cause)
	if text == "" {
		return
	}
	path := u.evidencePath(base, version)
	err := u.Disk.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		err = u.Disk.WriteFile(path, []byte(text), 0o600)
	}
	if err != nil {
		u.note(fmt.Sprintf("what the engine of %s wrote could not be kept: %v", base, err))
	}
}

// Evidence is what the engine's program wrote before a version of a base was
// quarantined: at most 4 KiB, fit to be printed. "" if it wrote nothing, or is not
// to be read. It needs no lock.
func (u *Updater) Evidence(base string, version int64) string {
	f, err := os.Open(u.evidencePath(base, version))
	if err != nil {
		return ""
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxEvidence))
	if err != nil {
		return ""
	}
	return modules.Printable(string(data))
}

// pruneEngines removes evidence of versions that are quarantined no longer, and
// what is open with engines that the settings do not name any more.
func (u *Updater) pruneEngines(st rollback.State) error {
	keep := map[string]bool{}
	for _, w := range st.Quarantine {
		keep[evidenceName(w.Base, w.Version)] = true
	}
	err := u.pruneFiles("evidence", func(name string) bool { return keep[name] })
	if !u.TakeBack { // the settings were not read
		return err
	}
	return errors.Join(err, u.pruneFiles("engines", func(name string) bool {
		_, ok := u.Engines[name[:max(0, len(name)-len(".json"))]]
		return ok
	}))
}

// pruneFiles removes the files of a folder of the state that are not to be kept.
func (u *Updater) pruneFiles(folder string, keep func(name string) bool) error {
	dir := filepath.Join(u.Dir, folder)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !keep(e.Name()) {
			if err := u.Disk.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
