//go:build system

package systemtest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/api"
)

// endpoint is a machine's Freshet in a folder of its own: settings, root of
// trust, state, socket.
type endpoint struct {
	t    *testing.T
	kind string // of build
	dir  string
}

// newEndpoint is an endpoint without bases that trusts p.
func newEndpoint(t *testing.T, p *publisher, source string) *endpoint {
	t.Helper()
	e := &endpoint{t, p.kind, folder(t)}
	if err := os.WriteFile(e.path("root.json"), p.root(), 0o644); err != nil {
		t.Fatal(err)
	}
	e.use(source)
	return e
}

func (e *endpoint) path(name string) string { return filepath.Join(e.dir, name) }

func (e *endpoint) socket() string { return e.path("run/agent.sock") }

// use sets the source. An update that is planned is a month away.
func (e *endpoint) use(source string) {
	e.t.Helper()
	write(e.t, e.path("freshet.yaml"), "version: 1\n"+
		"sources: [{url: "+source+"}]\n"+
		"root: "+e.path("root.json")+"\n"+
		"update: {every: 30d, random_delay: 0s}\n"+
		"log: {to: stderr}\n")
}

// copy is another endpoint of the same state; nobody may be at work here.
func (e *endpoint) copy() *endpoint {
	e.t.Helper()
	c := &endpoint{e.t, e.kind, folder(e.t)}
	e.copyTo(c)
	return c
}

// copyTo has c begin anew from the state of e.
func (e *endpoint) copyTo(c *endpoint) {
	e.t.Helper()
	if err := os.RemoveAll(c.dir); err != nil {
		e.t.Fatal(err)
	}
	sh(e.t, "cp", "-a", "--reflink=auto", e.dir, c.dir)
	settings, err := os.ReadFile(c.path("freshet.yaml"))
	if err != nil {
		e.t.Fatal(err)
	}
	write(e.t, c.path("freshet.yaml"), strings.ReplaceAll(string(settings), e.dir+"/", c.dir+"/"))
}

func (e *endpoint) remove() { os.RemoveAll(e.dir) }

func (e *endpoint) command(args ...string) *exec.Cmd {
	flags := []string{"--config", e.path("freshet.yaml"), "--state-dir", e.path("state"), "--socket", e.socket()}
	return exec.Command(program(e.kind, "freshet"), append(flags, args...)...)
}

// run runs a command to its end, expects that it does well, and gives its
// standard output.
func (e *endpoint) run(args ...string) string {
	e.t.Helper()
	c := e.command(args...)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		e.t.Fatalf("freshet %s: %v\n%s%s", strings.Join(args, " "), err, out.String(), errs.String())
	}
	return out.String()
}

// ask runs a command with --json and reads its answer into out.
func (e *endpoint) ask(out any, args ...string) {
	e.t.Helper()
	text := e.run(append(args, "--json")...)
	if err := json.Unmarshal([]byte(text), out); err != nil {
		e.t.Fatalf("freshet %s --json: %v\n%s", strings.Join(args, " "), err, text)
	}
}

// update runs the update and expects one of the outcomes.
func (e *endpoint) update(want ...string) api.Result {
	e.t.Helper()
	var res api.Result
	e.ask(&res, "update")
	for _, w := range want {
		if res.Outcome == w {
			return res
		}
	}
	e.t.Fatalf("update: %q, want %q: %+v", res.Outcome, want, res)
	return res
}

func (e *endpoint) status() api.Status {
	e.t.Helper()
	var st api.Status
	e.ask(&st, "status")
	return st
}

// agent starts the agent; it may be dead before it listens.
func (e *endpoint) agent(env ...string) *daemon {
	e.t.Helper()
	c := e.command("agent")
	c.Env = append(os.Environ(), env...)
	return start(e.t, c)
}

// onlyWhenTold keeps an agent that never ran from its first update, which would
// begin by itself: whoever asks for one could come too late for what it brings.
func (e *endpoint) onlyWhenTold() {
	e.t.Helper()
	tasks := e.path("state/tasks.json")
	if _, err := os.Lstat(tasks); err == nil {
		return
	}
	if err := os.MkdirAll(filepath.Dir(tasks), 0o755); err != nil {
		e.t.Fatal(err)
	}
	write(e.t, tasks, fmt.Sprintf(`{"format":1,"tasks":{"%d":{"timing":{"kind":%q}}}}`, api.TaskUpdate, api.Manual))
}

// listening starts the agent and waits until it answers. It updates only when
// told to.
func (e *endpoint) listening(env ...string) *daemon {
	e.t.Helper()
	e.onlyWhenTold()
	d := e.agent(env...)
	poll(e.t, 30*time.Second, "the agent answers", func() bool {
		if d.hasEnded() {
			e.t.Fatalf("the agent has ended: %v\n%s", d.err, d.output.String())
		}
		return e.answers()
	})
	return d
}

func (e *endpoint) answers() bool {
	var v api.Version
	return api.Dial(e.socket()).Get(e.t.Context(), "/v1/version", &v) == nil
}
