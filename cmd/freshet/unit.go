package main

import (
	_ "embed"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/freshet/freshet/internal/settings"
)

//go:embed freshet.service
var unitTemplate string

// unit is what a systemd unit of the agent depends on.
type unit struct {
	Program string   // absolute path
	Launch  string   // absolute path of the launcher; "": Program is its own
	Args    []string // its flags
	Write   []string // folders, besides its own, that the agent writes to
}

// enginesFolders are where known engines keep bases; the agent may be told to
// deliver there.
var enginesFolders = []string{"/var/lib/clamav", "/var/lib/suricata", "/etc/suricata/rules", "/run/xtables.lock"}

// unitOf is the unit for the flags and the folders that the settings deliver
// to; s may be nil.
func unitOf(program string, o *options, s *settings.Settings) unit {
	// Enrolling writes the settings.
	u := unit{Program: program, Write: append([]string{filepath.Dir(o.config)}, enginesFolders...)}
	for _, f := range []struct{ flag, value, usual string }{
		{"--config", o.config, defaultConfig},
		{"--state-dir", o.stateDir, defaultStateDir},
		{"--socket", o.socket, defaultSocket},
	} {
		if f.value != f.usual {
			u.Args = append(u.Args, f.flag, f.value)
		}
	}
	if o.stateDir != defaultStateDir {
		u.Write = append([]string{o.stateDir}, u.Write...)
	}
	if o.socket != defaultSocket {
		u.Write = append([]string{o.runtime()}, u.Write...)
	}
	if s == nil {
		return u
	}
	if filepath.IsAbs(s.Log.To) {
		u.Write = append(u.Write, filepath.Dir(s.Log.To))
	}
	if s.Metrics != nil && s.Metrics.File != "" {
		u.Write = append(u.Write, filepath.Dir(s.Metrics.File))
	}
	for _, b := range s.Bases {
		if b.Deliver != nil {
			u.Write = append(u.Write, b.Deliver.To)
		}
	}
	return u
}

// render writes the unit file.
func (u unit) render() (string, error) {
	t, err := template.New("unit").Funcs(template.FuncMap{"word": unitWord, "path": unitPath}).Parse(unitTemplate)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	if err := t.Execute(&out, u); err != nil {
		return "", err
	}
	return out.String(), nil
}

// unitWord quotes s as one word of a command: systemd.service(5), where $ is a
// variable.
func unitWord(s string) string { return quoted(strings.ReplaceAll(s, "$", "$$")) }

// unitPath quotes a path that need not be there: systemd.exec(5).
func unitPath(s string) string { return quoted("-" + s) }

// quoted is one word of a unit file: systemd.syntax(7), and % as in
// systemd.unit(5).
func quoted(s string) string {
	s = strings.NewReplacer(`\`, `\\`, `"`, `\"`, `%`, `%%`, "\n", `\n`).Replace(s)
	if strings.ContainsAny(s, " \t\"'") || s == "" {
		return `"` + s + `"`
	}
	return s
}
