package main_test

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// bin is the folder of the programs under test: freshet, freshet-publish, and
// both with a clock and crashes to order, freshet-lab and freshet-publish-lab.
// The first test that asks for it builds them.
var bin = sync.OnceValue(func() string {
	dir := filepath.Join(built, "bin")
	build("", "", dir+"/", ".", "../freshet-publish")
	lab := filepath.Join(built, "lab")
	build("", "testclock,crashpoints", lab+"/", ".", "../freshet-publish")
	for _, name := range []string{"freshet", "freshet-publish"} {
		if err := os.Rename(filepath.Join(lab, name), filepath.Join(dir, name+"-lab")); err != nil {
			panic(err)
		}
	}
	return dir
})

// built is the folder of all that tests build.
var built string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	var err error
	if built, err = os.MkdirTemp("", "freshet-bin-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(built)
	return m.Run()
}

// build builds packages, without what only debuggers read: linking takes half
// as long. Without the programs no test means anything, so that it panics.
func build(version, tags, to string, packages ...string) {
	args := append([]string{"build", "-tags", tags, "-ldflags", "-w -X main.version=" + version, "-o", to}, packages...)
	if version == "" {
		args[4] = "-w"
	}
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		panic(fmt.Sprintf("go %s: %v\n%s", strings.Join(args, " "), err, out))
	}
}

// TestScripts runs the programs as a person would: a file a feature.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup:               setUp,
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "root":
				return os.Geteuid() == 0, nil
			case "systemd":
				_, err := os.Stat("/run/systemd/system")
				return err == nil, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"mirror": mirrorCmd,
			"until":  untilCmd,
			"as":     asCmd,
			"memory": memoryCmd,
			"code":   codeCmd,
			"lines":  linesCmd,
			"umask":  umaskCmd,
			"modes":  modesCmd,
		},
	})
}

// setUp gives each script a repository, its mirror, and settings for it.
func setUp(env *testscript.Env) error {
	m := newMirror(filepath.Join(env.WorkDir, "repo"))
	env.Defer(m.close)
	env.Values["mirror"] = m
	env.Setenv("PATH", bin()+string(os.PathListSeparator)+env.Getenv("PATH"))
	env.Setenv("TZ", "UTC")
	env.Setenv("URL", m.server.URL)
	env.Setenv("FRESHET_CONFIG", filepath.Join(env.WorkDir, "freshet.yaml"))
	env.Setenv("FRESHET_STATE_DIR", filepath.Join(env.WorkDir, "state"))
	env.Setenv("FRESHET_SOCKET", filepath.Join(env.WorkDir, "run", "agent.sock"))
	env.Setenv("FRESHET_TEST_CLOCK", filepath.Join(env.WorkDir, "clock"))
	if err := os.WriteFile(filepath.Join(env.WorkDir, "clock"), []byte("0s"), 0o644); err != nil {
		return err
	}
	settings := fmt.Sprintf("version: 1\nsources:\n  - {url: %s, proxy: none}\nroot: %s/repo/metadata/1.root.json\nlog: {to: stderr}\n", m.server.URL, env.WorkDir)
	return os.WriteFile(filepath.Join(env.WorkDir, "freshet.yaml"), []byte(settings), 0o644)
}

// mirror serves a repository, and misbehaves to order.
type mirror struct {
	server *httptest.Server
	mu     sync.Mutex // guards how and held
	how    string
	held   chan struct{} // closed to let held requests go
}

func newMirror(dir string) *mirror {
	m := &mirror{held: make(chan struct{})}
	files := http.FileServer(http.Dir(dir))
	m.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.mu.Lock()
		how, held := m.how, m.held
		m.mu.Unlock()
		switch {
		case how == "down":
			w.WriteHeader(http.StatusInternalServerError)
			return
		case how == "hold" && !strings.HasPrefix(r.URL.Path, "/metadata/"):
			select {
			case <-held:
			case <-r.Context().Done():
				return
			}
		}
		// Scripts publish several times a second, times of files have seconds.
		r.Header.Del("If-Modified-Since")
		files.ServeHTTP(w, r)
	}))
	return m
}

func (m *mirror) set(how string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.how = how
	close(m.held)
	m.held = make(chan struct{})
}

func (m *mirror) close() {
	m.set("up")
	m.server.Close()
}

// mirrorCmd makes the mirror serve (up), fail (down), or hold content back
// until it is up again (hold).
func mirrorCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: mirror up|down|hold")
	}
	ts.Value("mirror").(*mirror).set(args[0])
}

// untilCmd runs a command again and again until its output matches.
func untilCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until REGEXP COMMAND...")
	}
	want := regexp.MustCompile(args[0])
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		out, _ := command(ts, args[1:]).CombinedOutput()
		if want.Match(out) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%q never came, last:\n%s", args[0], out)
		}
		<-tick.C
	}
}

// command runs args in the script's environment.
func command(ts *testscript.TestScript, args []string) *exec.Cmd {
	path := args[0]
	if !strings.Contains(path, "/") {
		path = filepath.Join(bin(), path)
	}
	c := exec.Command(path, args[1:]...)
	c.Dir = ts.MkAbs(".")
	for _, name := range []string{"PATH", "TZ", "FRESHET_CONFIG", "FRESHET_STATE_DIR", "FRESHET_SOCKET", "FRESHET_TEST_CLOCK", "FRESHET_CRASH_AT"} {
		c.Env = append(c.Env, name+"="+ts.Getenv(name))
	}
	return c
}

// asCmd runs a command as another user: as UID EXITCODE REGEXP COMMAND...
func asCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 4 {
		ts.Fatalf("usage: as UID EXITCODE REGEXP COMMAND...")
	}
	uid, err := strconv.ParseUint(args[0], 10, 31)
	ts.Check(err)
	for _, dir := range []string{built, bin(), ts.MkAbs("."), filepath.Dir(ts.MkAbs("."))} {
		ts.Check(os.Chmod(dir, 0o755)) // test folders are for their maker alone
	}
	c := command(ts, args[3:])
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	expectExit(ts, c, args[1], args[2])
}

// codeCmd runs a command and expects an exit code: code N REGEXP COMMAND...
func codeCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: code N REGEXP COMMAND...")
	}
	expectExit(ts, command(ts, args[2:]), args[0], args[1])
}

func expectExit(ts *testscript.TestScript, c *exec.Cmd, code, want string) {
	out, err := c.CombinedOutput()
	if c.ProcessState == nil {
		ts.Check(err)
	}
	if got := strconv.Itoa(c.ProcessState.ExitCode()); got != code {
		ts.Fatalf("exit code %s, want %s:\n%s", got, code, out)
	}
	if !regexp.MustCompile(want).Match(out) {
		ts.Fatalf("no match for %q:\n%s", want, out)
	}
}

// memoryCmd waits until the agent that listens has no more memory than MB: it
// gives an update's memory back after it has answered.
func memoryCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: memory MB")
	}
	most, err := strconv.Atoi(args[0])
	ts.Check(err)
	pid := peerOf(ts)
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		ts.Check(err)
		_, rest, _ := bytes.Cut(status, []byte("VmRSS:"))
		kib, err := strconv.Atoi(string(bytes.Fields(rest)[0]))
		ts.Check(err)
		if kib*1024 <= most*1_000_000 {
			ts.Logf("the agent has %d KiB of memory", kib)
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("the agent has %d KiB of memory, more than %d MB\n%s", kib, most, status)
		}
		<-tick.C
	}
}

// peerOf is the process that listens on the script's socket.
func peerOf(ts *testscript.TestScript) int {
	conn, err := net.Dial("unix", ts.Getenv("FRESHET_SOCKET"))
	ts.Check(err)
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	ts.Check(err)
	var cred *unix.Ucred
	ts.Check(raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}))
	ts.Check(err)
	return int(cred.Pid)
}

// linesCmd writes a file of N records, of which the last says VERSION:
// lines FILE N VERSION.
func linesCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: lines FILE N VERSION")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	var b strings.Builder
	for i := range n - 1 {
		fmt.Fprintf(&b, "%08x.example\n", uint32(i*2654435761))
	}
	fmt.Fprintf(&b, "version-%s.example\n", args[2])
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(b.String()), 0o644))
}

// umaskCmd runs a program under a umask.
func umaskCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: umask MASK PROGRAM ARG…")
	}
	ts.Check(ts.Exec("sh", append([]string{"-c", "umask " + args[0] + `; exec "$@"`, "sh"}, args[1:]...)...))
}

// modesCmd lists the modes of all that lies at a path, numbers and hashes left out.
func modesCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: modes PATH")
	}
	ts.Check(ts.Exec("sh", "-c", `find "$0" ! -type l -printf '%#m %p\n' | sed -E 's,[0-9a-f]{64},HASH,g; s,/[0-9]+([./]|$),/N\1,g; s,/[0-9]+-[0-9a-f]+,/N-HASH,' | LC_ALL=C sort -u`, args[0]))
}
