package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"
	"strings"

	"github.com/freshet/freshet/internal/settings"
)

// tidyEnrolment removes what enrolments left beside the settings: files half
// written, and roots of trust that the settings do not name any more. It is for
// the moment at which an enrolment ends, and may be repeated.
func (a *Agent) tidyEnrolment(e *enrolment) {
	mine := []string{e.RootFile}
	// Who judges modules writes the settings back at the end of a trial.
	if sup := a.supervised(); sup == nil || sup.Trial == nil {
		path := a.Settings
		if real, err := filepath.EvalSymlinks(path); err == nil {
			path = real
		}
		mine = append(mine, path)
	}
	for _, written := range mine {
		if err := a.Disk.ReapFile(written); err != nil {
			a.warn("a file that was half written stays", err)
		}
	}
	s, err := settings.Load(a.Settings)
	if err != nil {
		return // which root is in force cannot be known
	}
	roots, _ := filepath.Glob(filepath.Join(filepath.Dir(a.Settings), "root-*.json")) // the pattern is right
	for _, file := range roots {
		if file == s.Root || !madeByEnrolling(file) {
			continue
		}
		if err := a.Disk.RemoveAll(file); err != nil {
			a.warn("a root of trust that is not in force any more stays", err)
		}
	}
}

// madeByEnrolling says whether the file is as rootFile names one: by its own hash.
func madeByEnrolling(file string) bool {
	data, err := readRoot(file)
	if err != nil {
		return false
	}
	sum := sha256.Sum256(data)
	return strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), "root-"), ".json") == hex.EncodeToString(sum[:])[:12]
}
