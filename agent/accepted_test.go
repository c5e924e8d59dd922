package agent_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/event"
)

// refusal is the one event SettingsRefused since the agent started.
func (s *service) refusal() string {
	s.w.t.Helper()
	var texts []string
	for _, e := range get[api.Events](s, "/v1/events").Events {
		switch e.Code {
		case event.AgentStarted:
			texts = nil
		case event.SettingsRefused:
			texts = append(texts, e.Text)
		}
	}
	if len(texts) != 1 {
		s.w.t.Fatalf("%d times: %q", len(texts), texts)
	}
	return texts[0]
}

func TestAStartOnAWrongFileGoesOnWithTheSettingsAcceptedLast(t *testing.T) {
	w := newWorld(t)
	w.publish("a.example")
	first := w.start().settled()
	w.settings("update: {every: 2h}\n")
	w.eventually("an edit takes effect", func() bool { return first.events(event.SettingsLoaded) == 1 })
	first.stop()
	st, err := os.Stat(filepath.Join(w.stateDir(), "settings.yaml"))
	if err != nil || st.Mode() != 0o600 {
		t.Fatalf("the copy: %v, %v", st, err)
	}

	w.settings("updat: {every: 3h}\n")
	w.publish("a.example", "b.example")
	s := w.start().settled()
	if every := time.Duration(s.update().Every); every != 2*time.Hour {
		t.Errorf("every %s", every)
	}
	if res := s.run(api.TaskUpdate); res.Outcome == api.Failed || s.status().Bases[0].Version != 2 {
		t.Errorf("the service does not update: %+v", res)
	}
	if text := s.refusal(); !strings.Contains(text, "the last accepted ones stay in force") {
		t.Errorf("event %q", text)
	}
	w.settings("update: {every: 4h}\n")
	w.eventually("the mended file takes effect", func() bool {
		return time.Duration(s.update().Every) == 4*time.Hour && s.status().Refused == ""
	})
}

func TestAStartOnAWrongFileWithNothingAcceptedBeforeSaysSo(t *testing.T) {
	w := newWorld(t)
	w.settings("updat: {every: 3h}\n")
	s := w.start().settled()
	if text := s.refusal(); !strings.Contains(text, "nothing is in force but the defaults") {
		t.Errorf("event %q", text)
	}
	if _, err := os.Stat(filepath.Join(w.stateDir(), "settings.yaml")); err == nil {
		t.Error("a copy of what was never accepted")
	}
}

// TestAWrongFileNamedByARelativePathIsToldOnce: the start and the watch speak
// of it in the same words.
func TestAWrongFileNamedByARelativePathIsToldOnce(t *testing.T) {
	w := newWorld(t)
	t.Chdir(w.dir)
	w.settings("updat: {every: 3h}\n")
	a := w.core()
	a.Settings = "freshet.yaml"
	if err := a.Open(); err != nil {
		t.Fatal(err)
	}
	s := w.startOf(a).settled()
	w.settings("upda: {every: 3h}\n")
	w.eventually("another mistake is told", func() bool { return s.events(event.SettingsRefused) > 1 })
	if n := s.events(event.SettingsRefused); n != 2 {
		t.Errorf("told %d times, want once for each mistake", n)
	}
}

func TestAnUpdateByHandSaysWhatIsMissing(t *testing.T) {
	w := newWorld(t)
	w.publish("a.example")
	file := filepath.Join(w.dir, "freshet.yaml")
	w.start().settled().stop() // there is a copy of good settings
	rows := map[string]struct {
		content, text, hint string
		code                api.Code
	}{
		"a wrong file": {"version: 1\nupdat: {}\n", file + `:2: unknown key "updat"`, "settings check " + file, api.SettingsInvalid},
		"no file":      {"", "there is no settings file " + file, "freshet enroll URL --root FILE", api.RunFailed},
		"no source":    {"version: 1\n", "no source is set in " + file, "freshet enroll URL --root FILE", api.RunFailed},
		"no root":      {"version: 1\nsources: [{url: /srv}]\nroot: /nowhere/root.json\n", "no root of trust: open /nowhere/root.json", "put the publisher's metadata/1.root.json at /nowhere/root.json", api.RunFailed},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			os.Remove(file)
			if row.content != "" {
				w.write("freshet.yaml", row.content)
			}
			a := w.core()
			defer a.Close()
			client := api.Local(a.Handler(), api.Caller{UID: os.Geteuid()})
			for method, path := range map[string]string{
				http.MethodPost: fmt.Sprintf("/v1/tasks/%d/start", api.TaskUpdate),
				http.MethodGet:  "/v1/plan",
			} {
				e := api.AsError(client.Do(context.Background(), method, path, nil, nil))
				if e.Code != row.code || !strings.Contains(e.Text, row.text) || !strings.Contains(e.Hint, row.hint) {
					t.Errorf("%s: %s %q, hint %q", path, e.Code, e.Text, e.Hint)
				}
			}
		})
	}
}
