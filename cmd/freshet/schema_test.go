package main_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/settings"
)

// outputs are the schemas of what commands print with --json.
var outputs = map[string]struct {
	title string
	value any
}{
	"status": {"freshet status --json", api.Status{}},
	"events": {"freshet events --json", api.Events{}},
	"bases":  {"freshet bases list --json", api.Bases{}},
	"tasks":  {"freshet task list --json", api.Tasks{}},
	"task":   {"freshet task show ID --json", api.Task{}},
	"plan":   {"freshet update --dry-run --json", api.Plan{}},
	"result": {"freshet update --json", api.Result{}},
}

func TestSchemasInTheDocsAreThoseOfTheCode(t *testing.T) {
	all := map[string]object{"settings": settingsSchema()}
	for name, o := range outputs {
		all[name] = schemaOf(o.title, o.value, false)
	}
	rewrite := flag.Lookup("update").Value.String() == "true"
	for name, schema := range all {
		path := filepath.Join("../../docs/schema", name+".schema.json")
		want, err := json.MarshalIndent(schema, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, '\n')
		if rewrite {
			if err := os.WriteFile(path, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not that of the code (%v): go test ./cmd/freshet -run Schema -args -update", path, err)
		}
		compile(t, name, schema)
	}
}

func compile(t *testing.T, name string, schema object) *jsonschema.Schema {
	t.Helper()
	data, err := json.Marshal(schema)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	if err := c.AddResource(name, doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(name)
	if err != nil {
		t.Fatalf("%s is no schema: %v", name, err)
	}
	return s
}

// TestRealOutputsKeepToTheirSchemas runs commands in the states that an endpoint
// can be in.
func TestRealOutputsKeepToTheirSchemas(t *testing.T) {
	dir := t.TempDir()
	repo := filepath.Join(dir, "repo")
	var down atomic.Bool
	files := http.FileServer(http.Dir(repo))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		r.Header.Del("If-Modified-Since")
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	config := filepath.Join(dir, "freshet.yaml")
	text := fmt.Sprintf("version: 1\nsources: [{url: %s, proxy: none}]\nroot: %s/metadata/1.root.json\nbases: [{name: hosts}, {name: hots}]\n", server.URL, repo)
	list := filepath.Join(dir, "hosts.txt")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(config, text)
	write(list, "a.example\n")
	run := func(args ...string) []byte {
		c := exec.Command(filepath.Join(bin(), args[0]), args[1:]...)
		c.Dir = dir
		c.Env = append(os.Environ(), "FRESHET_CONFIG="+config, "FRESHET_STATE_DIR="+filepath.Join(dir, "state"), "FRESHET_SOCKET="+filepath.Join(dir, "run", "agent.sock"))
		out, _ := c.Output() // a failure has an output too
		return out
	}
	schemas := map[string]*jsonschema.Schema{}
	for name, o := range outputs {
		schemas[name] = compile(t, name, schemaOf(o.title, o.value, true))
	}
	keeps := func(when, name string, args ...string) {
		t.Helper()
		out := run(append([]string{"freshet"}, append(args, "--json")...)...)
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(out))
		if err == nil {
			err = schemas[name].Validate(doc)
		}
		if err != nil {
			t.Errorf("%s, %s: %v\n%s", name, when, err, out)
		}
	}
	everything := func(when string) {
		t.Helper()
		keeps(when, "status", "status")
		keeps(when, "events", "events")
		keeps(when, "bases", "bases", "list")
		keeps(when, "tasks", "task", "list")
		keeps(when, "task", "task", "show", "8")
	}
	everything("before all")
	run("freshet-publish", "init", repo, "--keys", filepath.Join(dir, "keys"))
	run("freshet-publish", "base", repo, "hosts", list)
	keeps("at first", "plan", "update", "--dry-run")
	keeps("at first", "result", "update")
	everything("after the first update, a base missing")
	write(list, "a.example\nb.example\n")
	run("freshet-publish", "base", repo, "hosts", list)
	keeps("later", "plan", "update", "--dry-run")
	keeps("later", "result", "update")
	keeps("a new one", "task", "task", "create", "own", "--at", "03:30", "--on", "mon", "--bases", "hosts", "--limit", "1h", "--random-delay", "5m")
	keeps("a rollback", "result", "task", "start", "7")
	down.Store(true)
	keeps("a failure", "result", "update")
	everything("after a rollback and a failure")
	write(config, "version: 1\nsuorces: []\n")
	everything("with settings that are refused")
}

func TestSettingsSchemaTakesWhatTheAgentTakes(t *testing.T) {
	schema := compile(t, "settings", settingsSchema())
	check := func(text string) error {
		var v any
		if err := yaml.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		return schema.Validate(doc)
	}
	docs, err := os.ReadFile("../../docs/settings.md")
	if err != nil {
		t.Fatal(err)
	}
	var examples []string
	for _, m := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(docs), -1) {
		examples = append(examples, m[1])
	}
	for _, m := range regexp.MustCompile(`(?m)^    version: 1\n(    .*\n)*`).FindAllString(string(docs), -1) {
		examples = append(examples, strings.ReplaceAll(m, "\n    ", "\n")[4:])
	}
	if len(examples) < 2 {
		t.Fatalf("%d examples in the docs", len(examples))
	}
	for _, text := range examples {
		if err := check(text); err != nil {
			t.Errorf("%v\n%s", err, text)
		}
	}
	for text, right := range map[string]bool{
		"version: 1":           true,
		"version: 1\nsources:": true,
		"version: 1\nevents: {max_bytes: 4194304}":                              true,
		"version: 1\nmodules: {mode: disabled, scanner: {mode: download-only}}": true,
		"sources: []":                                        false,
		"version: 1\nsuorces: []":                            false,
		"version: 1\nupdate: {evry: 1h}":                     false,
		"version: 1\nupdate: {every: often}":                 false,
		"version: 1\nsources: [{proxy: none}]":               false,
		"version: 1\nlog: {level: loud}":                     false,
		"version: 1\nbases: [{name: a, deliver: {too: /x}}]": false,
		"version: 1\nmetrics: {listen: [1]}":                 false,
		"version: 1\nbases: [{name: a, try: /bin/true}]":     false,
	} {
		_, parsed := settings.Parse("f", []byte(text))
		if err := check(text); (err == nil) != right || (parsed == nil) != right {
			t.Errorf("%q: the schema says %v, the agent %v", text, err, parsed)
		}
	}
}
