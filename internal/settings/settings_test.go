package settings_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/freshet/freshet/internal/settings"
)

func TestDefaultsHoldWhereNothingIsSet(t *testing.T) {
	s, err := settings.Parse("f", []byte("version: 1\n"))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(s, settings.Default()) {
		t.Errorf("%+v", s)
	}
	if b, wanted := s.Base("any"); !wanted || b.Name != "any" || time.Duration(b.Timeout) != time.Minute {
		t.Errorf("base %+v, wanted %v", b, wanted)
	}
}

func TestValuesAreRead(t *testing.T) {
	s, err := settings.Parse("f", []byte(`
version: 1
sources:
  - {url: "https://u:secret@a.example/freshet", proxy: none}
  - url: file:///mnt/stick/
  - {url: http://b.example, proxy: "http://proxy:3128", proxy_credentials: /etc/secret}
  - url: http://c.example
bases:
  - {name: a, health: [/bin/true], deliver: {to: /e, mode: 600}}
  - {name: b, health: [/bin/true], watch: 0s, signal: {pidfile: /run/x.pid}}
  - {name: c, out_of_date: 3d, totally_out_of_date: 168h}
update: {every: 2m, connect_timeout: 0s}
events: {max_bytes: 1MiB}
support:
`))
	if err != nil {
		t.Fatal(err)
	}
	if dir, ok := s.Sources[1].Folder(); !ok || dir != "/mnt/stick" || s.Sources[1].Proxy != "" {
		t.Errorf("folder %q, %v", dir, ok)
	}
	if _, ok := s.Sources[3].Folder(); ok || s.Sources[3].Proxy != "system" {
		t.Errorf("source %+v", s.Sources[3])
	}
	a, b, c := s.Bases[0], s.Bases[1], s.Bases[2]
	if time.Duration(a.Watch) != time.Minute || a.Deliver.Mode != 0o600 || b.Watch != 0 || b.Signal.Signal != "HUP" || c.OutOfDate.String() != "72h" {
		t.Errorf("bases %+v", s.Bases)
	}
	checkEngines(t)
	if s.Update.RandomDelay.String() != "1m" || s.Update.ConnectTimeout.String() != "2m" || s.Events.MaxBytes != 1<<20 {
		t.Errorf("update %+v, events %+v", s.Update, s.Events)
	}
	if _, wanted := s.Base("d"); wanted {
		t.Error("a base that is not listed is wanted")
	}
	shown := s.Redacted()
	if got := shown.Sources[0].URL; got != "https://***@a.example/freshet" {
		t.Errorf("redacted %s", got)
	}
	if !strings.Contains(s.Sources[0].URL, "secret") {
		t.Error("the original is redacted")
	}
}

// checkEngines asserts what the shortest words for known engines mean.
func checkEngines(t *testing.T) {
	t.Helper()
	s, err := settings.Parse("f", []byte("version: 1\nbases: [{name: a, deliver: {to: /db}, engine: clamav}, {name: b, engine: yara}, {name: c, samples: {detect: [/x]}, engine: clamav, timeout: 1m}]"))
	if err != nil {
		t.Fatal(err)
	}
	checkRoundTrip(t, s)
	a, b, c := s.Bases[0], s.Bases[1], s.Bases[2]
	if *a.Deliver != (settings.Deliver{To: "/db", Owner: "clamav", Group: "clamav", Mode: 0o644}) || a.ClamAV.Socket != "/run/clamav/clamd.ctl" || !a.Samples.EICAR ||
		a.Timeout.String() != "5m" || a.Watch.String() != "1m" {
		t.Errorf("clamav: %+v", a)
	}
	if b.Deliver != nil || b.YARA.Compiler != "/usr/bin/yarac" || b.ClamAV != nil || b.Samples.EICAR {
		t.Errorf("yara: %+v", b)
	}
	if c.Deliver.To != "/var/lib/clamav" || !c.Samples.EICAR || len(c.Samples.Detect) != 1 || c.Timeout.String() != "1m" {
		t.Errorf("samples: %+v", c)
	}
}

func TestMetricsMayListenWhereThatIsSaid(t *testing.T) {
	for _, more := range []string{`{listen: "127.0.0.1:9764"}`, `{listen: "[::1]:9764"}`, `{listen: "localhost:1"}`, `{listen: "0.0.0.0:9764", remote: true}`, "{file: /x/f.prom}"} {
		if _, err := settings.Parse("f", []byte("version: 1\nmetrics: "+more)); err != nil {
			t.Errorf("%s: %v", more, err)
		}
	}
}

func TestMistakesAreToldWithTheirLine(t *testing.T) {
	rows := map[string]struct{ yaml, want string }{
		"a misspelt key":                        {"version: 1\nsuorces: []", `f:2: unknown key "suorces": is sources meant?`},
		"a misspelt key further in":             {"version: 1\nupdate:\n  evry: 1h", `f:3: update: unknown key "evry": is every meant?`},
		"a key like no other":                   {"version: 1\nlog: {zzzzzz: 1}", `f:2: log: unknown key "zzzzzz": the keys here are level, to`},
		"a short key like no other":             {"version: 1\nlog: {xx: 1}", `f:2: log: unknown key "xx": the keys here are level, to`},
		"a key half like another":               {"version: 1\nmirror: /a", `f:2: unknown key "mirror": the keys here are bases, disk, events, `},
		"a key twice":                           {"version: 1\nroot: /a\nroot: /b", "f:3: root stands here again, after line 2"},
		"no version":                            {"root: /a", "f:1: version is missing: put version: 1 first"},
		"a version to come":                     {"version: 2", "f:1: version: 2 is newer than this program"},
		"a version that is none":                {"version: one", "f:1: version: wanted a number from 1 to 1"},
		"nothing at all":                        {"", "f: empty: put version: 1 first"},
		"a list":                                {"- a", "f:1: wanted keys and values"},
		"broken YAML":                           {"version: 1\nlog: {to: [", "f:2: no valid YAML"},
		"a second document":                     {"version: 1\n---\nversion: 1", "f:2: a second document"},
		"a tab":                                 {"version: 1\nlog:\n\tto: journal", "no valid YAML"},
		"an alias":                              {"version: 1\nlog: &l {to: journal}\nevents: *l", "f:3: events: wanted keys and values (aliases are not taken"},
		"a list in place of a value":            {"version: 1\nroot: [/a]", "f:2: root: wanted one value"},
		"a value in place of a list":            {"version: 1\nsources: x", "f:2: sources: wanted a list"},
		"a relative path":                       {"version: 1\nroot: root.json", `f:2: root: "root.json" is no absolute path`},
		"a source without URL":                  {"version: 1\nsources:\n  - proxy: none", "f:3: sources[0]: url is missing"},
		"a source that is no URL":               {"version: 1\nsources: [{url: updates.example.org}]", "is no http or https URL, and no absolute path"},
		"a source with a query":                 {"version: 1\nsources: [{url: \"http://x/?a=b\"}]", "has a query"},
		"a password in a wrong URL":             {"version: 1\nsources: [{url: \"ftp://u:secret@x\"}]", "ftp://u:xxxxx@x"},
		"a proxy without scheme":                {"version: 1\nsources: [{url: \"http://x\", proxy: \"host:3128\"}]", "wanted system, none or a URL"},
		"a proxy with a password":               {"version: 1\nsources: [{url: \"http://x\", proxy: \"http://u:secret@p\"}]", "credentials go into a file of mode 0600"},
		"a proxy for a folder":                  {"version: 1\nsources: [{url: /mnt, proxy: system}]", "a folder has no proxy"},
		"a token for a folder":                  {"version: 1\nsources: [{url: /mnt, token: /s}]", "a folder is read without ca, token"},
		"a token and credentials":               {"version: 1\nsources: [{url: \"https://x\", token: /s, credentials: /t}]", "keep one"},
		"a token beside a password":             {"version: 1\nsources: [{url: \"https://u:p@x\", token: /s}]", "credentials already"},
		"a token over plain http":               {"version: 1\nsources: [{url: \"http://x\", token: /s}]", "would go unencrypted"},
		"plain_http without credentials":        {"version: 1\nsources: [{url: \"http://x\", plain_http: true}]", "goes with token or credentials"},
		"a token in the settings themselves":    {"version: 1\nsources: [{url: \"https://x\", token: s3cret}]", "wanted the absolute path of a file of mode 0600"},
		"credentials without a proxy":           {"version: 1\nsources: [{url: \"http://x\", proxy_credentials: /s}]", "go with a proxy given by its URL"},
		"a base without name":                   {"version: 1\nbases: [{}]", "bases[0]: name is missing"},
		"a base by no name":                     {"version: 1\nbases: [{name: ../x}]", "is no name of a base"},
		"a base twice":                          {"version: 1\nbases:\n- name: a\n- name: a", "f:4: bases[1]: base a stands here again"},
		"a command as a line":                   {"version: 1\nbases: [{name: a, try: /bin/true x}]", "bases[0].try: wanted a list"},
		"a command without a path":              {"version: 1\nbases: [{name: a, try: [clamscan]}]", `"clamscan" is no absolute path`},
		"an empty command":                      {"version: 1\nbases: [{name: a, try: []}]", "wanted a program"},
		"a placeholder that was not quoted":     {"version: 1\nbases: [{name: a, try: [/x, {dir}]}]", "bases[0].try: wanted one value"},
		"a misspelt placeholder":                {"version: 1\nbases: [{name: a, try: [/x, \"{verson}\"]}]", "unknown placeholder {verson}: is version meant?"},
		"two ways to tell the engine":           {"version: 1\nbases: [{name: a, took: [/x], signal: {pidfile: /p}}]", "keep one"},
		"an engine that is not known":           {"version: 1\nbases: [{name: a, engine: clamd}]", `"clamd" is not one of clamav, yara`},
		"a part of another engine":              {"version: 1\nbases: [{name: a, engine: yara, clamav: {socket: /s}}]", "clamav goes with engine: clamav"},
		"samples without an engine":             {"version: 1\nbases: [{name: a, samples: {eicar: true}}]", "samples go with an engine"},
		"a sample by no path":                   {"version: 1\nbases: [{name: a, engine: yara, samples: {detect: [x]}}]", "is no absolute path"},
		"an answer that is none":                {"version: 1\nbases: [{name: a, engine: yara, samples: {eicar: maybe}}]", "wanted true or false"},
		"a watch without health":                {"version: 1\nbases: [{name: a, watch: 60s}]", "watch needs a health command"},
		"a signal of no use":                    {"version: 1\nbases: [{name: a, signal: {pidfile: /p, signal: KILL}}]", `"KILL" is not one of HUP, USR1, USR2, TERM`},
		"a signal without pidfile":              {"version: 1\nbases: [{name: a, signal: {}}]", "pidfile is missing"},
		"a delivery to nowhere":                 {"version: 1\nbases: [{name: a, deliver: {owner: x}}]", "bases[0].deliver: to is missing"},
		"a delivery to everywhere":              {"version: 1\nbases: [{name: a, deliver: {to: /}}]", "files are not delivered into /"},
		"a mode that is none":                   {"version: 1\nbases: [{name: a, deliver: {to: /x, mode: rw}}]", `"rw" is no mode as "0644"`},
		"a mode with setuid":                    {"version: 1\nbases: [{name: a, deliver: {to: /x, mode: \"4755\"}}]", "is no mode"},
		"one threshold of two":                  {"version: 1\nbases: [{name: a, out_of_date: 3d}]", "or neither"},
		"thresholds the wrong way round":        {"version: 1\nbases: [{name: a, out_of_date: 3d, totally_out_of_date: 2d}]", "longer than it"},
		"too often":                             {"version: 1\nupdate: {every: 59s}", "update.every: 59s is not from 1m to 720h"},
		"too seldom":                            {"version: 1\nupdate: {every: 31d}", "is not from 1m to 720h"},
		"weeks":                                 {"version: 1\nupdate: {every: 1w0d}", `"1w0d" is no number of days`},
		"a number without unit":                 {"version: 1\nupdate: {every: 60}", `"60" is no duration as 90s`},
		"a delay longer than the pace":          {"version: 1\nupdate: {every: 1m, random_delay: 2m}", "is longer than every"},
		"a connection too long to wait for":     {"version: 1\nupdate: {connect_timeout: 121s}", "is not from 0s to 2m"},
		"a negative time":                       {"version: 1\nupdate: {connect_timeout: -1s}", "is not from 0s to 2m"},
		"a log to nowhere":                      {"version: 1\nlog: {to: syslog}", `"syslog" is not journal, stderr or an absolute path`},
		"a level unknown":                       {"version: 1\nlog: {level: loud}", "is not one of debug, info, warning, error"},
		"a log of events too small":             {"version: 1\nevents: {max_bytes: 1KiB}", `"1KiB" is not from 64KiB to 1024MiB`},
		"a log of events without end":           {"version: 1\nevents: {max_bytes: 99999999999999999999}", "is no size as 4MiB"},
		"a rate below what sources must give":   {"version: 1\nupdate: {bandwidth: 1KiB/s}", `update.bandwidth: "1KiB/s" is not from 16KiB/s to 102400MiB/s`},
		"a rate a minute":                       {"version: 1\nupdate: {bandwidth: 1MiB/min}", "is no rate as 2MiB/s"},
		"a ceiling too low for any base":        {"version: 1\ndisk: {ceiling: 1MiB}", `disk.ceiling: "1MiB" is not from 64MiB to`},
		"metrics nowhere":                       {"version: 1\nmetrics: {}", "metrics: listen or file is missing"},
		"metrics for everyone":                  {"version: 1\nmetrics: {listen: \"0.0.0.0:9764\"}", "listen on 127.0.0.1:PORT, or add remote: true"},
		"metrics on all addresses":              {"version: 1\nmetrics: {listen: \":9764\"}", "is no address and port"},
		"metrics by a name":                     {"version: 1\nmetrics: {listen: \"host.example:9764\"}", "is no address and port"},
		"metrics on no port":                    {"version: 1\nmetrics: {listen: \"127.0.0.1:0\"}", "is no address and port"},
		"metrics in a file that is passed over": {"version: 1\nmetrics: {file: /x/freshet.txt}", "does not end in .prom"},
		"remote without a listener":             {"version: 1\nmetrics: {file: /x/f.prom, remote: true}", "remote goes with listen"},
		"a flag that is none":                   {"version: 1\nmetrics: {listen: \"127.0.0.1:1\", remote: maybe}", "metrics.remote: wanted true or false"},
		"a support text that moves the cursor":  {"version: 1\nsupport: \"\\e[2J\"", "control characters"},
		"a support text of more than one page":  {"version: 1\nsupport: " + strings.Repeat("x", 1025), "more than 1024 bytes"},
		"a key of another kind":                 {"version: 1\n? [a]\n: b", "unknown key"},
		"a file of more than it may have":       {"version: 1\n#" + strings.Repeat("x", settings.MaxSize), "more than 1MiB"},
		"a value that is wrong and not missing": {"version: 1\nsources: [{url: x}]", `f:2: sources[0].url: "x" is no http`},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			s, err := settings.Parse("f", []byte(row.yaml))
			var problems settings.Problems
			if !errors.As(err, &problems) || s != nil {
				t.Fatalf("error %v", err)
			}
			if !strings.Contains(err.Error(), row.want) {
				t.Errorf("error %q, want %q", err, row.want)
			}
			if len(problems) != 1 {
				t.Errorf("%d problems: %v", len(problems), err)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("error with a password: %q", err)
			}
		})
	}
}

func TestAllMistakesAreListedInOrder(t *testing.T) {
	_, err := settings.Parse("f", []byte("version: 1\nlog: {to: x}\nupdate:\n  every: 1s\n  evry: 1\nsources: [{}]\nroot: a\n"))
	var problems settings.Problems
	if !errors.As(err, &problems) || len(problems) != 5 {
		t.Fatalf("error %v", err)
	}
	for i, line := range []int{2, 4, 5, 6, 7} {
		if problems[i].Line != line {
			t.Errorf("problem %v, want line %d", problems[i], line)
		}
	}
	t.Run("but not without end", func(t *testing.T) {
		_, err := settings.Parse("f", []byte("version: 1\nsources: ["+strings.Repeat("{},", 5000)+"]"))
		if !errors.As(err, &problems) || len(problems) != 21 || !strings.Contains(err.Error(), "and 4980 more problems") {
			t.Errorf("%d problems", len(problems))
		}
	})
}

func TestBracesOfAProgramsOwnAreLeft(t *testing.T) {
	_, err := settings.Parse("f", []byte(`{version: 1, bases: [{name: a, try: [/usr/bin/awk, "{print} {x} {}", "${HOME}", "{previous_dir}"]}]}`))
	if err != nil {
		t.Error(err)
	}
}

func TestLoadTellsAMissingFileFromABadOne(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "freshet.yaml")
	if _, err := settings.Load(file); !errors.Is(err, settings.ErrMissing) {
		t.Errorf("error %v", err)
	}
	if _, err := settings.Load(dir); err == nil || errors.Is(err, settings.ErrMissing) {
		t.Errorf("error for a folder %v", err)
	}
	write(t, file, "version: 1\nroot: /x.json\n")
	if s, err := settings.Load(file); err != nil || s.Root != "/x.json" {
		t.Errorf("%+v, %v", s, err)
	}
	if err := os.Chmod(file, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := settings.Load(file); err == nil || !strings.Contains(err.Error(), "chmod go-w "+file) {
		t.Errorf("error %v", err)
	}
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), fs.FileMode(0o644)); err != nil {
		t.Fatal(err)
	}
}

// checkRoundTrip asserts that settings written out are read back the same.
func checkRoundTrip(t *testing.T, s *settings.Settings) {
	t.Helper()
	text, err := yaml.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	again, err := settings.Parse("f", text)
	if err != nil || !reflect.DeepEqual(again, s) {
		t.Errorf("%+v became %+v, %v:\n%s", s, again, err, text)
	}
	text, err = json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var fromJSON settings.Settings
	if err := json.Unmarshal(text, &fromJSON); err != nil || !reflect.DeepEqual(&fromJSON, s) {
		t.Errorf("%+v became %+v, %v:\n%s", s, fromJSON, err, text)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(example(f)))
	f.Add([]byte("version: 1\nsources: [{url: /mnt}, {url: 'http://u:p@x'}]\nbases: [{name: a}]"))
	f.Add([]byte("version: 1\na: &a [*a, *a]\n<<: *a"))
	f.Add([]byte("version: 1\nupdate: {every: 1h0.5s, random_delay: 1ns}\nsupport: \"a\\nb\""))
	f.Add([]byte("{version: !!str 1, bases: [{name: !!binary YQ==, deliver: {to: /\xff}}]}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := settings.Parse("f", data)
		if (s == nil) == (err == nil) {
			t.Fatalf("%v, %v", s, err)
		}
		if err == nil {
			checkRoundTrip(t, s)
		}
	})
}
