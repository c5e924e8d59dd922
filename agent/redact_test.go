package agent_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/freshet/freshet/agent"
	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/event"
)

// TestSecretsAreShownToThoseAloneWhoMayChangeThings asks each route that everyone
// may ask, after the settings' secrets went into errors and events.
func TestSecretsAreShownToThoseAloneWhoMayChangeThings(t *testing.T) {
	w := newWorld(t)
	w.publish("a.example")
	w.write("freshet.yaml", fmt.Sprintf(`version: 1
sources:
  - {url: %s, proxy: none}
  - {url: "http://user:pass-w0rd@127.0.0.1:1/", proxy: none}
root: %s
bases:
  - name: hosts
    took: [/bin/sh, -c, "echo the t00k-s3cret is $1; exit 1", sh, t00k-s3cret]
    try: [/bin/sh, -c, "! grep -q bad $FRESHET_DIR/hosts.txt || { echo 'line of 0utput-s3cret \"quoted\"'; exit 1; }", --token=arg-s3cret]
`, w.server.URL, filepath.Join(w.repo.Dir, "metadata", "1.root.json")))
	core := w.core()
	s := w.startOf(core).settled()
	w.publish("bad.example")
	s.change(http.MethodPost, fmt.Sprintf("/v1/tasks/%d/start", api.TaskUpdate), nil)
	s.result(api.TaskUpdate)
	w.eventually("the refusal is told", func() bool { return s.events(event.BaseRefused) > 0 && s.events(event.EngineFailed) > 0 })
	// A file that is refused for what it says.
	w.write("freshet.yaml", "version: 1\nbases:\n  - {name: hosts, took: file-s3cret}\n")
	w.eventually("the file is refused", func() bool { return s.status().Refused != "" })

	secrets := []string{"pass-w0rd", "t00k-s3cret", "0utput-s3cret", "arg-s3cret", "file-s3cret", "grep -q bad"}
	handler := core.Handler()
	all := ""
	for _, r := range agent.Routes() {
		if r.Changes || r.Method != http.MethodGet {
			continue
		}
		path := strings.NewReplacer("{id}", "6", "{name}", "hosts").Replace(r.Path)
		for who, caller := range map[string]api.Caller{"a stranger": {UID: 65533, GID: 65533}, "root": {}} {
			var got string
			err := api.Local(handler, caller).Follow(t.Context(), path, func(line []byte) error {
				if !json.Valid(line) {
					t.Errorf("%s of %s: no JSON: %s", path, who, line)
				}
				got += string(line)
				return nil
			})
			if err != nil {
				t.Fatalf("%s of %s: %v", path, who, err)
			}
			if who == "root" {
				all += got
				continue
			}
			for _, secret := range secrets {
				if i := strings.Index(got, secret); i >= 0 {
					t.Errorf("%s shows a stranger %q: …%s…", path, secret, got[max(0, i-80):min(len(got), i+60)])
				}
			}
		}
	}
	for _, shown := range []string{"t00k-s3cret", "0utput-s3cret", "arg-s3cret"} {
		if !strings.Contains(all, shown) {
			t.Errorf("%q is shown to nobody", shown)
		}
	}
	if strings.Contains(all, "pass-w0rd") {
		t.Error("a password in an address is shown")
	}
}

func TestABaseIsShownWithItsEvidence(t *testing.T) {
	w := newWorld(t)
	w.publish("a.example")
	w.settings("bases:\n  - {name: hosts, try: [/bin/sh, -c, \"echo line 7 is wrong; exit 1\"]}\n")
	s := w.start().settled()
	d := get[api.BaseDetail](s, "/v1/bases/hosts/detail")
	if d.Installed != nil || len(d.Held) != 1 || d.Held[0].Evidence != "line 7 is wrong\n" {
		t.Errorf("%+v", d)
	}
	if raw := string(get[json.RawMessage](s, "/v1/support")); !strings.Contains(raw, `"evidence":"line 7 is wrong\n"`) {
		t.Errorf("support lacks it: %s", raw)
	}
	if err := s.Get(t.Context(), "/v1/bases/other/detail", nil); codeOf(err) != api.NoSuchBase {
		t.Errorf("an unknown base: %v", err)
	}
}
