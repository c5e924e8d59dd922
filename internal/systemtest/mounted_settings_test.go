//go:build system

package systemtest_test

import (
	"os"
	"strings"
	"testing"
	"time"
)

// TestSettingsThatAreAMount has the settings file be a bind mount, as a container
// is given it: enrolling writes into it, what the host sees is the same file, and
// an edit of the host's is taken by the agent that runs.
func TestSettingsThatAreAMount(t *testing.T) {
	needsRoot(t)
	p := newPublisher(t, released)
	p.release("list", records(1, 1000))
	e := newEndpoint(t, p, p.repo())
	host, file := e.path("of-the-host.yaml"), e.path("freshet.yaml")
	write(t, host, "version: 1\n# of the host\nupdate: {every: 30d, random_delay: 0s}\nlog: {to: stderr}\nbases: [{name: list}]\n")
	sh(t, "mount", "--bind", host, file)
	t.Cleanup(func() { sh(t, "umount", file) })
	before := mustStat(t, host)

	e.listening()
	e.run("enroll", p.repo(), "--root", e.path("root.json"))
	text, err := os.ReadFile(host)
	if err != nil || !strings.Contains(string(text), p.repo()) || !strings.Contains(string(text), "# of the host") {
		t.Fatalf("the host's file is\n%s%v", text, err)
	}
	if !os.SameFile(before, mustStat(t, file)) {
		t.Error("the mounted file is another")
	}
	e.run("update")
	write(t, host, strings.Replace(string(text), "every: 30d", "every: 29d", 1))
	poll(t, time.Minute, "the edit of the host is in force", func() bool { return strings.Contains(e.run("settings", "show"), "every: 696h") })
}
