//go:build system

package systemtest_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/api"
)

// secret stands in files that only root may read.
const secret = "zqxj:$6$do-not-tell$"

// stranger is a user of this machine without rights, beside an agent of root.
type stranger struct {
	t       *testing.T
	e       *endpoint
	p       *publisher
	agent   *daemon
	home    string // the stranger's folder
	secrets string // a folder of root
}

// newStranger starts an agent that delivers into a folder of the stranger's
// and watches another for bundles.
func newStranger(t *testing.T) *stranger {
	t.Helper()
	needsRoot(t)
	needsProgram(t, "setpriv", "util-linux")
	p := newPublisher(t, released)
	p.release("list", records(1, 1000))
	s := &stranger{t: t, p: p, e: newEndpoint(t, p, p.repo()), home: folder(t), secrets: folder(t)}
	for _, dir := range []string{"engine", "import"} {
		if err := os.Mkdir(filepath.Join(s.home, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	sh(t, "chown", "-R", "nobody", s.home)
	write(t, s.secret(), secret+"\n")
	if err := os.Chmod(s.secret(), 0o600); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(s.e.path("freshet.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, s.e.path("freshet.yaml"), string(text)+fmt.Sprintf("import: {watch: %s/import}\nbases:\n  - name: list\n    deliver: {to: %s/engine, owner: nobody, mode: \"0600\"}\n", s.home, s.home))
	s.agent = s.e.listening()
	return s
}

func (s *stranger) secret() string { return filepath.Join(s.secrets, "shadow") }

// sh has the stranger run shell lines; $S is the secret, $H the stranger's
// folder, $R that of the socket, $D the state folder.
func (s *stranger) sh(lines string) (string, error) {
	s.t.Helper()
	c := s.command(lines)
	out, err := c.CombinedOutput()
	return string(out), err
}

func (s *stranger) command(lines string) *exec.Cmd {
	c := exec.Command("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--", "sh", "-c", lines)
	c.Dir = s.home
	c.Env = append(os.Environ(), "S="+s.secret(), "H="+s.home, "R="+s.e.path("run"), "D="+s.e.path("state"))
	return c
}

// gainedNothing asserts that the secret is root's and untold, that the agent
// answers, and that the state is sound.
func (s *stranger) gainedNothing() {
	s.t.Helper()
	data, err := os.ReadFile(s.secret())
	st := mustStat(s.t, s.secret())
	if err != nil || string(data) != secret+"\n" || owner(st) != 0 || st.Mode().Perm() != 0o600 {
		s.t.Errorf("the secret is %v of user %d: %q, %v", st.Mode(), owner(st), data, err)
	}
	if !s.e.answers() {
		s.t.Fatalf("the agent does not answer:\n%s", tail(s.agent.output.String()))
	}
	told := s.e.run("events") + s.e.run("status", "--json") + s.agent.output.String()
	for n := 4; n <= len(secret); n++ {
		if strings.Contains(told, secret[:n]) {
			s.t.Errorf("%q is told to everyone:\n%s", secret[:n], told)
			break
		}
	}
	if data, err := os.ReadFile(s.e.path("state/bases/list/current/list.txt")); err != nil || !bytes.HasPrefix(data, []byte("00000000.")) {
		s.t.Errorf("the list in the state folder: %.20q, %v", data, err)
	}
}

// TestAStrangerGainsNothingByTheStateFolderAndTheSocketsFolder tries to write
// to the agent's own folders, and to read what is for root alone.
func TestAStrangerGainsNothingByTheStateFolderAndTheSocketsFolder(t *testing.T) {
	s := newStranger(t)
	s.e.update(api.Updated)
	for _, lines := range []string{
		`ln -s "$S" "$R/trial.json"`,
		`touch "$R/x"`,
		`mv "$R/agent.sock" "$R/old"`,
		`rm -f "$R/agent.sock"; test ! -e "$R/agent.sock"`,
		`touch "$D/x"`,
		`ln -s "$S" "$D/state.json.tmp"`,
		`ln -sfn / "$D/bases/list/current"`,
		`echo x >>"$D/state.json"`,
		`echo x >>"$D"/bases/list/current/list.txt`,
		`echo x >>"$D"/tmp/x`,
		`flock -n "$D/lock" true && rm "$D/lock"`,
		`cat "$D/settings.yaml"`,
	} {
		if out, err := s.sh(lines); err == nil {
			t.Errorf("%s is allowed: %s", lines, out)
		}
	}
	s.gainedNothing()
	s.agent.stop()
}

// TestAStrangerGainsNothingByTheFolderOfAnEngine plants in a folder that is
// the stranger's own, as clamd's is clamav's, what may lead root astray.
func TestAStrangerGainsNothingByTheFolderOfAnEngine(t *testing.T) {
	s := newStranger(t)
	version := 1
	for _, plant := range []string{
		`ln -s "$S" engine/list.txt`,
		`ln -s "$H/../new" engine/list.txt`,
		`mkfifo engine/list.txt`,
		`mkdir -p engine/list.txt/x`,
		`rm -rf engine; ln -s "$(dirname "$S")" engine`,
		`ln "$S" engine/list.txt 2>/dev/null || cp /etc/hostname engine/list.txt`,
		`ln -s "$S" engine/.freshet-tmp-ABCDEFGHIJ`,
		`chmod 0 engine`,
	} {
		version++
		s.p.release("list", records(version, 1000))
		if out, err := s.sh("rm -rf engine; mkdir engine; " + plant); err != nil {
			t.Fatalf("%s: %v\n%s", plant, err, out)
		}
		if out, err := s.e.command("update").CombinedOutput(); err != nil {
			t.Errorf("%s: the update: %v\n%s", plant, err, out)
		}
		s.gainedNothing()
		if entries, err := os.ReadDir(s.secrets); err != nil || len(entries) > 1 {
			t.Errorf("%s: beside the secret stands %v, %v", plant, entries, err)
		}
	}
	s.agent.stop()
}

// TestAStrangerGainsNothingByRacingARename swaps what stands in the engine's
// folder, and the folder below it, as fast as can be, while versions come.
func TestAStrangerGainsNothingByRacingARename(t *testing.T) {
	s := newStranger(t)
	in := filepath.Join(s.p.dir, "tree")
	race := start(t, s.command(`cd engine; while :; do
		ln -sfn "$S" list.txt; ln -sfn "$S" sub/list.txt; rm -f list.txt sub/list.txt
		mv sub away 2>/dev/null; ln -sfn "$(dirname "$S")" sub; rm -f sub; mkdir -p away; mv away sub 2>/dev/null
		for f in .freshet-tmp-* sub/.freshet-tmp-*; do ln -sfn "$S" "$f"; chmod 666 "$f"; done 2>/dev/null
		true
	done`))
	for version := range 15 {
		write(t, filepath.Join(in, "list.txt"), records(version, 200))
		write(t, filepath.Join(in, "sub/list.txt"), records(version, 300))
		s.p.run("base", s.p.repo(), "list", in, "--allow-shrink", "a test", "--allow", "a test")
		s.e.command("update").Run() // delivering may fail
		if entries, err := os.ReadDir(s.secrets); err != nil || len(entries) != 1 {
			t.Fatalf("beside the secret stands %v, %v", entries, err)
		}
	}
	if race.hasEnded() {
		t.Errorf("the race has ended: %v\n%s", race.err, race.output.String())
	}
	s.gainedNothing()
	st := mustStat(t, s.secrets)
	if owner(st) != 0 || st.Mode().Perm() != 0o755 {
		t.Errorf("the folder of the secret is %v of user %d", st.Mode(), owner(st))
	}
	s.agent.stop()
}

// TestAStrangerGainsNothingByTheImportFolder plants in the watched folder what
// is no bundle, and swaps it while it is looked at.
func TestAStrangerGainsNothingByTheImportFolder(t *testing.T) {
	s := newStranger(t)
	s.e.update(api.Updated)
	const protected = "/proc/sys/fs/protected_hardlinks" // where it is off, as on older systems
	if was, err := os.ReadFile(protected); err == nil && os.WriteFile(protected, []byte("0"), 0) == nil {
		t.Cleanup(func() { os.WriteFile(protected, was, 0) })
	}
	links := 0
	for i, plant := range []string{
		`mkdir -p b/metadata; ln -s "$S" b/metadata/timestamp.json`,
		`mkdir -p b; ln -s / b/metadata`,
		`ln -s "$(dirname "$S")" b`,
		`ln -s "$S" b.zip`,
		`ln "$S" b.zip`,
		`mkdir -p b/metadata; ln "$S" b/metadata/timestamp.json`,
		`mkdir -p b/metadata; mkfifo b/metadata/timestamp.json`,
		`mkfifo b.zip`,
		`mkdir -p b/metadata; truncate -s 1T b/metadata/timestamp.json`,
		`truncate -s 1T b.zip`,
		`mkdir -p b; for i in $(seq 3000); do mkdir b/$i; done`,
		`d=b; for i in $(seq 100); do mkdir $d; d=$d/b; done`,
		`timeout 3 sh -c 'while :; do mkdir -p b/metadata; echo {} >b/metadata/timestamp.json; mv b c; ln -s / b; rm b; mv c b; done'`,
		`timeout 3 sh -c 'while :; do echo x >b.zip; ln -sf "$S" b.zip; rm -f b.zip; done'`,
	} {
		out, err := s.sh(fmt.Sprintf(`mkdir import/%d && cd import/%d && { %s; } || test $? = 124`, i, i, plant))
		switch {
		case err == nil:
		case strings.HasPrefix(plant, "ln \"") || strings.Contains(plant, "; ln \""):
			links++ // the kernel forbids it
		default:
			t.Errorf("%s: %v\n%s", plant, err, out)
		}
	}
	t.Logf("the kernel forbade %d of 2 hard links", links)
	// A bundle that comes last is imported all the same.
	s.p.release("list", records(2, 1000))
	bundle := filepath.Join(folder(t), "bundle.zip")
	s.p.run("bundle", s.p.repo(), bundle)
	sh(t, "chmod", "644", bundle)
	if out, err := s.sh("cp " + bundle + " import/.b && mv import/.b import/00.zip"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	poll(t, 3*time.Minute, "the bundle is imported", func() bool {
		st := s.e.status()
		return len(st.Bases) == 1 && st.Bases[0].Version == 2
	})
	s.gainedNothing()
	s.agent.stop()
}

// TestAStrangerGainsNothingByTheSocket sends what no client sends.
func TestAStrangerGainsNothingByTheSocket(t *testing.T) {
	s := newStranger(t)
	s.e.update(api.Updated)
	curl := needsProgram(t, "curl", "curl") + ` -s -m 20 --unix-socket "$R/agent.sock" `
	for _, lines := range []string{
		curl + `-X POST http://a/v1/import -d '{"path":"/etc"}'`,
		curl + `-X POST http://a/v1/import -d "{\"path\":\"$S\"}"`,
		`head -c 100M /dev/zero | ` + curl + `-X POST --data-binary @- http://a/v1/import`,
		`head -c 10M /dev/zero | tr '\0' a | ` + curl + `-H @- http://a/v1/status`,
		`head -c 1M /dev/zero | tr '\0' a | ` + curl + `-X POST --data-binary @- http://a/v1/licence`,
		curl + `--path-as-is http://a/v1/bases/..%2f..%2fetc/verify -X POST`,
		curl + `--path-as-is http://a/../../../etc/shadow`,
		curl + `"http://a/v1/events?since=$(head -c 100K /dev/zero | tr '\0' 9)"`,
		curl + `-X PATCH http://a/v1/tasks/6 -d '{"every":"1ns"}'`,
		curl + `http://a/v1/plan`,
	} {
		out, _ := s.sh(lines)
		if strings.Contains(out, secret) || strings.Contains(out, `"ok"`) || len(out) > 64<<10 {
			t.Errorf("%s: %.300s", lines, out)
		}
	}
	// Many that hold a connection and say nothing, or follow and do not read.
	slow := strings.ReplaceAll(curl, "-m 20", "-m 60")
	hold := start(t, s.command(`for i in $(seq 100); do
		(sleep 60) | `+slow+`-X POST -T - http://a/v1/licence >/dev/null 2>&1 &
	done; `+slow+`"http://a/v1/events?follow=1" | sleep 60`))
	s.p.release("list", records(2, 1000))
	s.e.update(api.Updated)
	s.gainedNothing()
	if st := s.e.status(); st.Bases[0].Version != 2 {
		t.Errorf("the list is at version %d", st.Bases[0].Version)
	}
	hold.signal(9)
	s.agent.stop()
}

// TestAStrangerDoesNotTakeTheSocketsPlace puts something else where the socket
// is to be, in a folder that all may write to: a bad choice of the operator.
func TestAStrangerDoesNotTakeTheSocketsPlace(t *testing.T) {
	s := newStranger(t)
	s.agent.stop()
	if err := os.Chmod(s.e.path("run"), fs.ModeSticky|0o777); err != nil {
		t.Fatal(err)
	}
	for name, plant := range map[string]string{
		"a link to a file of root": `ln -s "$S" "$R/agent.sock"`,
		"a file":                   `echo x >"$R/agent.sock"`,
		"a folder":                 `mkdir -p "$R/agent.sock/x"`,
	} {
		t.Run(name, func(t *testing.T) {
			os.RemoveAll(s.e.socket())
			if out, err := s.sh(plant); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			d := s.e.agent()
			poll(t, 30*time.Second, "the agent listens or gives up", func() bool { return d.hasEnded() || s.e.answers() })
			if !d.hasEnded() {
				d.stop()
			}
			data, err := os.ReadFile(s.secret())
			if st := mustStat(t, s.secret()); err != nil || string(data) != secret+"\n" || st.Mode().Perm() != 0o600 {
				t.Errorf("the secret is %v: %q, %v", st.Mode(), data, err)
			}
		})
	}
}
