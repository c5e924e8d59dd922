package settings_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/freshet/freshet/internal/settings"
)

func TestWhatIsDoneAboutModulesIsSet(t *testing.T) {
	s, err := settings.Parse("f", []byte("version: 1\nmodules: {mode: download-only, notices: off, av: {mode: disabled}, ids: }\n"))
	if err != nil {
		t.Fatal(err)
	}
	checkRoundTrip(t, s)
	want := map[string]string{"av": "disabled", "ids": ""}
	if s.Modules.Mode != settings.ModulesDownloadOnly || s.Modules.Notices != "off" || !maps.Equal(s.Modules.Modes(), want) {
		t.Errorf("%+v", s.Modules)
	}
	if d := settings.Default().Modules; d.Mode != settings.ModulesInstall || d.Notices != "on" || len(d.Each) > 0 {
		t.Errorf("default %+v", d)
	}
}

func TestWhatIsWrongAboutModulesIsToldWithItsLine(t *testing.T) {
	rows := []struct{ name, text, want string }{
		{"an unknown mode", "modules: {mode: sometimes}", "modules.mode"},
		{"an unknown mode of one module", "modules: {av: {mode: never}}", "modules.av.mode"},
		{"a slip in a key", "modules: {mod: disabled}", "is mode meant?"},
		{"a name that is none", "modules: {A V: {mode: disabled}}", "unknown key"},
		{"an unknown key of a module", "modules: {av: {when: now}}", "unknown key"},
		{"a module twice", "modules: {av: {mode: disabled}, av: {mode: disabled}}", "again"},
		{"a list", "modules: [av]", "wanted keys"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			_, err := settings.Parse("f", []byte("version: 1\n"+row.text+"\n"))
			if err == nil || !strings.Contains(err.Error(), row.want) || !strings.Contains(err.Error(), ":2") {
				t.Errorf("%v", err)
			}
		})
	}
}
