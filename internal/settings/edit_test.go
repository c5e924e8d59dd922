package settings_test

import (
	"strings"
	"testing"

	"github.com/freshet/freshet/internal/settings"
)

func TestEnrolmentKeepsTheRestOfTheFile(t *testing.T) {
	const usual = "/etc/freshet/root.json"
	rows := []struct {
		name string
		edit settings.Enrolment
		text string
		want string
	}{
		{"a file that is not there is made", settings.Enrolment{Source: "https://a/b", Root: usual}, "",
			"# Settings of Freshet. Every key is in the manual: man freshet, or docs/settings.md.\nversion: 1\nsources:\n  - url: https://a/b\n"},
		{"comments, order and other keys stay", settings.Enrolment{Source: "/mnt/r", Root: usual, Bases: []string{"b"}},
			"# top\nversion: 1\n\n# of sources\nsources: [] # none yet\n\n# of log\nlog: {to: stderr}   # here\n# end\n",
			"# top\nversion: 1\n\n# of sources\nsources:\n  - url: /mnt/r\n\n# of log\nlog: {to: stderr}   # here\n# end\nbases:\n  - name: b\n"},
		{"a mirror of the same repository goes first", settings.Enrolment{Source: "https://a/b", Root: usual},
			"version: 1\nsources:\n  # near\n  - {url: https://c/d, proxy: none} # mine\n",
			"version: 1\nsources:\n  - url: https://a/b\n  # near\n  - {url: 'https://c/d', proxy: none} # mine\n"},
		{"sources of another repository go", settings.Enrolment{Source: "https://a/b", Alone: true, Root: "/etc/freshet/root-1.json"},
			"version: 1\nsources: [{url: https://c/d}, {url: https://a/b, proxy: none}]\nroot: /x\n",
			"version: 1\nsources:\n  - {url: 'https://a/b', proxy: none}\nroot: /etc/freshet/root-1.json\n"},
		{"what is said of a base stays with it", settings.Enrolment{Source: "/r", Root: usual, Bases: []string{"b", "c"}},
			"version: 1\nsources: [{url: /r}]\nbases:\n  - name: a\n  - name: b # this\n    out_of_date: 1h\n    totally_out_of_date: 2h\n",
			"version: 1\nsources: [{url: /r}]\nbases:\n  - name: b # this\n    out_of_date: 1h\n    totally_out_of_date: 2h\n  - name: c\n"},
		{"nothing to change changes nothing", settings.Enrolment{Source: "/r", Root: usual, Bases: []string{"a"}},
			"version:   1\nsources:   [ {url: /r} ]\nbases: [{name: a}]", "version:   1\nsources:   [ {url: /r} ]\nbases: [{name: a}]"},
		{"a file in one line is laid out anew", settings.Enrolment{Source: "/s", Root: usual},
			"# one\n{version: 1, log: {level: debug}, sources: [{url: /r}]}\n",
			"# one\nversion: 1\nlog: {level: debug}\nsources:\n  - url: /s\n  - {url: /r}\n"},
		{"a last line without an end gets one", settings.Enrolment{Source: "/s", Root: usual}, "version: 1", "version: 1\nsources:\n  - url: /s\n"},
		{"a value that reads like a key is none", settings.Enrolment{Source: "/s", Root: usual}, "version: 1\nsupport: sources\n", "version: 1\nsupport: sources\nsources:\n  - url: /s\n"},
		{"a key without a value takes one", settings.Enrolment{Source: "/s", Root: usual}, "version: 1\nsources:\nlog: {level: debug}\n", "version: 1\nsources:\n  - url: /s\nlog: {level: debug}\n"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			got, changes, err := row.edit.Apply("f.yaml", []byte(row.text))
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != row.want {
				t.Errorf("it is\n%s\nwant\n%s", got, row.want)
			}
			if (len(changes) == 0) != (row.text == row.want) {
				t.Errorf("changes told: %q", changes)
			}
			again, changes, err := row.edit.Apply("f.yaml", got)
			if err != nil || string(again) != string(got) || len(changes) > 0 {
				t.Errorf("again it becomes %q, %q, %v", again, changes, err)
			}
		})
	}
}

func TestEnrolmentRefusesWhatIsWrong(t *testing.T) {
	ok := settings.Enrolment{Source: "/s", Root: "/r"}
	for name, row := range map[string]struct {
		edit settings.Enrolment
		text string
		want string
	}{
		"a file with a mistake":           {ok, "version: 1\nnone: 2\n", "unknown key"},
		"a file of two documents":         {ok, "version: 1\n---\nversion: 1\n", "second document"},
		"a file that ends before the end": {ok, "version: 1\n...\n", "by hand"},
		"a source that is none":           {settings.Enrolment{Source: "ftp://x", Root: "/r"}, "", "no http or https"},
		"a base without a name":           {settings.Enrolment{Source: "/s", Root: "/r", Bases: []string{"A b"}}, "", "no name of a base"},
		"a base named twice":              {settings.Enrolment{Source: "/s", Root: "/r", Bases: []string{"a", "a"}}, "", "twice"},
		"a root of trust of no place":     {settings.Enrolment{Source: "/s", Root: "r"}, "", "absolute"},
	} {
		if _, _, err := row.edit.Apply("f.yaml", []byte(row.text)); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", name, err, row.want)
		}
	}
}

// FuzzEnrolment holds what comes out against what went in, whatever the file.
func FuzzEnrolment(f *testing.F) {
	for _, s := range []string{"", "version: 1", "{version: 1, sources: [{url: /r}]}", "version: 1\nsupport: |\n  #a\n  b\nsources: []\n", "version: 1\nbases: [{name: a}, {name: b}]\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e := settings.Enrolment{Source: "/new", Root: "/new/root.json", Bases: []string{"b"}}
		before, wrong := settings.Parse("f", []byte(text))
		got, _, err := e.Apply("f", []byte(text))
		if err != nil {
			return
		}
		now, err := settings.Parse("f", got)
		if err != nil {
			t.Fatalf("%q became %q: %v", text, got, err)
		}
		if now.Sources[0].URL != e.Source && now.Sources[0].URL != "/new" || now.Root != e.Root || len(now.Bases) != 1 {
			t.Fatalf("%q became %q", text, got)
		}
		if wrong == nil && (now.Support != before.Support || now.Log != before.Log || now.Update != before.Update) {
			t.Fatalf("%q lost something in %q", text, got)
		}
	})
}
