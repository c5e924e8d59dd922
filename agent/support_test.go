package agent_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/freshet/freshet/internal/api"
)

func TestSupportHasWhatHelpsAndNoSecrets(t *testing.T) {
	w := newWorld(t)
	w.publish("a.example", "b.example")
	host := strings.TrimPrefix(w.server.URL, "http://")
	secret := w.write("proxy.secret", "puser:pr0xy-s3cret\n")
	w.write("freshet.yaml", fmt.Sprintf(`version: 1
sources:
  - {url: "http://user:s3cr3t%%26p%%40ss@%s", proxy: none}
  - {url: "http://token-t0ps3cret@127.0.0.1:1/", proxy: "http://127.0.0.1:1", proxy_credentials: %s}
root: %s
support: "see http://x.example/?sig=s1gned&more=1 or http://u:p/w@x.example"
`, host, secret, filepath.Join(w.repo.Dir, "metadata", "1.root.json")))
	s := w.start().settled()
	w.offline()
	s.change(http.MethodPost, fmt.Sprintf("/v1/tasks/%d/start", api.TaskUpdate), nil)
	s.result(api.TaskUpdate)
	// A file that is refused, password and all.
	w.write("freshet.yaml", "version: 1\nsources:\n  - {url: \"ftp://user:s3cr3t&p@ss@x\", proxy: \"http://puser:pr0xy-s3cret@p\"}\n")
	w.eventually("the file is refused", func() bool { return s.status().Refused != "" })

	raw := string(get[json.RawMessage](s, "/v1/support"))
	for _, leak := range []string{"s3cr3t", "pr0xy-s3cret", "puser", "t0ps3cret", "s1gned", "p@ss", "p%40ss"} {
		if i := strings.Index(raw, leak); i >= 0 {
			t.Errorf("%q is in it: …%s…", leak, raw[max(0, i-60):min(len(raw), i+40)])
		}
	}
	var all api.Support
	if err := json.Unmarshal([]byte(raw), &all); err != nil {
		t.Fatalf("what is left is no JSON: %v", err)
	}
	if len(all.Errors) > 0 {
		t.Errorf("could not be read: %q", all.Errors)
	}
	if all.Status == nil || len(all.Status.Bases) != 1 || len(all.Tasks) != 3 || len(all.Events) < 3 ||
		all.Metadata.Versions["timestamp"] == 0 || all.Disk.Bytes == 0 || all.State == nil || all.Version.Version != "1.2.3" {
		t.Errorf("it lacks something: %s", raw)
	}
	if n := len(all.Generations.([]any)); n != 1 {
		t.Errorf("%d generations", n)
	}
}

func TestSupportTellsWhatCannotBeRead(t *testing.T) {
	w := newWorld(t)
	s := w.start()
	w.eventually("the first update ends", func() bool { return s.update().Last != nil })
	w.write("freshet.yaml", "version: 1\nroot: /nowhere/root.json\n")
	w.eventually("the settings are in force", func() bool { return len(s.status().Sources) == 0 })
	all := get[api.Support](s, "/v1/support")
	if len(all.Errors) == 0 || !strings.Contains(strings.Join(all.Errors, " "), "/nowhere/root.json") {
		t.Errorf("errors %q", all.Errors)
	}
}
