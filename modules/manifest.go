package modules

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/mod/semver"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/rollback"
)

// Agent is the name of the module that is Freshet itself.
const Agent = "agent"

// Bounds of what a manifest says, so that a hostile one cannot fill the memory.
const (
	MaxNotes    = 64 << 10 // bytes
	maxVersion  = 64       // bytes
	maxList     = 256      // programs, bases, arguments, deltas
	maxArgument = 4096     // bytes
)

// About is what the maker of a module says of it, in module.yaml, and what its
// manifest repeats. All paths are below the slot.
type About struct {
	Name     string   `json:"name" yaml:"name"`
	Version  string   `json:"version" yaml:"version"`                       // semantic, without a v and without build metadata
	Platform string   `json:"platform" yaml:"platform"`                     // OS/ARCH as Go names them: linux/amd64
	Programs []string `json:"programs" yaml:"programs"`                     // executable files
	Start    []string `json:"start,omitempty" yaml:"start,omitempty"`       // the command, its first word one of Programs; none: nothing runs
	Health   []string `json:"health,omitempty" yaml:"health,omitempty"`     // a command likewise, that exits with 0 while the module is well
	Endpoint string   `json:"endpoint,omitempty" yaml:"endpoint,omitempty"` // or a URL on this machine that answers with 200 while it is
	Settings int      `json:"settings,omitempty" yaml:"settings,omitempty"` // version of the schema of settings that it reads
	Bases    []string `json:"bases,omitempty" yaml:"bases,omitempty"`       // that it reads
	Agent    string   `json:"agent,omitempty" yaml:"agent,omitempty"`       // least version of the agent
	Firewall string   `json:"firewall,omitempty" yaml:"firewall,omitempty"` // of module agent: iptables or nftables
	Notes    string   `json:"notes,omitempty" yaml:"notes,omitempty"`       // release notes
}

// Release is a release that the publisher keeps whole, to make deltas from.
type Release struct {
	Version string      `json:"version"`
	Image   bases.Image `json:"image"`
	Full    bases.Blob  `json:"full"`
}

// Delta leads from the image of another release to the manifest's own.
type Delta struct {
	From  string     `json:"from"`  // version
	Image bases.Hash `json:"image"` // SHA-256 of the image it starts from
	bases.Blob
}

// Manifest describes the newest release of one line of a module: of one major
// version, for one platform. It is a target of the TUF role "modules", see
// [TargetPath]. Releases are cumulative: from any other one step leads to it, by
// one of its deltas or by the full image. Unknown fields are ignored, so that
// later publishers may add some; the least agent guards what must be understood.
type Manifest struct {
	Type string `json:"type"` // "module"
	About
	Published time.Time   `json:"published"` // UTC, whole seconds
	Image     bases.Image `json:"image"`     // of kind tree
	Full      bases.Blob  `json:"full"`      // a delta from the empty image
	Deltas    []Delta     `json:"deltas,omitempty"`
	Kept      []Release   `json:"kept,omitempty"` // releases before it, newest first; for the publisher
}

// Line is the major version of a release, as "1".
func Line(version string) string { return strings.TrimPrefix(semver.Major("v"+version), "v") }

// TargetPath is where the TUF metadata names the newest release of a line:
// modules/NAME.LINE.OS-ARCH.json.
func TargetPath(name, line, platform string) string {
	return fmt.Sprintf("modules/%s.%s.%s.json", name, line, strings.Replace(platform, "/", "-", 1))
}

var (
	targetForm   = regexp.MustCompile(`^modules/([a-z0-9-]{1,64})\.(0|[1-9][0-9]{0,9})\.([a-z0-9]{1,16})-([a-z0-9]{1,16})\.json$`)
	platformForm = regexp.MustCompile(`^[a-z0-9]{1,16}/[a-z0-9]{1,16}$`)
)

// ParseTarget takes a path apart that [TargetPath] made.
func ParseTarget(path string) (name, line, platform string, ok bool) {
	m := targetForm.FindStringSubmatch(path)
	if m == nil {
		return "", "", "", false
	}
	return m[1], m[2], m[3] + "/" + m[4], true
}

// ParseManifest reads the manifest at the target path. The bytes must already
// have been verified against the signed metadata; what they say is still
// checked for sense, and held against the path that they were signed for.
func ParseManifest(path string, data []byte) (*Manifest, error) {
	name, line, platform, ok := ParseTarget(path)
	if !ok {
		return nil, fmt.Errorf("%q is no path of a module's manifest", path)
	}
	m, err := readManifest(data)
	if err != nil {
		return nil, fmt.Errorf("manifest of module %s: %w", name, err)
	}
	if m.Name != name || Line(m.Version) != line || m.Platform != platform {
		return nil, fmt.Errorf("manifest of module %s: signed for line %s of %s, it is about %s %s for %s", name, line, platform, m.Name, m.Version, m.Platform)
	}
	return m, nil
}

// ReadManifest reads a manifest that was stored by its hash.
func ReadManifest(data []byte) (*Manifest, error) {
	m, err := readManifest(data)
	if err != nil {
		return nil, fmt.Errorf("manifest of a module: %w", err)
	}
	return m, nil
}

func readManifest(data []byte) (*Manifest, error) {
	if len(data) > bases.MaxManifest {
		return nil, fmt.Errorf("it has %d bytes, the most is %d", len(data), bases.MaxManifest)
	}
	var m Manifest
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&m); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("more than one JSON value")
	}
	return &m, m.Check()
}

// Check says what is senseless in m.
func (m *Manifest) Check() error {
	switch {
	case m.Type != "module":
		return fmt.Errorf("type is %q, not \"module\"", m.Type)
	case m.Published.IsZero():
		return errors.New("no time of publication")
	case len(m.Deltas) > maxList || len(m.Kept) > maxList:
		return fmt.Errorf("%d deltas and %d releases before", len(m.Deltas), len(m.Kept))
	}
	if err := m.About.Check(); err != nil {
		return err
	}
	if err := checkContent(m.Image, m.Full); err != nil {
		return err
	}
	for _, d := range m.Deltas {
		if err := CheckVersion(d.From); err != nil {
			return fmt.Errorf("a delta from: %w", err)
		}
		if d.Size <= 0 || d.Image == m.Image.SHA256 {
			return fmt.Errorf("a delta from %s of %d bytes", d.From, d.Size)
		}
	}
	for _, r := range m.Kept {
		if err := CheckVersion(r.Version); err != nil {
			return fmt.Errorf("a release before: %w", err)
		}
		if err := checkContent(r.Image, r.Full); err != nil {
			return fmt.Errorf("release %s: %w", r.Version, err)
		}
	}
	return nil
}

func checkContent(img bases.Image, full bases.Blob) error {
	if img.Kind != bases.KindTree || img.File != "" || img.Size <= 0 {
		return fmt.Errorf("an image of kind %q with %d bytes: a module is a tree", img.Kind, img.Size)
	}
	if full.Size <= 0 {
		return fmt.Errorf("full image of %d bytes", full.Size)
	}
	return nil
}

// CheckVersion says whether v is a version as modules have them.
func CheckVersion(v string) error {
	if len(v) > maxVersion || semver.Canonical("v"+v) != "v"+v {
		return fmt.Errorf("%.80q is no version: use MAJOR.MINOR.PATCH, or that and -PRERELEASE", v)
	}
	return nil
}

// Check says what is senseless in a.
func (a *About) Check() error {
	if err := bases.CheckName(a.Name); err != nil {
		return err
	}
	if err := CheckVersion(a.Version); err != nil {
		return err
	}
	if !platformForm.MatchString(a.Platform) {
		return fmt.Errorf("platform %.80q: use OS/ARCH, as linux/amd64", a.Platform)
	}
	if a.Agent != "" {
		if err := CheckVersion(a.Agent); err != nil {
			return fmt.Errorf("least agent: %w", err)
		}
	}
	if a.Settings < 0 || a.Settings > 1<<20 {
		return fmt.Errorf("settings of version %d", a.Settings)
	}
	if err := a.checkFirewall(); err != nil {
		return err
	}
	if err := errors.Join(a.checkPrograms(), a.checkHealth(), a.checkBases()); err != nil {
		return err
	}
	return checkNotes(a.Notes)
}

func (a *About) checkFirewall() error {
	switch a.Firewall {
	case "":
		return nil
	case "iptables", "nftables":
		if a.Name == Agent {
			return nil
		}
		return fmt.Errorf("firewall: only the module %s has a mechanism", Agent)
	}
	return fmt.Errorf("firewall %.80q: use iptables or nftables", a.Firewall)
}

func (a *About) checkPrograms() error {
	if len(a.Programs) == 0 || len(a.Programs) > maxList {
		return fmt.Errorf("%d programs: name those that it has", len(a.Programs))
	}
	for _, p := range a.Programs {
		if !fs.ValidPath(p) || p == "." || len(p) > maxArgument || strings.ContainsFunc(p, unprintable) {
			return fmt.Errorf("%.80q is no path of a program below the module's folder", p)
		}
	}
	return errors.Join(a.checkCommand("start", a.Start), a.checkCommand("health", a.Health))
}

func (a *About) checkCommand(what string, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if len(args) > maxList {
		return fmt.Errorf("%s: %d words", what, len(args))
	}
	if !slices.Contains(a.Programs, args[0]) {
		return fmt.Errorf("%s: %.80q is none of the programs", what, args[0])
	}
	for _, arg := range args {
		if len(arg) > maxArgument || strings.ContainsRune(arg, 0) || !utf8.ValidString(arg) {
			return fmt.Errorf("%s: %.80q is no argument", what, arg)
		}
	}
	return nil
}

func (a *About) checkHealth() error {
	if a.Endpoint == "" {
		return nil
	}
	if len(a.Health) > 0 {
		return errors.New("health and endpoint ask twice: keep one")
	}
	u, err := url.Parse(a.Endpoint)
	if err != nil || u.Scheme != "http" || u.User != nil || len(a.Endpoint) > maxArgument {
		return fmt.Errorf("endpoint %.80q: use http://127.0.0.1:PORT/PATH", a.Endpoint)
	}
	if ip := net.ParseIP(u.Hostname()); ip == nil || !ip.IsLoopback() || u.Port() == "" {
		return fmt.Errorf("endpoint %.80q: its host is this machine, by number and port: http://127.0.0.1:PORT/PATH", a.Endpoint)
	}
	return nil
}

func (a *About) checkBases() error {
	if len(a.Bases) > maxList {
		return fmt.Errorf("%d bases", len(a.Bases))
	}
	for _, b := range a.Bases {
		if err := bases.CheckName(b); err != nil {
			return fmt.Errorf("bases: %w", err)
		}
	}
	return nil
}

func checkNotes(s string) error {
	if len(s) > MaxNotes {
		return fmt.Errorf("notes of %d bytes, the most is %d", len(s), MaxNotes)
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return unprintable(r) && r != '\n' && r != '\t' }) {
		return errors.New("the notes hold what is no text")
	}
	return nil
}

func unprintable(r rune) bool { return r < 0x20 || r == 0x7f || r >= 0x80 && r < 0xa0 }

// Dir is the name of the slot below modules/NAME/. It carries the content's
// hash, so that no two contents share a slot.
func (m *Manifest) Dir() string {
	return m.Version + "-" + m.Image.SHA256.String()[:12]
}

// Slot is the release as a generation names it. hash is the manifest's own.
func (m *Manifest) Slot(hash bases.Hash) rollback.Slot {
	return rollback.Slot{
		Version: m.Version, Dir: m.Dir(), Image: m.Image.SHA256.String(), Manifest: hash.String(),
		Start: m.Start, Health: m.Health, Endpoint: m.Endpoint,
	}
}
