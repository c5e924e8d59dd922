//go:build system

package systemtest_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/api"
)

// damages are what becomes of a list at its publisher, and of a file of the
// repository on its way.
var damages = []struct {
	name   string
	list   func(string) string
	onBlob func(string) string
}{
	{"cut half way, at the end of a line", func(s string) string { return s[:strings.LastIndexByte(s[:len(s)*2/5], '\n')+1] }, cut},
	{"cut half way, within a line", func(s string) string { return s[:strings.LastIndexByte(s[:len(s)*2/5], '\n')-9] }, cut},
	{
		"a malformed line",
		func(s string) string {
			return s[:strings.IndexByte(s, '\n')+1] + garbage + s[strings.IndexByte(s, '\n')+1:]
		},
		func(s string) string { return s[:len(s)/2] + garbage + s[len(s)/2:] },
	},
	{"emptied", func(string) string { return "" }, func(string) string { return "" }},
	{
		"one bit flipped, in a hash",
		func(s string) string {
			i := strings.Index(s, ":68:Test.EICAR") - 1
			for s[i] > '9' { // so that it is a hash all the same
				i--
			}
			return s[:i] + string(s[i]^1) + s[i+1:]
		},
		func(s string) string { return s[:len(s)/2] + string([]byte{s[len(s)/2] ^ 1}) + s[len(s)/2+1:] },
	},
}

const garbage = "<html>502 Bad Gateway</html>\n"

func cut(s string) string { return s[:len(s)*2/5] }

// TestDamagedListsBesideFreshclam gives the same damaged lists to freshclam
// with clamd and to Freshet with clamd. It prints what each makes of them, and
// asserts that with Freshet clamd goes on with the whole list it had.
func TestDamagedListsBesideFreshclam(t *testing.T) {
	needsRoot(t)
	needsProgram(t, "freshclam", "clamav-freshclam")
	theirs := newFreshclam(t)
	ours := newScanner(t, true, map[string]string{"other.hdb": hash("Test.Other", "of another")})
	p := newPublisher(t, released)
	p.hdb(signatures(1, 1000))
	e := ours.endpointFor(p, "hashes", "")
	e.update(api.Updated)
	rows := []string{"| the list | freshclam, then clamd | Freshet, damaged on its way | Freshet, signed so by its publisher |", "| --- | --- | --- | --- |"}
	for i, d := range damages {
		list := d.list(signatures(2, 1000))
		rows = append(rows, fmt.Sprintf("| %s | %s | %s | %s |", d.name, theirs.takes(list), onTheWay(e, p, ours, i+2), signedSo(e, p, ours, list)))
	}
	t.Log("\n" + strings.Join(rows, "\n"))
}

// onTheWay publishes a good list, damages each new blob of a mirror, and says
// what comes of it.
func onTheWay(e *endpoint, p *publisher, s *scanner, version int) string {
	p.t.Helper()
	p.hdb(signatures(100+version, 1000))
	mirror := filepath.Join(folder(p.t), "mirror")
	sh(p.t, "cp", "-a", p.repo(), mirror)
	blobs, err := filepath.Glob(filepath.Join(mirror, "blobs", "*"))
	if err != nil || len(blobs) == 0 {
		p.t.Fatalf("%d blobs, %v", len(blobs), err)
	}
	for _, blob := range blobs {
		data, err := os.ReadFile(blob)
		if err != nil {
			p.t.Fatal(err)
		}
		damaged := damages[version-2].onBlob(string(data))
		if string(data) == damaged {
			p.t.Fatalf("%s is not damaged", blob)
		}
		write(p.t, blob, damaged)
	}
	before := s.state()
	text := p.readSettings(e)
	e.use(mirror)
	own, err := os.ReadFile(e.path("freshet.yaml"))
	if err != nil {
		p.t.Fatal(err)
	}
	_, bases, _ := strings.Cut(text, "bases:")
	write(p.t, e.path("freshet.yaml"), string(own)+"bases:"+bases)
	defer write(p.t, e.path("freshet.yaml"), text)
	return told(e, s, before)
}

// signedSo publishes a damaged list, if its publisher can be brought to it.
func signedSo(e *endpoint, p *publisher, s *scanner, list string) string {
	p.t.Helper()
	path := p.file("damaged", list)
	args := []string{"base", p.repo(), "hashes", path}
	sh(p.t, "mv", path, filepath.Join(filepath.Dir(path), "hashes.hdb"))
	args[3] = filepath.Join(filepath.Dir(path), "hashes.hdb")
	said := ""
	if out, err := p.command(args...).CombinedOutput(); err != nil {
		said = "publisher: “" + refusal(string(out)) + "”; "
		if out, err := p.command(append(args, "--allow-shrink", "a test")...).CombinedOutput(); err != nil {
			return "publisher, also with a reason: “" + refusal(string(out)) + "”"
		}
		said += "with a reason given: "
	}
	return said + told(e, s, s.state())
}

func refusal(out string) string {
	line, _, _ := strings.Cut(out[strings.Index(out, "error: ")+len("error: "):], "\n")
	return line
}

// told runs the update, expects that it fails, says why, and asserts that
// clamd has what it had before.
func told(e *endpoint, s *scanner, before string) string {
	e.t.Helper()
	out, err := e.command("update").CombinedOutput()
	if err == nil {
		e.t.Errorf("a damaged list was taken:\n%s", out)
	}
	after := s.state()
	if after != before || !strings.HasSuffix(after, "whole") || s.finds("of another") != "Test.Other" {
		e.t.Errorf("clamd was at %q, and is at %q\n%s", before, after, out)
	}
	line := strings.TrimSpace(string(out))
	if _, reason, ok := strings.Cut(line, "stays: "); ok {
		line, _, _ = strings.Cut(reason, "\n")
	}
	return fmt.Sprintf("“%s”; clamd: as before", strings.ReplaceAll(tail(line), "|", " "))
}

// state says which list a clamd uses, and whether all of it.
func (s *scanner) state() string {
	s.t.Helper()
	version := ""
	for _, v := range []int{1, 2, 102, 103, 104, 105, 106} {
		if found := s.finds(fmt.Sprintf("version %d", v)); found != "" {
			version = found
		}
	}
	switch {
	case version == "?":
		return "no verdicts"
	case s.finds(eicar()) == "Test.EICAR" && version != "":
		return version + ", whole"
	}
	return "EICAR is not detected, " + map[bool]string{true: "no version's text either", false: version}[version == ""]
}

// freshclam keeps a clamd of its own from a web server.
type freshclam struct {
	t       *testing.T
	scanner *scanner
	www     string
	at      time.Time // of the list on the web server
}

func newFreshclam(t *testing.T) *freshclam {
	t.Helper()
	s := newScanner(t, true, map[string]string{"hashes.hdb": signatures(1, 1000), "other.hdb": hash("Test.Other", "of another")})
	f := &freshclam{t: t, scanner: s, www: folder(t), at: time.Now()}
	server := httptest.NewServer(http.FileServer(http.Dir(f.www)))
	t.Cleanup(server.Close)
	write(t, s.path("freshclam.conf"), fmt.Sprintf("DatabaseDirectory %s\nDatabaseOwner clamav\nDatabaseMirror %s\nDatabaseCustomURL %s/hashes.hdb\n"+
		"TestDatabases yes\nNotifyClamd %s\nExcludeDatabase main\nExcludeDatabase daily\nExcludeDatabase bytecode\nDNSDatabaseInfo no\nForeground yes\n",
		s.folder(), server.URL, server.URL, s.path("clamd.conf")))
	if got := f.run(signatures(2, 1000)); s.state() != "Test.Version.2, whole" {
		t.Fatalf("freshclam does not bring a good list: %s; clamd: %s", got, s.state())
	}
	return f
}

// takes puts a list on the web server and says what freshclam and clamd make
// of it. Before, both have a good one.
func (f *freshclam) takes(list string) string {
	f.t.Helper()
	f.run(signatures(1, 1000))
	if got := f.scanner.state(); got != "Test.Version.1, whole" {
		f.t.Fatalf("freshclam does not bring a good list: clamd: %s\n%s", got, f.scanner.log())
	}
	said := f.run(list)
	after := f.scanner.state()
	if after == "Test.Version.1, whole" {
		after = "as before"
	}
	return said + "; clamd: " + after
}

// run has freshclam fetch a list, and waits for clamd if it was told.
func (f *freshclam) run(list string) string {
	f.t.Helper()
	path := filepath.Join(f.www, "hashes.hdb")
	write(f.t, path, list)
	f.at = f.at.Add(time.Hour) // it asks for what is newer than its file
	if err := os.Chtimes(path, f.at, f.at); err != nil {
		f.t.Fatal(err)
	}
	reloads := func() int {
		data, _ := os.ReadFile(f.scanner.path("run/clamd.log"))
		return strings.Count(string(data), "Database correctly reloaded") + strings.Count(string(data), "Database load failed")
	}
	before := reloads()
	out, err := exec.Command("freshclam", "--config-file="+f.scanner.path("freshclam.conf"), "--stdout").CombinedOutput()
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	}
	if strings.Contains(string(out), "Clamd successfully notified") {
		poll(f.t, time.Minute, "clamd has read its folder", func() bool {
			if f.scanner.client.Ping(f.t.Context()) != nil { // it changes its engine when the next command comes
				f.t.Fatalf("clamd does not answer:\n%s", f.scanner.log())
			}
			return reloads() > before
		})
		poll(f.t, time.Minute, "clamd answers", func() bool { return f.scanner.finds("of another") == "Test.Other" })
	}
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "hashes.hdb") || strings.HasPrefix(line, "ERROR: Failed to load") {
			return fmt.Sprintf("exit %d, “%s”", code, line)
		}
	}
	return fmt.Sprintf("exit %d, “%s”", code, lastLine(strings.TrimSpace(string(out))))
}

func (p *publisher) readSettings(e *endpoint) string {
	p.t.Helper()
	text, err := os.ReadFile(e.path("freshet.yaml"))
	if err != nil {
		p.t.Fatal(err)
	}
	return string(text)
}
