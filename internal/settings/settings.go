// Package settings reads what the operator set: one YAML file, strict in its
// keys and values, of any schema version up to the current one.
package settings

import (
	"net/url"
	"path/filepath"
	"time"
)

// Settings is what is in force: every value is set, by the operator or by
// default. docs/settings.md says what each means.
type Settings struct {
	Version int      `yaml:"version" json:"version"`
	Sources []Source `yaml:"sources,omitempty" json:"sources"` // asked in this order; none: no updates
	Root    string   `yaml:"root" json:"root" public:"yes"`    // absolute path of the pinned root of trust
	Bases   []Base   `yaml:"bases,omitempty" json:"bases"`     // none: every base that the repository offers
	Update  Update   `yaml:"update" json:"update"`
	Import  *Import  `yaml:"import,omitempty" json:"import,omitempty"` // nil: bundles are imported by hand alone
	Log     Log      `yaml:"log" json:"log"`
	Events  Events   `yaml:"events" json:"events"`
	Modules Modules  `yaml:"modules" json:"modules"`
	Disk    Disk     `yaml:"disk" json:"disk"`
	Metrics *Metrics `yaml:"metrics,omitempty" json:"metrics,omitempty"`              // nil: none
	Support string   `yaml:"support,omitempty" json:"support,omitempty" public:"yes"` // shown to operators

	// Firewall is nil where the host's rules are not touched.
	Firewall *Firewall `yaml:"firewall,omitempty" json:"firewall,omitempty"`
}

// Source is a place to get the repository from.
type Source struct {
	URL              string `yaml:"url" json:"url" public:"url"`                                                 // http(s) URL, file URL or absolute path
	Proxy            string `yaml:"proxy,omitempty" json:"proxy,omitempty" public:"url"`                         // "system", "none" or a URL; "" for a folder
	ProxyCredentials string `yaml:"proxy_credentials,omitempty" json:"proxy_credentials,omitempty" public:"yes"` // absolute path, or ""

	CA          string `yaml:"ca,omitempty" json:"ca,omitempty" public:"yes"`      // absolute path of authorities in PEM; "": the system's
	Token       string `yaml:"token,omitempty" json:"token,omitempty"`             // absolute path of a file with a bearer token, or ""
	Credentials string `yaml:"credentials,omitempty" json:"credentials,omitempty"` // of one with user:password, or ""
	PlainHTTP   bool   `yaml:"plain_http,omitempty" json:"plain_http,omitempty"`   // they may go out unencrypted
}

// Folder is the source's folder, if it is one.
func (s Source) Folder() (string, bool) {
	if filepath.IsAbs(s.URL) {
		return filepath.Clean(s.URL), true
	}
	u, err := url.Parse(s.URL)
	if err != nil || u.Scheme != "file" || !filepath.IsAbs(u.Path) {
		return "", false
	}
	return filepath.Clean(u.Path), true
}

// Base is what to do with one base.
type Base struct {
	Name        string   `yaml:"name" json:"name" public:"yes"`
	Engine      string   `yaml:"engine,omitempty" json:"engine,omitempty" public:"yes"`      // one of Engines, or "": what the commands below say
	Deliver     *Deliver `yaml:"deliver,omitempty" json:"deliver,omitempty"`                 // nil: engines read bases/NAME/current
	ClamAV      *ClamAV  `yaml:"clamav,omitempty" json:"clamav,omitempty"`                   // set with engine clamav, and only then
	YARA        *YARA    `yaml:"yara,omitempty" json:"yara,omitempty"`                       // set with engine yara, and only then
	Samples     *Samples `yaml:"samples,omitempty" json:"samples,omitempty"`                 // set with an engine, and only then
	Try         []string `yaml:"try,omitempty,flow" json:"try,omitempty" public:"program"`   // command that may veto a version before the switch
	Took        []string `yaml:"took,omitempty,flow" json:"took,omitempty" public:"program"` // command that tells the engine after the switch
	Signal      *Signal  `yaml:"signal,omitempty" json:"signal,omitempty"`                   // or a signal that does
	Health      []string `yaml:"health,omitempty,flow" json:"health,omitempty" public:"program"`
	HealthEvery Duration `yaml:"health_every" json:"health_every"`
	Watch       Duration `yaml:"watch" json:"watch"`     // how long health is watched after the switch; 0 without health
	Timeout     Duration `yaml:"timeout" json:"timeout"` // of each command but try
	TryTimeout  Duration `yaml:"try_timeout" json:"try_timeout"`

	// Ages at which the base is stale; both 0: as its publisher signed.
	OutOfDate        Duration `yaml:"out_of_date,omitempty" json:"out_of_date,omitempty"`
	TotallyOutOfDate Duration `yaml:"totally_out_of_date,omitempty" json:"totally_out_of_date,omitempty"`
}

// Deliver has the files of a base put into an engine's own folder.
type Deliver struct {
	To    string `yaml:"to" json:"to" public:"yes"`                           // absolute path
	Owner string `yaml:"owner,omitempty" json:"owner,omitempty" public:"yes"` // name or number; "": as they are
	Group string `yaml:"group,omitempty" json:"group,omitempty" public:"yes"`
	Mode  Mode   `yaml:"mode" json:"mode"`
}

// Signal names a process by its pidfile, and the signal that makes it reload.
type Signal struct {
	Pidfile string `yaml:"pidfile" json:"pidfile" public:"yes"` // absolute path
	Signal  string `yaml:"signal" json:"signal" public:"yes"`   // one of Signals
}

// Update is when and how to look for updates.
type Update struct {
	Every          Duration `yaml:"every" json:"every"`
	RandomDelay    Duration `yaml:"random_delay" json:"random_delay"`
	Bandwidth      Rate     `yaml:"bandwidth,omitempty" json:"bandwidth,omitempty"` // of downloads; 0: no limit
	ConnectTimeout Duration `yaml:"connect_timeout" json:"connect_timeout"`         // more than 0, at most 120 s
}

// Import says where bundles are looked for.
type Import struct {
	Watch string `yaml:"watch" json:"watch" public:"yes"` // absolute path of the folder that sticks appear in
}

// Log is where the log goes.
type Log struct {
	To    string `yaml:"to" json:"to" public:"yes"`       // "journal", "stderr" or an absolute path
	Level string `yaml:"level" json:"level" public:"yes"` // one of Levels
}

// Events bounds the log of events.
type Events struct {
	MaxBytes Bytes `yaml:"max_bytes" json:"max_bytes"`
}

// Default is what holds where nothing is set: no sources, so no updates.
func Default() *Settings {
	return &Settings{
		Version: Version,
		Root:    "/etc/freshet/root.json",
		Update: Update{
			Every:          Duration(time.Hour),
			RandomDelay:    Duration(defaultRandomDelay),
			ConnectTimeout: Duration(10 * time.Second),
		},
		Log:    Log{To: "journal", Level: "info"},
		Events: Events{MaxBytes: 4 << 20},

		Modules: Modules{Mode: ModulesInstall, Notices: "on"},
		Disk:    Disk{Ceiling: defaultCeiling},
	}
}

// Base is what to do with the base of a name, and whether it is wanted: with
// no bases in the settings every base is, by default ways.
func (s *Settings) Base(name string) (Base, bool) {
	if len(s.Bases) == 0 {
		return DefaultBase(name), true
	}
	for _, b := range s.Bases {
		if b.Name == name {
			return b, true
		}
	}
	return Base{}, false
}

// DefaultBase is a base of which the name alone is set.
func DefaultBase(name string) Base {
	return Base{Name: name, HealthEvery: Duration(10 * time.Second), Timeout: Duration(time.Minute), TryTimeout: Duration(defaultTryTimeout)}
}
