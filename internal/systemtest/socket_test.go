//go:build system

package systemtest_test

import (
	"bytes"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/freshet/freshet/internal/api"
)

// TestAnyUserMayAskAndOnlySomeMayChange speaks to an agent of root as the user
// nobody. That members of the group freshet may change things is shown where
// there is such a group: in TestServiceUnderSystemd.
func TestAnyUserMayAskAndOnlySomeMayChange(t *testing.T) {
	needsRoot(t)
	setpriv := needsProgram(t, "setpriv", "util-linux")
	p := newPublisher(t, released)
	p.release("list", records(1, 1000))
	e := newEndpoint(t, p, p.repo())
	d := e.listening()
	e.update(api.Updated)
	p.release("list", records(2, 1000))
	e.update(api.Updated)
	asNobody := func(args ...string) *exec.Cmd {
		c := e.command(args...)
		return exec.Command(setpriv, append([]string{"--reuid=65534", "--regid=65534", "--clear-groups", "--"}, c.Args...)...)
	}
	checkCallers(t, asNobody)
	if v := e.status().Bases[0].Version; v != 2 {
		t.Errorf("the refused rollback led to version %d", v)
	}
	e.run("bases", "rollback", "list")
	e.reads("list", records(1, 1000))
	d.stop()
	e.checkSettled()
}

// checkCallers runs commands as a user without rights: what reads works, what
// changes is refused with its exit code, error and hint.
func checkCallers(t *testing.T, asUser func(args ...string) *exec.Cmd) {
	t.Helper()
	for _, args := range []string{"status", "status --json", "bases list", "events", "task list", "task show 6", "settings show", "version"} {
		if out, err := asUser(strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", args, err, out)
		}
	}
	for _, args := range []string{
		"update", "update --dry-run", "bases rollback list", "bases release list", "bases verify",
		"task start 6", "task stop 6", "task set 6 --every 2h",
	} {
		c := asUser(strings.Fields(args)...)
		var errs bytes.Buffer
		c.Stderr = &errs
		err := c.Run()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != api.ExitFailed {
			t.Errorf("%s: %v, want exit code %d", args, err, api.ExitFailed)
		}
		for _, text := range []string{"freshet: error: ", "not allowed", "freshet: hint: ", "group freshet"} {
			if !strings.Contains(errs.String(), text) {
				t.Errorf("%s: the message lacks %q:\n%s", args, text, errs.String())
			}
		}
	}
}
