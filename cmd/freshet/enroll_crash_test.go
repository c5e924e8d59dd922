package main_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/durable/crashtest"
	"github.com/freshet/freshet/internal/settings"
)

// newcomer is a host that is enrolled, or enrolled anew at another repository,
// while its process is killed.
type newcomer struct {
	*endpoint
	replaces bool   // it was enrolled at the endpoint's own repository before
	url      string // of the repository that it is to be enrolled at
	root     string // file of its root of trust
	content  string // of its base
}

// newNewcomer prepares the folders state and state-etc, which each try copies.
func newNewcomer(t *testing.T, replaces bool) *newcomer {
	t.Helper()
	n := &newcomer{endpoint: newEndpoint(t), replaces: replaces, content: content(2)}
	n.publish(1)
	other := filepath.Join(n.dir, "other")
	n.must("freshet-publish", "init", other, "--keys", filepath.Join(n.dir, "other-keys"))
	n.must("freshet-publish", "base", other, "hosts", n.write("hosts.txt", n.content))
	server := httptest.NewServer(http.FileServer(http.Dir(other)))
	t.Cleanup(server.Close)
	n.url, n.root = server.URL, filepath.Join(other, "metadata", "1.root.json")
	for _, dir := range []string{"state", "state-etc"} {
		if err := os.MkdirAll(filepath.Join(n.dir, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	n.write("state-etc/freshet.yaml", fmt.Sprintf("version: 1\nroot: %s/state-etc/root.json\nupdate: {random_delay: 0s}\nlog: {to: stderr}\n", n.dir))
	if replaces {
		n.run(n.command("state", "", "freshet", "enroll", n.endpoint.url, "--root", filepath.Join(n.repo, "metadata", "1.root.json")))
	}
	return n
}

// command has settings for each state.
func (n *newcomer) command(state, crashAt, name string, args ...string) *exec.Cmd {
	c := n.endpoint.command(state, crashAt, name, args...)
	c.Env = append(c.Env, "FRESHET_CONFIG="+n.config(state))
	return c
}

func (n *newcomer) config(state string) string {
	return filepath.Join(n.dir, state+"-etc", "freshet.yaml")
}

// enroll is the command that is killed, and given again.
func (n *newcomer) enroll(state, crashAt, name string) *exec.Cmd {
	args := []string{"enroll", n.url, "--root", n.root}
	if n.replaces {
		args = append(args, "--replace")
	}
	return n.command(state, crashAt, name, args...)
}

// copied makes the folders of a try; the second result removes them.
func (n *newcomer) copied(name string) (state string, gone func(), err error) {
	state = "state-" + name
	for _, part := range []string{"", "-etc"} {
		if out, err := exec.Command("cp", "-a", filepath.Join(n.dir, "state"+part), filepath.Join(n.dir, state+part)).CombinedOutput(); err != nil {
			return "", nil, fmt.Errorf("%w: %s", err, out)
		}
	}
	return state, func() {
		for _, part := range []string{"", "-etc", "-run"} {
			os.RemoveAll(filepath.Join(n.dir, state+part))
		}
	}, nil
}

// whole asserts that the host trusts and has what it did before, or what it is
// to. Until the enrolment has ended the new base may be there first.
func (n *newcomer) whole(state string) error {
	s, err := settings.Load(n.config(state))
	if err != nil {
		return err
	}
	base, trustsNew := n.installed(state), len(s.Sources) == 1 && s.Sources[0].URL == n.url
	trustsOld := !n.replaces && len(s.Sources) == 0 || n.replaces && len(s.Sources) == 1 && s.Sources[0].URL == n.endpoint.url
	_, pending := os.Lstat(filepath.Join(n.dir, state, "enroll.json"))
	old := content(1)
	if !n.replaces {
		old = ""
	}
	switch {
	case trustsNew && base == n.content:
		given, _ := os.ReadFile(n.root)
		if root, err := os.ReadFile(s.Root); err != nil || !bytes.Equal(root, given) {
			return fmt.Errorf("the settings are the new ones, and %s is another root: %w", s.Root, err)
		}
	case trustsOld && base == old:
	case trustsOld && base == n.content && pending == nil:
	default:
		return fmt.Errorf("sources %v, a base of %d bytes, enrolment pending: %v", s.Sources, len(base), pending == nil)
	}
	return nil
}

// done asserts that the host is enrolled, and that nothing else is left.
func (n *newcomer) done(state string) error {
	if err := n.whole(state); err != nil {
		return err
	}
	s, err := settings.Load(n.config(state))
	if err != nil || len(s.Sources) != 1 || s.Sources[0].URL != n.url {
		return fmt.Errorf("it is not enrolled: %w", err)
	}
	for _, part := range []string{state, state + "-etc"} {
		root := filepath.Join(n.dir, part)
		err = errors.Join(err, filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			rel, _ := filepath.Rel(n.dir, path)
			switch name := filepath.Base(path); {
			case err != nil:
				return err
			case strings.Contains(name, ".tmp-"), name == "enroll.json", filepath.Base(filepath.Dir(path)) == "tmp",
				strings.HasPrefix(name, "root-") && path != s.Root:
				return fmt.Errorf("%s is left", rel)
			}
			return nil
		}))
	}
	versions, _ := filepath.Glob(filepath.Join(n.dir, state, "bases", "hosts", "*-*"))
	if len(versions) != 1 && !n.replaces || len(versions) > 2 {
		return fmt.Errorf("versions left: %v", versions)
	}
	return err
}

// everyStep tries steps until one survives: all of them in a soak, else one of
// stride, begun at random.
func everyStep(t *testing.T, stride int, try func(step int) (survived bool, err error)) {
	t.Helper()
	const atOnce = 4 // most of the time goes to the disk
	first := 1 + crashtest.Random(t).IntN(stride)
	if os.Getenv("FRESHET_SOAK") != "" {
		first, stride = 1, 1
	}
	killed := 0
	for step, over := first, false; !over; step += atOnce * stride {
		var tries errgroup.Group
		survived := make([]bool, atOnce)
		for i := range atOnce {
			tries.Go(func() (err error) {
				survived[i], err = try(step + i*stride)
				return err
			})
		}
		if err := tries.Wait(); err != nil {
			t.Fatal(err)
		}
		for _, s := range survived {
			if over = over || s; !s {
				killed++
			}
		}
	}
	if t.Logf("killed at %d steps", killed); killed < 100/stride {
		t.Errorf("only %d steps", killed)
	}
}

var enrolments = map[string]bool{"at a first repository": false, "at another in place of it": true}

// TestKillAtEachStepOfEnrolling kills freshet enroll, which works in its own
// process where no agent runs.
func TestKillAtEachStepOfEnrolling(t *testing.T) {
	t.Parallel()
	for name, replaces := range enrolments {
		t.Run(name, func(t *testing.T) {
			n := newNewcomer(t, replaces)
			everyStep(t, 31, func(step int) (bool, error) {
				state, gone, err := n.copied(fmt.Sprint(step))
				if err != nil {
					return false, err
				}
				defer gone()
				at := fmt.Sprintf("n:%d", step)
				c := n.enroll(state, at, "freshet-lab")
				out, err := c.CombinedOutput()
				if err == nil {
					return true, n.done(state)
				}
				if !killed(c) {
					return false, fmt.Errorf("killed at %s: %w\n%s", at, err, out)
				}
				if err := n.whole(state); err != nil {
					return false, fmt.Errorf("killed at %s: %w\n%s", at, err, out)
				}
				again, err := n.enroll(state, "", "freshet").CombinedOutput()
				if err == nil {
					err = n.done(state)
				}
				if err != nil {
					return false, fmt.Errorf("killed at %s: the same command again: %w\n%s\n%s", at, err, out, again)
				}
				return false, nil
			})
		})
	}
}

// TestKillOfTheAgentThatEnrolls kills the agent that freshet enroll speaks to.
// It is started again, as the service manager does, and goes on or has not begun.
func TestKillOfTheAgentThatEnrolls(t *testing.T) {
	t.Parallel()
	for name, replaces := range enrolments {
		t.Run(name, func(t *testing.T) {
			n := newNewcomer(t, replaces)
			everyStep(t, 61, func(step int) (bool, error) { return n.agentKilledAt(step) })
		})
	}
}

func (n *newcomer) agentKilledAt(step int) (survived bool, err error) {
	state, gone, err := n.copied(fmt.Sprintf("agent-%d", step))
	if err != nil {
		return false, err
	}
	defer gone()
	at := fmt.Sprintf("n:%d", step)
	first, err := n.agent(state, at)
	if err != nil {
		return false, err
	}
	out, said := n.enroll(state, "", "freshet").CombinedOutput()
	first.Process.Signal(syscall.SIGTERM)
	first.Wait()
	if survived = said == nil && !killed(first); survived {
		return true, n.done(state)
	}
	if err := n.whole(state); err != nil {
		return false, fmt.Errorf("agent killed at %s: %w\n%s", at, err, out)
	}
	second, err := n.agent(state, "")
	if err != nil {
		return false, err
	}
	defer second.Wait()
	defer second.Process.Signal(syscall.SIGTERM)
	again, err := n.enroll(state, "", "freshet").CombinedOutput()
	if err == nil {
		err = n.done(state)
	}
	if err != nil {
		return false, fmt.Errorf("agent killed at %s: the same command again: %w\n%s\n%s\n%s", at, err, out, again, second.Stderr)
	}
	return false, nil
}

// agent starts one and waits until it answers, or is dead.
func (n *newcomer) agent(state, crashAt string) (*exec.Cmd, error) {
	c := n.command(state, crashAt, "freshet-lab", "agent")
	c.Stderr = &bytes.Buffer{}
	if err := c.Start(); err != nil {
		return nil, err
	}
	n.eventually("the agent answers or is dead", func() bool {
		if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.Process.Pid)); err != nil || bytes.Contains(stat, []byte(") Z ")) {
			return true
		}
		out, err := n.command(state, "", "freshet", "status", "--json").Output()
		var st api.Status
		return err == nil && json.Unmarshal(out, &st) == nil && st.Agent
	})
	return c, nil
}
