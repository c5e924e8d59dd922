package main_test

import (
	"bufio"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	main "github.com/freshet/freshet/cmd/freshet-publish"
	"github.com/freshet/freshet/internal/durable"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"freshet-publish": main.Main})
}

// TestScripts runs the program as a person would: a file a feature.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("FRESHET_KEYS", "")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"umask": umaskCmd, "modes": modesCmd},
	})
}

// umaskCmd runs a program under a umask.
func umaskCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: umask MASK PROGRAM ARG…")
	}
	ts.Check(ts.Exec("sh", append([]string{"-c", "umask " + args[0] + `; exec "$@"`, "sh"}, args[1:]...)...))
}

// modesCmd lists the modes of all that lies in a folder, numbers and hashes left out.
func modesCmd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: modes PATH")
	}
	ts.Check(ts.Exec("sh", "-c", `find "$0" -printf '%#m %p\n' | sed -E 's,/[0-9a-f]{64},/HASH,; s,/[0-9]+\.,/N.,' | LC_ALL=C sort -u`, args[0]))
}

func TestServeStopsWhenTold(t *testing.T) {
	dir := twoVersions(t)
	c := exec.Command("freshet-publish", "serve", dir+"/repo", "--listen", "127.0.0.1:0")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	c.Stderr = &log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Process.Kill()
	line, err := bufio.NewReader(out).ReadString('\n')
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "listening ")
	if err != nil || !ok {
		t.Fatalf("%q, %v", line, err)
	}
	resp, err := http.Get(url + "/metadata/timestamp.json")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	want, _ := os.ReadFile(dir + "/repo/metadata/timestamp.json")
	if err != nil || resp.StatusCode != 200 || string(body) != string(want) {
		t.Errorf("status %d, %d bytes, %v", resp.StatusCode, len(body), err)
	}
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	if !strings.Contains(log.String(), `GET "/metadata/timestamp.json" "-" 200 `) {
		t.Errorf("log: %s", log.String())
	}
}

func TestInterruptedWhileWaiting(t *testing.T) {
	dir := twoVersions(t)
	var disk durable.Disk
	lock, err := disk.Lock(dir + "/repo/.lock")
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Unlock()
	c := exec.Command("freshet-publish", "base", dir+"/repo", "b", dir+"/3.txt")
	errs, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Process.Kill()
	in := bufio.NewReader(errs)
	if line, err := in.ReadString('\n'); err != nil || !strings.HasPrefix(line, "waiting for another freshet-publish") {
		t.Fatalf("%q, %v", line, err)
	}
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	said, _ := io.ReadAll(in)
	c.Wait()
	if code := c.ProcessState.ExitCode(); code != 130 || !strings.Contains(string(said), "error: interrupted") {
		t.Errorf("exit code %d: %s", code, said)
	}
}
