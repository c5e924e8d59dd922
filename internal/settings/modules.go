package settings

import (
	"maps"
	"slices"

	"go.yaml.in/yaml/v3"
)

// Modes of updating modules.
const (
	ModulesDisabled     = "disabled"
	ModulesDownloadOnly = "download-only"
	ModulesInstall      = "download-and-install"
)

// Modules is what to do about new releases of modules. A module named in it is
// wanted though it is not installed.
type Modules struct {
	Mode    string            `yaml:"mode" json:"mode" public:"yes"`
	Notices string            `yaml:"notices" json:"notices" public:"yes"` // "on" or "off": events tell of available releases
	Each    map[string]Module `yaml:",inline" json:"each,omitempty"`
}

// Module is what to do about one module.
type Module struct {
	Mode string `yaml:"mode,omitempty" json:"mode,omitempty" public:"yes"` // "": as Modules says
}

func modes() []string { return []string{ModulesDisabled, ModulesDownloadOnly, ModulesInstall} }

// modules reads the key modules: its own keys, and each other one the name of
// a module.
func (d *decoder) modules(n *yaml.Node, to *Modules) {
	known := fields{
		"mode":    d.str(&to.Mode, "modules.mode", oneOf(modes())),
		"notices": d.str(&to.Notices, "modules.notices", oneOf([]string{"on", "off"})),
	}
	for i := 0; i+1 < len(n.Content) && n.Kind == yaml.MappingNode; i += 2 {
		name, value := n.Content[i].Value, n.Content[i+1]
		if _, ok := known[name]; ok || baseName(name) != nil {
			continue
		}
		if value.Kind != yaml.MappingNode && !isNull(value) {
			continue // a slip in one of the keys, more likely than a module
		}
		var m Module
		d.mapping(value, "modules."+name, fields{"mode": d.str(&m.Mode, "modules."+name+".mode", oneOf(modes()))})
		if to.Each == nil {
			to.Each = map[string]Module{}
		}
		to.Each[name] = m
		known[name] = func(*yaml.Node) {}
	}
	d.mapping(n, "modules", known)
}

// Modes gives the modes of the modules that are named, "" where none is set.
func (m Modules) Modes() map[string]string {
	all := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(m.Each)) {
		all[name] = m.Each[name].Mode
	}
	return all
}
