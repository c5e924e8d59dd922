//go:build system

package systemtest_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/clamd"
)

// scanner is a clamd of this test alone: its own folder, socket and settings.
// Like Debian's it runs as the user clamav.
type scanner struct {
	t      *testing.T
	dir    string
	d      *daemon
	client clamd.Client
}

// newScanner starts a clamd with these files in its folder.
func newScanner(t *testing.T, concurrent bool, files map[string]string) *scanner {
	t.Helper()
	needsRoot(t)
	needsProgram(t, "clamd", "clamav-daemon")
	needsProgram(t, "clamscan", "clamav")
	s := &scanner{t: t, dir: folder(t)}
	s.client = clamd.Client{Socket: s.path("run/clamd.ctl"), Timeout: time.Minute}
	for _, dir := range []string{s.folder(), s.path("run")} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range files {
		write(t, filepath.Join(s.folder(), name), content)
	}
	reload := map[bool]string{true: "yes", false: "no"}[concurrent]
	write(t, s.path("clamd.conf"), fmt.Sprintf("LocalSocket %s\nLocalSocketMode 666\nFixStaleSocket yes\nDatabaseDirectory %s\n"+
		"Foreground yes\nUser clamav\nSelfCheck 0\nIdleTimeout 1\nConcurrentDatabaseReload %s\nLogFile %s\nLogTime yes\n",
		s.client.Socket, s.folder(), reload, s.path("run/clamd.log")))
	sh(t, "chown", "-R", "clamav:clamav", s.folder(), s.path("run"))
	write(t, s.path("restart"), "#!/bin/sh\nkill -9 $(cat "+s.path("run/pid")+")\nexec >/dev/null 2>&1\nclamd -c "+s.path("clamd.conf")+" &\necho $! >"+s.path("run/pid")+"\n")
	sh(t, "chmod", "755", s.path("restart"))
	s.start()
	return s
}

func (s *scanner) path(name string) string { return filepath.Join(s.dir, name) }

// folder is where clamd reads its signatures.
func (s *scanner) folder() string { return s.path("db") }

func (s *scanner) start() {
	s.t.Helper()
	s.d = start(s.t, exec.Command("clamd", "-c", s.path("clamd.conf")))
	write(s.t, s.path("run/pid"), fmt.Sprint(s.d.cmd.Process.Pid))
	s.t.Cleanup(func() { exec.Command("sh", "-c", "kill -9 $(cat "+s.path("run/pid")+")").Run() })
	poll(s.t, 2*time.Minute, "clamd listens", func() bool {
		if s.d.hasEnded() {
			s.t.Fatalf("clamd has ended: %v\n%s", s.d.err, s.d.output.String())
		}
		return s.client.Ping(s.t.Context()) == nil
	})
}

// settings are those of a base for this clamd, with more of it.
func (s *scanner) settings(name, more string) string {
	return fmt.Sprintf("bases:\n  - name: %s\n    engine: clamav\n    deliver: {to: %s}\n    watch: 2s\n    health_every: 1s\n    timeout: 2m\n%s"+
		"    clamav: {socket: %s, config: %s, restart: [%s]}\n", name, s.folder(), more, s.client.Socket, s.path("clamd.conf"), s.path("restart"))
}

// finds asks clamd about content; "" is none, "?" no verdict.
func (s *scanner) finds(content string) string {
	s.t.Helper()
	v, err := s.client.Scan(context.Background(), strings.NewReader(content))
	if err != nil {
		return "?"
	}
	return strings.TrimSuffix(v.Found, ".UNOFFICIAL")
}

func (s *scanner) wants(content, want string) {
	s.t.Helper()
	if got := s.finds(content); got != want {
		s.t.Errorf("clamd says %q of %.20q, want %q", got, content, want)
	}
}

func (s *scanner) log() string {
	data, _ := os.ReadFile(s.path("run/clamd.log"))
	return tail(string(data))
}

// eicar is put together, so that nobody detects this file.
func eicar() string {
	return "X5O!P%@AP[4\\PZX54(P^)7CC)7}" + "$EICAR-STANDARD-ANTIVIRUS" + "-TEST-FILE!$H+H*"
}

// hash is a signature of content.
func hash(name, content string) string {
	return fmt.Sprintf("%x:%d:%s\n", md5.Sum([]byte(content)), len(content), name)
}

// signatures are n hashes made by chance, then those of EICAR and of the text
// "version V".
func signatures(version, n int) string {
	r := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, "%016x%016x:%d:Test.Hash.%d\n", r.Uint64(), r.Uint64(), 100+r.IntN(1<<20), i)
	}
	b.WriteString(hash("Test.EICAR", eicar()))
	b.WriteString(hash(fmt.Sprintf("Test.Version.%d", version), fmt.Sprintf("version %d", version)))
	return b.String()
}

// endpointFor is an endpoint that serves the scanner from p.
func (s *scanner) endpointFor(p *publisher, name, more string) *endpoint {
	s.t.Helper()
	e := newEndpoint(s.t, p, p.repo())
	text, err := os.ReadFile(e.path("freshet.yaml"))
	if err != nil {
		s.t.Fatal(err)
	}
	write(s.t, e.path("freshet.yaml"), string(text)+s.settings(name, more))
	return e
}

func mustStat(t *testing.T, path string) os.FileInfo {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func links(st os.FileInfo) uint64 { return uint64(st.Sys().(*syscall.Stat_t).Nlink) }

func owner(st os.FileInfo) uint32 { return st.Sys().(*syscall.Stat_t).Uid }
