package agent

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/internal/settings"
)

// acceptedPath is the copy of the settings file that was accepted last, by
// whatever version. It outlives the file: with it a start goes on where the file
// has become wrong.
func (a *Agent) acceptedPath() string { return filepath.Join(a.Dir, "settings.yaml") }

// historyPath is what was accepted before that, for a version that comes back
// and does not understand the newest.
func (a *Agent) historyPath() string { return filepath.Join(a.Dir, "settings-accepted.json") }

// acceptedHistory is what was accepted, the newest first.
type acceptedHistory struct {
	Format int            `json:"format"`
	Keeps  string         `json:"keeps,omitempty"` // SHA-256 of the settings under which nothing is taken away: no operator wrote them
	Texts  []acceptedText `json:"texts"`
}

type acceptedText struct {
	By   string    `json:"by"` // the version that accepted it
	At   time.Time `json:"at"`
	Text []byte    `json:"text"`
}

const (
	historyFormat = 1
	maxHistory    = 16 << 20 // bytes of the file
	keptTexts     = 8        // the newest; older ones only as the newest of a version
	keptVersions  = 4        // of which an older one is kept
)

// with gives the history after a text was accepted.
func (h acceptedHistory) with(now acceptedText) acceptedHistory {
	all := slices.DeleteFunc(slices.Clone(h.Texts), func(t acceptedText) bool { return bytes.Equal(t.Text, now.Text) })
	all = slices.Insert(all, 0, now)
	by := map[string]bool{}
	h.Texts = nil
	for i, t := range all {
		if i < keptTexts || !by[t.By] && len(by) < keptVersions {
			h.Texts = append(h.Texts, t)
		}
		by[t.By] = true
	}
	return h
}

func (h acceptedHistory) has(text []byte) bool {
	return slices.ContainsFunc(h.Texts, func(t acceptedText) bool { return bytes.Equal(t.Text, text) })
}

// keeps says whether nothing is taken away under these settings.
func (h acceptedHistory) keeps(text []byte) bool { return h.Keeps != "" && h.Keeps == hashOf(text) }

func hashOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// errNewer says that a newer version wrote the file, which is left to it.
var errNewer = errors.New("a newer version of Freshet wrote it")

// history reads what was accepted; none is no error.
func (a *Agent) history() (acceptedHistory, error) {
	h := acceptedHistory{Format: historyFormat}
	data, err := a.Disk.ReadFile(a.historyPath(), maxHistory)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.As(err, new(*durable.DamagedError)):
		return h, nil
	case err != nil:
		return h, err
	}
	var read acceptedHistory
	if json.Unmarshal(data, &read) != nil || read.Format < 1 {
		return h, nil // nothing rests on it alone: it begins again
	}
	if read.Format > historyFormat {
		return read, errNewer
	}
	return read, nil
}

func (a *Agent) saveHistory(h acceptedHistory) error {
	data, err := json.Marshal(h)
	if err != nil {
		return err
	}
	// Sources may hold passwords: nobody else reads it.
	return a.Disk.WriteFile(a.historyPath(), data, 0o600)
}

// acceptedTexts lists what may be in force in place of the file, the newest first.
func (a *Agent) acceptedTexts() [][]byte {
	var all [][]byte
	now := a.Clock.Now()
	text, err := a.Disk.ReadFile(a.acceptedPath(), settings.MaxSize)
	if a.left.Note(a.acceptedPath(), err, now); err == nil {
		all = append(all, text)
	}
	h, err := a.history()
	if err != nil && !errors.Is(err, errNewer) {
		a.warn("settings accepted before cannot be read", err)
	}
	for _, t := range h.Texts {
		all = append(all, t.Text)
	}
	return all
}

// accepted is the newest of what was accepted that this version understands;
// false if there is none. Under it nothing is taken away: what the operator
// wants by now it does not say.
func (a *Agent) accepted() (*inForce, bool) {
	return a.firstUsable(a.acceptedTexts())
}

func (a *Agent) firstUsable(texts [][]byte) (*inForce, bool) {
	for _, text := range texts {
		if s, err := settings.Parse(a.acceptedPath(), text); err == nil {
			f := a.forceOf(s, text)
			f.keeps = true
			return f, true
		}
	}
	return nil, false
}

// forceOf is what a settings file means.
func (a *Agent) forceOf(s *settings.Settings, text []byte) *inForce {
	f := a.wire(s)
	f.text = text
	now := a.Clock.Now()
	h, err := a.history()
	a.left.Note(a.historyPath(), err, now)
	f.keeps = h.keeps(text) || durable.Lasting(err) // whether they may take anything away is not known then
	return f
}

// keepAccepted brings the copies up to what is in force. Only who holds the
// state folder writes them; the caller holds a.mu.
func (a *Agent) keepAccepted() {
	if a.lock == nil || !a.force.read() || a.refused != "" {
		return
	}
	text := a.force.text
	h, err := a.history()
	if err == nil && (len(h.Texts) == 0 || !bytes.Equal(h.Texts[0].Text, text) || h.Keeps != "" && !h.keeps(text)) {
		h = h.with(acceptedText{By: a.Version, At: a.Clock.Now().UTC(), Text: text})
		if !h.keeps(text) {
			h.Keeps = "" // an operator's edit
		}
		err = a.saveHistory(h)
	}
	if err != nil {
		a.warn("the accepted settings are not kept for a version that comes back", err)
	}
	if old, err := a.Disk.ReadFile(a.acceptedPath(), settings.MaxSize); err == nil && bytes.Equal(old, text) {
		return
	}
	if err := a.Disk.WriteFile(a.acceptedPath(), text, 0o600); err != nil {
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
