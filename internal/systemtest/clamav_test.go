//go:build system

package systemtest_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/freshet/freshet/internal/api"
)

// hdb publishes signatures as the next version of the base hashes.
func (p *publisher) hdb(content string) {
	p.t.Helper()
	path := filepath.Join(p.dir, "in", "hashes.hdb")
	write(p.t, path, content)
	p.run("base", p.repo(), "hashes", path, "--allow-shrink", "a test")
}

// TestClamAVUsesWhatItIsGiven updates a real clamd: what only the new version
// detects is detected when the update is over, and no sooner.
func TestClamAVUsesWhatItIsGiven(t *testing.T) {
	for name, concurrent := range map[string]bool{"loading beside the engine in use": true, "loading in its place": false} {
		t.Run(name, func(t *testing.T) {
			s := newScanner(t, concurrent, map[string]string{"other.hdb": hash("Test.Other", "of another")})
			p := newPublisher(t, released)
			p.hdb(signatures(1, 1000))
			e := s.endpointFor(p, "hashes", "")
			s.wants(eicar(), "")
			t.Log(e.run("update", "--dry-run"))
			e.update(api.Updated)
			s.wants(eicar(), "Test.EICAR")
			s.wants("version 1", "Test.Version.1")
			s.wants("version 2", "")
			s.wants("of another", "Test.Other")
			p.hdb(signatures(2, 1000))
			e.update(api.Updated)
			s.wants("version 1", "")
			s.wants("version 2", "Test.Version.2")
			s.wants("of another", "Test.Other")
			e.run("bases", "rollback", "hashes")
			s.wants("version 1", "Test.Version.1")
			s.wants("version 2", "")
			checkDelivered(t, s.folder())
		})
	}
}

// refuses runs an update and expects that it fails.
func (e *endpoint) refuses() api.Result {
	e.t.Helper()
	var res api.Result
	out, err := e.command("update", "--json").Output()
	if err == nil || json.Unmarshal(out, &res) != nil || res.Outcome != api.Failed || len(res.Bases) != 1 {
		e.t.Fatalf("the update did not fail: %v\n%s", err, out)
	}
	return res
}

// checkDelivered asserts that clamd's folder holds files of its user alone, and
// no links.
func checkDelivered(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range entries {
		st, err := f.Info()
		if err != nil || !st.Mode().IsRegular() || st.Mode().Perm() != 0o644 || links(st) != 1 || owner(st) != owner(mustStat(t, dir)) || strings.HasPrefix(f.Name(), ".") {
			t.Errorf("%s: %v, %v", f.Name(), st, err)
		}
	}
}

// TestClamAVGetsTheVersionBeforeBack gives clamd a list that it cannot load,
// past a clamscan that was told to look elsewhere. Where clamd had freed its
// engine, no RELOAD helps any more.
func TestClamAVGetsTheVersionBeforeBack(t *testing.T) {
	for name, concurrent := range map[string]bool{"one that kept its engine": true, "one that lost it": false} {
		t.Run(name, func(t *testing.T) {
			s := newScanner(t, concurrent, map[string]string{"other.hdb": hash("Test.Other", "of another")})
			write(t, s.path("good/good.hdb"), hash("Test.EICAR", eicar()))
			write(t, s.path("clamscan"), "#!/bin/sh\nshift\nexec clamscan --database="+s.path("good")+" \"$@\"\n")
			sh(t, "chmod", "755", s.path("clamscan"))
			p := newPublisher(t, released)
			p.hdb(signatures(1, 1000))
			e := s.endpointFor(p, "hashes", "")
			text := strings.ReplaceAll(p.readSettings(e), "clamav: {", "clamav: {clamscan: "+s.path("clamscan")+", ")
			write(t, e.path("freshet.yaml"), strings.ReplaceAll(text, "timeout: 2m", "timeout: 20s"))
			e.update(api.Updated)
			p.hdb(strings.Replace(signatures(2, 1000), "\n", "\nno signature\n", 1))
			res := e.refuses()
			t.Log(res.Bases[0].Error)
			s.wants("version 1", "Test.Version.1")
			s.wants(eicar(), "Test.EICAR")
			s.wants("of another", "Test.Other")
			if st := e.status(); st.Bases[0].Version != 1 {
				t.Errorf("version %d", st.Bases[0].Version)
			}
			e.update(api.NothingNew) // it is held back
			p.hdb(signatures(3, 1000))
			e.update(api.Updated)
			s.wants("version 3", "Test.Version.3")
		})
	}
}

// TestClamAVThatHangsHoldsNobodyUp stops clamd in the middle of its life.
func TestClamAVThatHangsHoldsNobodyUp(t *testing.T) {
	s := newScanner(t, true, map[string]string{"other.hdb": hash("Test.Other", "of another")})
	p := newPublisher(t, released)
	p.hdb(signatures(1, 1000))
	e := s.endpointFor(p, "hashes", "")
	write(t, e.path("freshet.yaml"), strings.ReplaceAll(p.readSettings(e), "timeout: 2m", "timeout: 20s"))
	e.update(api.Updated)
	s.d.signal(syscall.SIGSTOP)
	p.hdb(signatures(2, 1000))
	res := e.update(api.Updated) // that it hangs is not the version's fault
	if !strings.Contains(strings.Join(res.Notes, "\n"), "took failed") {
		t.Errorf("nobody is told: %+v", res)
	}
	s.d.signal(syscall.SIGCONT)
	e.run("update") // and tells it what it missed
	s.wants("version 2", "Test.Version.2")
}

// TestClamAVThatIsNotThereReadsTheVersionWhenItStarts delivers to the folder
// of a clamd that does not run.
func TestClamAVThatIsNotThereReadsTheVersionWhenItStarts(t *testing.T) {
	s := newScanner(t, true, map[string]string{"other.hdb": hash("Test.Other", "of another")})
	s.d.stop()
	p := newPublisher(t, released)
	p.hdb(signatures(1, 1000))
	e := s.endpointFor(p, "hashes", "")
	e.update(api.Updated)
	s.start()
	s.wants("version 1", "Test.Version.1")
	// Somebody tampers with what was delivered while the machine is off.
	write(t, filepath.Join(s.folder(), "hashes.hdb"), hash("Test.Tampered", "tampered"))
	s.d.stop()
	d := e.listening()
	s.start()
	s.wants("version 1", "Test.Version.1")
	s.wants(eicar(), "Test.EICAR")
	d.stop()
}

// TestYARARules has a real yarac compile what is delivered, and refuse what
// does not compile or detects the shell.
func TestYARARules(t *testing.T) {
	needsRoot(t)
	yarac := needsProgram(t, "yarac", "yara")
	yara := needsProgram(t, "yara", "yara")
	rule := func(name, text string) string {
		return "rule " + name + " { strings: $a = \"" + text + "\" condition: $a or filename contains \"" + text + "\" }\n"
	}
	p := newPublisher(t, released)
	publish := func(rules string) {
		t.Helper()
		dir := filepath.Join(p.dir, "rules")
		write(t, filepath.Join(dir, "a/one.yar"), rules)
		write(t, filepath.Join(dir, "b/two.yara"), rule("Same", "zqxj-two")) // a name may stand in two files
		p.run("base", p.repo(), "rules", dir, "--allow-shrink", "a test", "--allow", "a test")
	}
	for name, row := range map[string]struct{ yarac, more, file string }{
		"compiled":                {yarac, "compiled: true, ", "rules.yac"},
		"by their sources":        {yarac, "", "a/one.yar"},
		"where there is no yarac": {"/nonexistent/yarac", "", "a/one.yar"},
	} {
		t.Run(name, func(t *testing.T) {
			p.t = t
			to := folder(t)
			bad := filepath.Join(folder(t), "bad")
			write(t, bad, "this is zqxj-evil zqxj-indeed")
			publish(rule("Same", "zqxj-evil"))
			e := newEndpoint(t, p, p.repo())
			write(t, e.path("freshet.yaml"), p.readSettings(e)+"bases:\n  - name: rules\n    engine: yara\n    deliver: {to: "+to+"}\n"+
				"    samples: {detect: ["+bad+"]}\n    yara: {"+row.more+"yarac: "+row.yarac+"}\n")
			e.update(api.Updated)
			path := filepath.Join(to, row.file)
			found := func() string {
				args := []string{path, bad}
				if row.more != "" {
					args = append([]string{"-C"}, args...)
				} else {
					args = append([]string{"-d", "filename=x"}, args...)
				}
				return sh(t, yara, args...)
			}
			if got := found(); got != "Same "+bad+"\n" {
				t.Errorf("what was delivered finds %q", got)
			}
			for what, rules := range map[string]string{
				"rules that do not compile":          "rule Broken { condition: nonsense }",
				"a rule that detects the shell":      rule("Same", "zqxj-evil") + "rule All { condition: filesize > 0 }",
				"rules that miss what they must not": rule("Same", "zqxj-other"),
				"a file that only root may read":     "include \"/etc/shadow\"\n" + rule("Same", "zqxj-evil"),
			} {
				publish(rules)
				res := e.refuses()
				t.Logf("%s: %s", what, res.Bases[0].Error)
				if strings.Contains(res.Bases[0].Error, "root:") {
					t.Errorf("it tells what root alone may read")
				}
				if got := found(); got != "Same "+bad+"\n" {
					t.Errorf("%s: what is delivered finds %q", what, got)
				}
			}
			publish(rule("Same", "zqxj-evil") + rule("More", "zqxj-indeed"))
			e.update(api.Updated)
			if got := found(); !strings.Contains(got, "More ") {
				t.Errorf("what was delivered finds %q", got)
			}
		})
	}
}
