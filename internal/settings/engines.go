package settings

import (
	"time"

	"go.yaml.in/yaml/v3"
)

// Engines are the engines that the agent knows how to serve without commands.
func Engines() []string { return []string{EngineClamAV, EngineYARA} }

// Names of engines.
const (
	EngineClamAV = "clamav"
	EngineYARA   = "yara"
)

// ClamAV says where a clamd is. The defaults are those of Debian's packages.
type ClamAV struct {
	Socket  string   `yaml:"socket" json:"socket" public:"yes"`            // absolute path of clamd's LocalSocket
	Config  string   `yaml:"config" json:"config" public:"yes"`            // absolute path of clamd.conf, read for ConcurrentDatabaseReload alone
	Restart []string `yaml:"restart,flow" json:"restart" public:"program"` // command that starts clamd anew when RELOAD cannot mend it
	Scanner string   `yaml:"clamscan" json:"clamscan" public:"yes"`        // absolute path
	User    string   `yaml:"user,omitempty" json:"user" public:"yes"`      // whom clamscan runs as if the agent is root
}

// YARA says how rules are compiled and handed on.
type YARA struct {
	Compiler string `yaml:"yarac" json:"yarac" public:"yes"`         // absolute path
	Scanner  string `yaml:"yara" json:"yara" public:"yes"`           // absolute path
	User     string `yaml:"user,omitempty" json:"user" public:"yes"` // whom both run as if the agent is root
	Compiled bool   `yaml:"compiled" json:"compiled"`                // deliver one compiled file in place of the sources
}

// Samples are what an engine must detect with a version, and what it must not.
type Samples struct {
	Detect []string `yaml:"detect,omitempty,flow" json:"detect,omitempty" public:"yes"` // absolute paths of files
	Pass   []string `yaml:"pass,omitempty,flow" json:"pass,omitempty" public:"yes"`     // besides some programs of the host itself
	EICAR  bool     `yaml:"eicar" json:"eicar"`                                         // the EICAR test file must be detected
}

const clamdTimeout = 5 * time.Minute // a full set of signatures takes a slow machine minutes to load

// watched says whether there is anything to watch the engine by.
func (b Base) watched() bool { return b.Health != nil || b.Engine == EngineClamAV }

// engineNodes are what can be read once the engine is known.
type engineNodes struct{ deliver, clamav, yara, samples *yaml.Node }

// engine sets what goes with the engine of b.
func (d *decoder) engine(n *yaml.Node, b *Base, what string, from engineNodes) {
	switch b.Engine {
	case EngineClamAV:
		b.Timeout = Duration(clamdTimeout)
		b.Deliver = &Deliver{To: "/var/lib/clamav", Owner: "clamav", Group: "clamav", Mode: 0o644}
		b.ClamAV = d.clamav(from.clamav, what+".clamav")
	case EngineYARA:
		b.YARA = d.yara(from.yara, what+".yara")
	}
	if b.Engine != "" {
		b.Samples = d.samples(from.samples, what+".samples", b.Engine == EngineClamAV)
	}
	if from.deliver != nil {
		b.Deliver = d.deliver(from.deliver, what+".deliver", b.Deliver)
	}
	if from.clamav != nil && b.ClamAV == nil {
		d.problem(n.Line, "%s: clamav goes with engine: clamav", what)
	}
	if from.yara != nil && b.YARA == nil {
		d.problem(n.Line, "%s: yara goes with engine: yara", what)
	}
	if from.samples != nil && b.Engine == "" {
		d.problem(n.Line, "%s: samples go with an engine, one of clamav and yara", what)
	}
}

func (d *decoder) clamav(n *yaml.Node, what string) *ClamAV {
	v := &ClamAV{
		Socket: "/run/clamav/clamd.ctl", Config: "/etc/clamav/clamd.conf", User: "clamav", Scanner: "/usr/bin/clamscan",
		Restart: []string{"/usr/bin/systemctl", "restart", "clamav-daemon.service"},
	}
	if n == nil {
		return v
	}
	d.mapping(n, what, fields{
		"socket":   d.str(&v.Socket, what+".socket", absolute),
		"config":   d.str(&v.Config, what+".config", absolute),
		"restart":  d.command(&v.Restart, what+".restart"),
		"clamscan": d.str(&v.Scanner, what+".clamscan", absolute),
		"user":     d.str(&v.User, what+".user", account),
	})
	return v
}

func (d *decoder) yara(n *yaml.Node, what string) *YARA {
	v := &YARA{Compiler: "/usr/bin/yarac", Scanner: "/usr/bin/yara", User: "nobody"}
	if n == nil {
		return v
	}
	d.mapping(n, what, fields{
		"yarac":    d.str(&v.Compiler, what+".yarac", absolute),
		"yara":     d.str(&v.Scanner, what+".yara", absolute),
		"user":     d.str(&v.User, what+".user", account),
		"compiled": d.boolean(&v.Compiled, what+".compiled"),
	})
	return v
}

func (d *decoder) samples(n *yaml.Node, what string, eicar bool) *Samples {
	v := &Samples{EICAR: eicar}
	if n == nil {
		return v
	}
	d.mapping(n, what, fields{
		"detect": d.paths(&v.Detect, what+".detect"),
		"pass":   d.paths(&v.Pass, what+".pass"),
		"eicar":  d.boolean(&v.EICAR, what+".eicar"),
	})
	return v
}

func (d *decoder) paths(to *[]string, what string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		d.list(n, what, func(_ int, n *yaml.Node) {
			var path string
			d.str(&path, what, absolute)(n)
			*to = append(*to, path)
		})
	}
}

func (d *decoder) boolean(to *bool, what string) func(*yaml.Node) {
	return func(n *yaml.Node) {
		if n.Decode(to) != nil {
			d.problem(n.Line, "%s: wanted true or false%s", what, alias(n))
		}
	}
}
