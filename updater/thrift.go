package updater

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/freshet/freshet/bases"
)

// OnSchedule is the why of a run that no person asked for: it spends bytes
// with more thrift.
const OnSchedule = "on schedule"

// fullPause is how long the schedule does not fetch the full image of a base
// again after it came wrong, or stood in for deltas that failed: a mirror that
// spoils what it gives must not cost a full image an hour.
const fullPause = 6 * time.Hour

// spending is kept for each base whose full image was fetched in vain, or for
// want of a delta, at spent/NAME. It is void when the sources are others. To
// lose it costs a download, so that no error with it stops an update.
type spending struct {
	At      time.Time  `json:"at"`
	Wrong   bool       `json:"wrong,omitempty"` // it came wrong
	Sources bases.Hash `json:"sources"`
}

func (u *Updater) spendingPath(name string) string { return filepath.Join(u.Dir, "spent", name) }

// fullSpent notes that a full image was fetched as spending tells.
func (u *Updater) fullSpent(name string, wrong bool) {
	u.keepNote(name, spending{u.Clock.Now().UTC(), wrong, u.sourcesHash()})
}

// keepNote writes a note under spent/. To lose one stops no update.
func (u *Updater) keepNote(name string, note any) {
	data, err := json.Marshal(note)
	if err == nil && u.Disk.MkdirAll(filepath.Dir(u.spendingPath(name)), 0o755) == nil {
		_ = u.Disk.WriteFile(u.spendingPath(name), data, 0o644)
	}
}

// thrifty says why the schedule does not go the job's way: it is the full
// image, which a short time ago came wrong, or stood in for deltas as it would
// now. way counts the ways that were tried.
func (u *Updater) thrifty(j *job, way int) error {
	if !j.thrifty || len(j.steps) == 0 || j.steps[0].From != 0 {
		return nil
	}
	if checkBlob(u.partPath(j.manifest.Full), j.manifest.Full) == nil {
		return nil // it is there
	}
	return u.spentLately(j.name, way)
}

// spentLately says why the full image of what is called name is not fetched
// again yet; way counts the ways that were tried.
func (u *Updater) spentLately(name string, way int) error {
	var s spending
	data, err := os.ReadFile(u.spendingPath(name))
	if err != nil || json.Unmarshal(data, &s) != nil || s.Sources != u.sourcesHash() || !s.Wrong && way == 1 {
		return nil
	}
	now := u.Clock.Now()
	until := s.At.Add(fullPause)
	if now.Before(s.At) || !now.Before(until) {
		_ = u.Disk.RemoveAll(u.spendingPath(name))
		return nil
	}
	return fmt.Errorf("its full image was fetched at %s because what the sources gave was wrong, and is not fetched again before %s; freshet update does so at once", stamp(s.At), stamp(until))
}

func (u *Updater) sourcesHash() bases.Hash {
	var names []string
	for _, s := range u.Sources {
		names = append(names, s.Name())
	}
	return sha256.Sum256([]byte(strings.Join(names, "\n")))
}

// dropStale removes broken downloads of what is no longer on offer: a mirror
// that dies half way each hour must not fill the disk.
func (u *Updater) dropStale(s *survey) {
	u.dropBroken()
	offered := map[string]bool{}
	for _, j := range s.jobs {
		var unknown *unknownError
		if errors.As(j.err, &unknown) {
			continue // it is not on offer
		}
		if j.manifest == nil {
			return // what it wants is not known
		}
		if j.held != "" || j.err == nil && len(j.steps) == 0 {
			continue // nothing of it is wanted
		}
		for _, b := range j.blobs() {
			offered[b.SHA256.String()+".part"] = true
		}
	}
	for _, m := range u.availableManifests() {
		if _, err := os.Lstat(u.slotDir(m.Name, m.Dir())); err == nil {
			continue
		}
		for _, b := range moduleBlobs(m) {
			offered[b.SHA256.String()+".part"] = true
		}
	}
	parts, _ := filepath.Glob(filepath.Join(u.tmp(), "*.part"))
	for _, path := range parts {
		if !offered[filepath.Base(path)] {
			os.Remove(path)
		}
	}
}

// dropParts removes what was downloaded for jobs that are done with, durably: a
// power cut must not bring it back for a week. Until a version is in use or
// refused they stay: it may be that it has to be made of them again.
func (u *Updater) dropParts(done ...*job) error {
	for _, j := range done {
		for _, b := range j.blobs() {
			if _, err := os.Lstat(u.partPath(b)); err != nil {
				continue
			}
			if err := u.Disk.RemoveAll(u.partPath(b)); err != nil {
				return err
			}
		}
	}
	return nil
}

// blobs lists all that a job may fetch.
func (j *job) blobs() []bases.Blob {
	list := []bases.Blob{j.manifest.Full}
	if j.ways == nil {
		return list
	}
	for _, s := range j.ways.edges {
		list = append(list, s.Blob)
	}
	return list
}

func (u *Updater) partPath(b bases.Blob) string {
	return filepath.Join(u.tmp(), b.SHA256.String()+".part")
}

// settle ends the obtaining of a version: with err, or nil. way counts the
// ways that were tried, of which the last is in j.steps.
func (u *Updater) settle(j *job, way int, err error) error {
	full := len(j.steps) > 0 && j.steps[0].From == 0
	if wrong := errors.Is(err, errNotSigned); full && (wrong || way > 1 && err == nil) {
		u.fullSpent(j.name, wrong)
	}
	var applied *applyError
	if full && errors.As(err, &applied) {
		// The very bytes that were signed for the version do not make it:
		// fetching them again would not help.
		err = &refusedError{err}
	}
	var refused *refusedError
	if errors.As(err, &refused) {
		return errors.Join(err, u.dropParts(j))
	}
	return err
}
