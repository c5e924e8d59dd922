package updater

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/internal/source"
)

// brokenAfter is in how many runs a source fails at one file, by a status of 500
// or more, until the file is taken for one that is not there: another path leads
// around it. Once or twice it may be the source's bad hour.
const brokenAfter = 3

// brokenPrefix begins the names of notes under spent/ that are about files:
// spent/blob.SHA256.
const brokenPrefix = "blob."

// broken is kept for a file that sources failed at, and is void when they are
// others. To lose it costs runs, so that no error with it stops an update.
type broken struct {
	Runs    int        `json:"runs"` // in a row
	At      time.Time  `json:"at"`   // of the last of them
	Sources bases.Hash `json:"sources"`
}

// failedAt says whether err is a source's own failure at a file. 503 may be
// that too, and as likely a busy hour: it counts as long as no time is named.
func failedAt(err error) bool {
	var status *source.StatusError
	var busy *source.RetryError
	return errors.As(err, &status) && status.Broken() ||
		errors.As(err, &busy) && busy.Broken() && busy.After == 0
}

// noteBroken counts a run in which every source that may have a file failed at
// it, and says whether it is taken for one that is not there.
func (u *Updater) noteBroken(b bases.Blob) bool {
	note := u.brokenNote(b)
	if !u.failed[b.SHA256] {
		note.Runs++
		note.At, note.Sources = u.Clock.Now().UTC(), u.sourcesHash()
		u.keepNote(brokenPrefix+b.SHA256.String(), note)
	}
	if u.failed == nil {
		u.failed = map[bases.Hash]bool{}
	}
	u.failed[b.SHA256] = true // the others of this run are no further hour
	return note.Runs >= brokenAfter
}

// brokenNote gives what is kept of a file; the zero value if nothing is.
func (u *Updater) brokenNote(b bases.Blob) broken {
	var note broken
	data, err := os.ReadFile(u.spendingPath(brokenPrefix + b.SHA256.String()))
	if err != nil || json.Unmarshal(data, &note) != nil || note.Sources != u.sourcesHash() {
		return broken{}
	}
	return note
}

// mended drops what is kept of a file that has come after all.
func (u *Updater) mended(b bases.Blob) {
	path := u.spendingPath(brokenPrefix + b.SHA256.String())
	if _, err := os.Lstat(path); err == nil {
		_ = u.Disk.RemoveAll(path)
	}
}

// dropBroken removes notes of files that nothing asked for in a week.
func (u *Updater) dropBroken() {
	list, _ := os.ReadDir(filepath.Join(u.Dir, "spent"))
	for _, e := range list {
		st, err := e.Info()
		if err == nil && strings.HasPrefix(e.Name(), brokenPrefix) && time.Since(st.ModTime()) > keepParts {
			_ = u.Disk.RemoveAll(u.spendingPath(e.Name()))
		}
	}
}
