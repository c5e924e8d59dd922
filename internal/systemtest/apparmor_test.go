//go:build system

package systemtest_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/settings"
)

// profileOfClamd is where Debian's clamav-daemon brings the rules that AppArmor
// holds clamd to.
const profileOfClamd = "/etc/apparmor.d/usr.sbin.clamd"

// profile is the text of an AppArmor profile as far as it is about files: see
// apparmor.d(5). What it includes is not read, and so allows nothing here.
type profile struct{ rules []fileRule }

type fileRule struct {
	paths *regexp.Regexp
	may   string
	deny  bool
}

var ruleLine = regexp.MustCompile(`^\s*(deny\s+)?([/@]\S*)\s+([rwkmlaixuPUC]+),`)

func readProfile(t *testing.T, path string) profile {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		missing(t, "%s: apt install clamav-daemon", path)
	}
	var p profile
	for line := range strings.Lines(string(text)) {
		m := ruleLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		for _, v := range [][2]string{{"@{HOME}", "{/home/*,/root}"}, {"@{PROC}", "/proc"}} {
			m[2] = strings.ReplaceAll(m[2], v[0], v[1])
		}
		p.rules = append(p.rules, fileRule{regexp.MustCompile(globbed(m[2])), m[3], m[1] != ""})
	}
	return p
}

// globbed is a path with AppArmor's wildcards as a regular expression: "*" stays
// within a folder, "**" does not, and neither stands for nothing at its end.
func globbed(path string) string {
	var b strings.Builder
	b.WriteString("^")
	for i := 0; i < len(path); i++ {
		switch rest := path[i:]; {
		case strings.HasPrefix(rest, "/**"):
			b.WriteString("/[^/].*")
			i += 2
		case strings.HasPrefix(rest, "/*") && (len(rest) == 2 || rest[2] == '/'):
			b.WriteString("/[^/]+")
			i++
		case rest[0] == '*':
			b.WriteString("[^/]*")
		case rest[0] == '{':
			b.WriteString("(")
		case rest[0] == '}':
			b.WriteString(")")
		case rest[0] == ',':
			b.WriteString("|")
		case rest[0] == '[' || rest[0] == ']':
			b.WriteByte(rest[0])
		default:
			b.WriteString(regexp.QuoteMeta(rest[:1]))
		}
	}
	return b.String() + "$"
}

// allows says whether clamd may do all of what (r, w) with path.
func (p profile) allows(path, what string) bool {
	may := map[rune]bool{}
	for _, r := range p.rules {
		if r.paths.MatchString(path) {
			for _, c := range r.may {
				may[c] = !r.deny
			}
		}
	}
	return !strings.ContainsFunc(what, func(c rune) bool { return !may[c] })
}

// included is what clamd does by its libraries, and what the profile includes
// allows: abstractions/openssl and abstractions/base, of the package apparmor.
var included = map[string]string{"/usr/lib/ssl/openssl.cnf": "r", "/etc/ssl/openssl.cnf": "r", "/proc/sys/vm/overcommit_memory": "r"}

// profiles are those that are installed: this host's, and the container's.
func profiles(t *testing.T) map[string]profile {
	all := map[string]profile{profileOfClamd: readProfile(t, profileOfClamd)}
	cached, _ := filepath.Glob("/var/cache/freshet-system/*-clamav" + profileOfClamd)
	for _, path := range cached {
		all[path] = readProfile(t, path)
	}
	return all
}

// TestProfileOfClamdIsRead holds the reading of the profile against what it
// plainly says, and what it does not.
func TestProfileOfClamdIsRead(t *testing.T) {
	for name, p := range profiles(t) {
		for path, want := range map[string][2]bool{ // read, write
			"/etc/clamav/clamd.conf":                         {true, false},
			"/var/lib/clamav/":                               {true, false},
			"/var/lib/clamav/main.cvd":                       {true, true},
			"/run/clamav/clamd.ctl":                          {false, true},
			"/var/run/clamav/clamd.ctl":                      {false, true},
			"/home/someone/file":                             {true, false},
			"/proc/12/status":                                {true, false},
			"/proc/self/status":                              {false, false},
			"/var/lib/freshet/bases/hashes/current/a.hdb":    {false, false},
			"/var/lib/clamav-other/a.hdb":                    {false, false},
			"/etc/freshet/freshet.yaml":                      {false, false},
			"/var/log/clamav/sub/clamav.log":                 {false, false},
			"/srv/clam/db/hashes.hdb":                        {false, false},
			"/var/lib/freshet/delivered/hashes+marker/x.hsb": {false, false},
		} {
			if got := [2]bool{p.allows(path, "r"), p.allows(path, "w")}; got != want {
				t.Errorf("%s: %s: read and write %v, want %v", name, path, got, want)
			}
		}
	}
}

// tapped is a socket before clamd's that notes what it is asked.
type tapped struct {
	mu    sync.Mutex // guards asked
	asked []string
}

func (s *scanner) tap(path string) *tapped {
	s.t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { l.Close() })
	tap := &tapped{}
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go tap.pass(in, s.client.Socket)
		}
	}()
	return tap
}

func (t *tapped) pass(in net.Conn, to string) {
	defer in.Close()
	out, err := net.Dial("unix", to)
	if err != nil {
		return
	}
	defer out.Close()
	go func() { io.Copy(in, out); in.Close() }()
	first := make([]byte, 4096)
	n, _ := in.Read(first)
	command, _, _ := strings.Cut(string(first[:n]), "\x00")
	t.mu.Lock()
	t.asked = append(t.asked, command)
	t.mu.Unlock()
	out.Write(first[:n])
	io.Copy(out, in)
}

// TestClamAVIsAskedForNothingBeyondItsProfile watches a clamd by strace while it
// is updated and taken back, and holds every file that it opens, changes or
// removes against the profile, its folder standing for Debian's. The kernel's own
// word is not heard: that takes AppArmor.
func TestClamAVIsAskedForNothingBeyondItsProfile(t *testing.T) {
	all := profiles(t)
	strace := needsProgram(t, "strace", "strace")
	s := newScanner(t, true, map[string]string{"other.hdb": hash("Test.Other", "of another")})
	p := newPublisher(t, released)
	p.hdb(signatures(1, 1000))
	e := s.endpointFor(p, "hashes", "")
	tap := s.tap(s.path("tap.ctl"))
	write(t, e.path("freshet.yaml"), strings.ReplaceAll(p.readSettings(e), "socket: "+s.client.Socket, "socket: "+s.path("tap.ctl")))

	trace := s.path("trace")
	tracer := exec.Command(strace, "-f", "-qq", "-s", "4096", "-o", trace, "-e", "trace=open,openat,creat,unlink,unlinkat,rename,renameat,renameat2,mkdir,mkdirat,link,linkat,symlink,symlinkat,connect",
		"-p", fmt.Sprint(s.d.cmd.Process.Pid))
	if err := tracer.Start(); err != nil {
		t.Fatal(err)
	}
	poll(t, time.Minute, "strace watches", func() bool {
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.d.cmd.Process.Pid))
		return strings.Contains(string(status), fmt.Sprintf("TracerPid:\t%d\n", tracer.Process.Pid))
	})
	e.update(api.Updated)
	s.wants("version 1", "Test.Version.1")
	p.hdb(signatures(2, 1000))
	e.update(api.Updated)
	s.wants("version 2", "Test.Version.2")
	e.run("bases", "rollback", "hashes")
	s.wants("version 1", "Test.Version.1")
	delivered, err := os.ReadDir(s.folder())
	if err != nil {
		t.Fatal(err)
	}
	tracer.Process.Signal(syscall.SIGTERM)
	tracer.Wait()

	touched := s.touched(trace)
	for name, p := range all {
		for path, what := range touched {
			if !p.allows(path, what) && included[path] != what {
				t.Errorf("%s does not allow clamd %s of %s", name, what, path)
			}
		}
		for _, f := range delivered {
			if !p.allows("/var/lib/clamav/"+f.Name(), "r") {
				t.Errorf("%s does not allow clamd to read %s", name, f.Name())
			}
		}
	}
	// It was watched indeed, and names of the agent's own folders never come to it.
	if touched["/var/lib/clamav/hashes.hdb"] != "r" || len(delivered) < 3 {
		t.Errorf("clamd opened %v; delivered are %v", touched, delivered)
	}
	tap.mu.Lock()
	defer tap.mu.Unlock()
	if !slices.Contains(tap.asked, "zRELOAD") || !slices.Contains(tap.asked, "zINSTREAM") {
		t.Errorf("clamd was asked %q", tap.asked)
	}
	for _, command := range tap.asked {
		if !slices.Contains([]string{"zPING", "zRELOAD", "zINSTREAM", "zSTATS", "zVERSION"}, command) {
			t.Errorf("clamd was asked %q: does that name a file?", command)
		}
	}
	t.Logf("%d paths; asked %d times", len(touched), len(tap.asked))
}

var (
	quoted   = regexp.MustCompile(`"((?:[^"\\]|\\.)*)"`)
	succeeds = regexp.MustCompile(`\) += [0-9]+`)
)

// touched maps what clamd opened or changed, by the names that Debian has, to
// what it did: r, w or rw.
func (s *scanner) touched(trace string) map[string]string {
	s.t.Helper()
	text, err := os.ReadFile(trace)
	if err != nil {
		s.t.Fatal(err)
	}
	all := map[string]string{}
	for line := range strings.Lines(string(text)) {
		_, call, ok := strings.Cut(line, " ")
		if call = strings.TrimSpace(call); !ok || !succeeds.MatchString(call) {
			continue
		}
		what := "w"
		if strings.HasPrefix(call, "open") {
			what = map[bool]string{true: "rw", false: "r"}[strings.Contains(call, "O_RDWR")]
			if strings.Contains(call, "O_WRONLY") {
				what = "w"
			}
		}
		for _, m := range quoted.FindAllStringSubmatch(call, -1) {
			path := s.asDebian(m[1])
			if strings.Contains(call, "O_DIRECTORY") && !strings.HasSuffix(path, "/") {
				path += "/" // as AppArmor names folders
			}
			if !strings.Contains(all[path], what) {
				all[path] += what
			}
		}
	}
	return all
}

// asDebian is the place that a path of this test stands for.
func (s *scanner) asDebian(path string) string {
	for _, place := range [][2]string{
		{s.path("clamd.conf"), "/etc/clamav/clamd.conf"}, {s.path("run/clamd.log"), "/var/log/clamav/clamav.log"},
		{s.folder(), "/var/lib/clamav"}, {s.path("run"), "/run/clamav"},
	} {
		if rest, ok := strings.CutPrefix(path, place[0]); ok {
			return place[1] + rest
		}
	}
	return path
}

// TestDefaultsOfClamAVLieWithinItsProfile is about `engine: clamav` alone.
func TestDefaultsOfClamAVLieWithinItsProfile(t *testing.T) {
	s, err := settings.Parse("freshet.yaml", []byte("version: 1\nbases: [{name: hashes, engine: clamav}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	b := s.Bases[0]
	for name, p := range profiles(t) {
		for path, what := range map[string]string{
			b.Deliver.To + "/": "r", b.Deliver.To + "/hashes.hdb": "r", b.Deliver.To + "/freshet-hashes-ABC.hsb": "r",
			b.ClamAV.Socket: "w", b.ClamAV.Config: "r",
		} {
			if !p.allows(path, what) {
				t.Errorf("%s does not allow clamd %s of %s", name, what, path)
			}
		}
	}
	// The try is clamscan's, which no profile of Debian's holds.
	held, _ := filepath.Glob("/etc/apparmor.d/*")
	for _, path := range held {
		if text, err := os.ReadFile(path); err == nil && strings.Contains(string(text), b.ClamAV.Scanner) {
			t.Errorf("%s is about %s", path, b.ClamAV.Scanner)
		}
	}
}
