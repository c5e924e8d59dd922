// Package bases says what a base is: a versioned threat database, described
// by a signed manifest, carried as one image, opened from a folder that an
// engine reads.
package bases

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"regexp"
	"time"
	"unicode/utf8"
)

// MaxManifest is the largest manifest in bytes that an agent takes.
const MaxManifest = 256 << 10

// Hash is a SHA-256, in JSON 64 lower-case hexadecimal digits.
type Hash [32]byte

func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText implements encoding.TextMarshaler.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *Hash) UnmarshalText(text []byte) error {
	if len(text) != 64 || bytes.ContainsAny(text, "ABCDEF") {
		return fmt.Errorf("%q is no SHA-256 in lower-case hexadecimal", text)
	}
	_, err := hex.Decode(h[:], text)
	return err
}

// Blob is a file of the repository, found at blobs/SHA256.
type Blob struct {
	Size   int64 `json:"size"`
	SHA256 Hash  `json:"sha256"`
}

// Path is where the repository holds the blob.
func (b Blob) Path() string { return "blobs/" + b.SHA256.String() }

// Kinds of image.
const (
	KindFile = "file" // the image is the file's content
	KindTree = "tree" // the image is a folder, see TreeHeader
)

// Image names the whole content of one version.
type Image struct {
	Kind   string `json:"kind"`
	File   string `json:"file,omitempty"` // KindFile: the file's name
	Size   int64  `json:"size"`
	SHA256 Hash   `json:"sha256"`
}

// Delta leads from the image of version From to the manifest's own.
type Delta struct {
	From int64 `json:"from"`
	Blob
}

// Checks are what a version's content must fulfil before any engine gets it.
type Checks struct {
	MinRecords int64    `json:"min_records,omitempty"`
	MaxShrink  int      `json:"max_shrink,omitempty"` // percent that may go at once; for the publisher
	MustHave   []string `json:"must_have,omitempty"`  // records, whole lines
	MustLack   []string `json:"must_lack,omitempty"`
}

// Manifest describes one version of one base. It is a target of the TUF role
// "bases" at bases/NAME.json. Unknown fields are ignored, so that later
// publishers may add some; Agent guards what an agent must understand.
type Manifest struct {
	Type      string    `json:"type"` // "base"
	Name      string    `json:"name"`
	Version   int64     `json:"version"`   // 1 and up, never reused
	Published time.Time `json:"published"` // UTC, whole seconds
	Image     Image     `json:"image"`
	Full      Blob      `json:"full"` // a delta from the empty image

	// Start is the version that Full leads to, if it is not this one: one of
	// Deltas leads on from there.
	Start *IndexVersion `json:"start,omitempty"`

	Deltas  []Delta    `json:"deltas,omitempty"` // from the newest few versions and Start, newest first
	Index   *Blob      `json:"index,omitempty"`  // an [Index]; for agents further behind
	Records int64      `json:"records"`          // see CountRecords
	Stale   Thresholds `json:"stale"`
	Checks  Checks     `json:"checks,omitzero"`
	Agent   string     `json:"agent,omitempty"` // least agent version
	Notes   string     `json:"notes,omitempty"`
}

// FromStart is the delta that leads on from Start; nil if Full leads to the
// version itself.
func (m *Manifest) FromStart() *Delta {
	if m.Start == nil {
		return nil
	}
	for _, d := range m.Deltas {
		if d.From == m.Start.Version {
			return &d
		}
	}
	return nil
}

// Whole is how many bytes lead to the version from nothing.
func (m *Manifest) Whole() int64 {
	if d := m.FromStart(); d != nil {
		return m.Full.Size + d.Size
	}
	return m.Full.Size
}

// TargetPath is the name of a base's manifest in the TUF metadata.
func TargetPath(name string) string { return "bases/" + name + ".json" }

var nameForm = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)

// CheckName says whether name can name a base or a module.
func CheckName(name string) error {
	if !nameForm.MatchString(name) {
		return fmt.Errorf("%q is no name: use 1 to 64 of a-z, 0-9 and -", name)
	}
	return nil
}

// CheckFileName says whether name can be the file of a [KindFile] image.
func CheckFileName(name string) error {
	if name == "" || name == "." || name == ".." || len(name) > 255 || path.Base(name) != name {
		return fmt.Errorf("%q is no file name", name)
	}
	return checkText(name)
}

func checkText(s string) error {
	if !utf8.ValidString(s) {
		return fmt.Errorf("%q is not UTF-8", s)
	}
	for _, r := range s {
		if r < 0x20 || r == 0x7f {
			return fmt.Errorf("%q has a control character", s)
		}
	}
	return nil
}

// ParseManifest reads a manifest for the base called name. The bytes must
// already have been verified against the signed metadata; what they say is
// still checked for sense.
func ParseManifest(name string, data []byte) (*Manifest, error) {
	var m Manifest
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&m); err != nil {
		return nil, fmt.Errorf("manifest of base %s: %w", name, err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("manifest of base %s: more than one JSON value", name)
	}
	if m.Name != name {
		return nil, fmt.Errorf("manifest of base %s: it names base %q", name, m.Name)
	}
	if err := m.Check(); err != nil {
		return nil, fmt.Errorf("manifest of base %s: %w", name, err)
	}
	return &m, nil
}

// NameIn gives the name that a manifest says it is for.
func NameIn(data []byte) (string, error) {
	var m struct {
		Name string `json:"name"`
	}
	err := json.Unmarshal(data, &m)
	return m.Name, err
}

// Bounds of a manifest's lists, so that a hostile one takes little memory.
const (
	maxDeltas  = 1024
	maxChecked = 4096
)

// Check says what is senseless in m.
func (m *Manifest) Check() error {
	if m.Type != "base" {
		return fmt.Errorf("type is %q, not \"base\"", m.Type)
	}
	if err := CheckName(m.Name); err != nil {
		return err
	}
	if m.Version < 1 {
		return fmt.Errorf("version %d: the first is 1", m.Version)
	}
	if m.Published.IsZero() {
		return fmt.Errorf("no time of publication")
	}
	if err := m.Image.check(); err != nil {
		return err
	}
	if m.Full.Size <= 0 {
		return fmt.Errorf("full image of %d bytes", m.Full.Size)
	}
	for _, d := range m.Deltas {
		if d.Size <= 0 || d.From < 1 || d.From >= m.Version {
			return fmt.Errorf("delta from version %d of %d bytes", d.From, d.Size)
		}
	}
	if m.Start != nil {
		if err := m.Start.check(); err != nil {
			return fmt.Errorf("start: %w", err)
		}
		if m.FromStart() == nil {
			return fmt.Errorf("the full image is that of version %d, from which no delta leads on", m.Start.Version)
		}
	}
	switch {
	case len(m.Deltas) > maxDeltas:
		return fmt.Errorf("%d deltas, the most is %d", len(m.Deltas), maxDeltas)
	case len(m.Checks.MustHave)+len(m.Checks.MustLack) > maxChecked:
		return fmt.Errorf("%d records must be there or lack, the most is %d", len(m.Checks.MustHave)+len(m.Checks.MustLack), maxChecked)
	case len(m.Agent) > 64:
		return fmt.Errorf("the version of the agent that it needs has %d bytes", len(m.Agent))
	}
	if m.Index != nil && m.Index.Size <= 0 {
		return fmt.Errorf("delta index of %d bytes", m.Index.Size)
	}
	if m.Records < 0 {
		return fmt.Errorf("%d records", m.Records)
	}
	return m.Stale.check()
}

func (i Image) check() error {
	switch i.Kind {
	case KindFile:
		if err := CheckFileName(i.File); err != nil {
			return err
		}
	case KindTree:
		if i.File != "" {
			return fmt.Errorf("a tree with the file name %q", i.File)
		}
	default:
		return fmt.Errorf("image of kind %q: this agent knows %q and %q", i.Kind, KindFile, KindTree)
	}
	if i.Size <= 0 {
		return fmt.Errorf("image of %d bytes", i.Size)
	}
	return nil
}

// Dir is the name of the folder that holds the version at the endpoint. It
// carries the content's hash, so that no two contents share a folder.
func (m *Manifest) Dir() string { return DirName(m.Version, m.Image.SHA256) }

// DirName is VERSION-HASH, the hash cut to 12 digits.
func DirName(version int64, image Hash) string {
	return fmt.Sprintf("%d-%s", version, image.String()[:12])
}
