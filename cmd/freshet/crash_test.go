package main_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// endpoint is a state folder of its own, and a repository that it updates from.
type endpoint struct {
	t    *testing.T
	dir  string
	url  string
	repo string
}

func newEndpoint(t *testing.T) *endpoint {
	t.Helper()
	dir := t.TempDir()
	e := &endpoint{t: t, dir: dir, repo: filepath.Join(dir, "repo")}
	e.must("freshet-publish", "init", e.repo, "--keys", filepath.Join(dir, "keys"))
	server := httptest.NewServer(http.FileServer(http.Dir(e.repo)))
	t.Cleanup(server.Close)
	e.url = server.URL
	settings := fmt.Sprintf("version: 1\nsources: [{url: %q, proxy: none}]\nroot: %s/metadata/1.root.json\nlog: {to: stderr}\n", e.url, e.repo)
	e.write("freshet.yaml", settings)
	return e
}

func (e *endpoint) write(name, content string) string {
	e.t.Helper()
	path := filepath.Join(e.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		e.t.Fatal(err)
	}
	return path
}

// content is a version of the base, in which some records differ.
func content(version int) string {
	var b strings.Builder
	for i := range 3000 {
		v := 0
		if i%101 == version {
			v = version
		}
		fmt.Fprintf(&b, "%08x.%d.example\n", uint32(i*2654435761), v)
	}
	return b.String()
}

func (e *endpoint) publish(version int) {
	e.t.Helper()
	e.must("freshet-publish", "base", e.repo, "hosts", e.write("hosts.txt", content(version)))
}

// command runs a program; state names the endpoint's folder.
func (e *endpoint) command(state, crashAt, name string, args ...string) *exec.Cmd {
	c := exec.Command(filepath.Join(bin(), name), args...)
	c.Env = []string{
		"FRESHET_CONFIG=" + filepath.Join(e.dir, "freshet.yaml"),
		"FRESHET_STATE_DIR=" + filepath.Join(e.dir, state),
		"FRESHET_SOCKET=" + filepath.Join(e.dir, state+"-run", "agent.sock"),
		"FRESHET_CRASH_AT=" + crashAt, "FRESHET_TEST_CLOCK=", "FRESHET_KEYS=",
	}
	return c
}

func (e *endpoint) must(name string, args ...string) string {
	e.t.Helper()
	return e.run(e.command("state", "", name, args...))
}

func (e *endpoint) run(c *exec.Cmd) string {
	e.t.Helper()
	out, err := c.CombinedOutput()
	if err != nil {
		e.t.Fatalf("%s: %v\n%s", strings.Join(c.Args, " "), err, out)
	}
	return string(out)
}

// installed is what an engine reads, "" for nothing.
func (e *endpoint) installed(state string) string {
	data, _ := os.ReadFile(filepath.Join(e.dir, state, "bases", "hosts", "current", "hosts.txt"))
	return string(data)
}

func killed(c *exec.Cmd) bool {
	ws, ok := c.ProcessState.Sys().(syscall.WaitStatus)
	return ok && ws.Signaled() && ws.Signal() == syscall.SIGKILL
}

// TestKillAtEachStepOfAnUpdate kills the process before steps that it takes on
// the disk, each in a soak, while it updates from version 1 to 2. The old or the new version is
// there, whole, and the next run completes the update.
func TestKillAtEachStepOfAnUpdate(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	e.publish(1)
	e.must("freshet", "update")
	e.publish(2)
	everyStep(t, 4, e.killedAt)
}

// killedAt updates a copy of the endpoint's state and dies at a step; survived
// says that there is no such step.
func (e *endpoint) killedAt(step int) (survived bool, err error) {
	at := fmt.Sprintf("n:%d", step)
	state := "state-" + fmt.Sprint(step)
	defer os.RemoveAll(filepath.Join(e.dir, state))
	if out, err := exec.Command("cp", "-a", filepath.Join(e.dir, "state"), filepath.Join(e.dir, state)).CombinedOutput(); err != nil {
		return false, fmt.Errorf("%w: %s", err, out)
	}
	c := e.command(state, at, "freshet-lab", "update")
	out, err := c.CombinedOutput()
	switch {
	case err == nil:
		return true, nil
	case !killed(c):
		return false, fmt.Errorf("killed at %s: %w\n%s", at, err, out)
	}
	if got := e.installed(state); got != content(1) && got != content(2) {
		return false, fmt.Errorf("killed at %s: %d bytes installed, neither old nor new\n%s", at, len(got), out)
	}
	if next, err := e.command(state, "", "freshet", "update").CombinedOutput(); err != nil || e.installed(state) != content(2) {
		return false, fmt.Errorf("killed at %s: the next update did not complete: %w\n%s\n%s", at, err, out, next)
	}
	verify, err := e.command(state, "", "freshet", "bases", "verify").CombinedOutput()
	if err != nil || !strings.Contains(string(verify), "hosts version 2: whole") {
		return false, fmt.Errorf("killed at %s: %w: %s", at, err, verify)
	}
	return false, nil
}

// TestKillOfTheAgent kills the running agent at steps of its first update, as
// the service manager sees it: it is started again and again, and gets there.
func TestKillOfTheAgent(t *testing.T) {
	t.Parallel()
	e := newEndpoint(t)
	e.publish(1)
	for _, at := range []string{"rename:1", "rename:4", "rename:8", "symlink:1", "write:3", "syncdir:9", "fsync:6"} {
		state := "state-" + strings.ReplaceAll(at, ":", "-")
		c := e.command(state, at, "freshet-lab", "agent")
		var log bytes.Buffer
		c.Stderr = &log
		if err := c.Run(); !killed(c) {
			t.Fatalf("killed at %s: %v\n%s", at, err, log.String())
		}
		again := e.command(state, "", "freshet", "agent")
		if err := again.Start(); err != nil {
			t.Fatal(err)
		}
		e.eventually(at, func() bool { return e.installed(state) == content(1) })
		again.Process.Signal(syscall.SIGTERM)
		if err := again.Wait(); err != nil {
			t.Fatalf("killed at %s, the second agent: %v", at, err)
		}
		e.run(e.command(state, "", "freshet", "bases", "verify"))
	}
}

func (e *endpoint) eventually(what string, holds func() bool) {
	e.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		if time.Now().After(deadline) {
			e.t.Fatalf("it never came to this: %s", what)
		}
		<-tick.C
	}
}
