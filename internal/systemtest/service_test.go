//go:build system

package systemtest_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/event"
)

// TestServiceUnderSystemd installs the released program as a service on a
// Debian booted for it, and does to it what happens to services.
func TestServiceUnderSystemd(t *testing.T) {
	m := boot(t)
	p := newPublisher(t, released)
	p.release("list", records(1, 1000))
	for _, name := range []string{"freshet", "freshet-publish"} {
		m.copyIn(program(released, name), "/usr/local/bin/"+name)
	}
	m.copyIn(p.repo(), "/srv/repo")
	m.copyIn(p.repo()+"/metadata/1.root.json", "/etc/freshet/root.json")
	m.write("/etc/freshet/freshet.yaml", "version: 1\nsources: [{url: /srv/repo}]\n")
	for _, step := range []struct {
		name string
		do   func(*machine, *publisher)
	}{
		{"install writes a unit that systemd-analyze finds nothing wrong with", (*machine).installs},
		{"start is over when the agent answers, and the agent updates", (*machine).starts},
		{"a killed agent is back within seconds", (*machine).survivesKill},
		{"a hanging agent is found by the watchdog", (*machine).survivesHang},
		{"users ask, members of the group change things", (*machine).obeysGroup},
		{"an edit of the settings is taken, and a bad one told", (*machine).readsSettings},
		{"an update with the service stopped leaves it stopped", (*machine).updatesStopped},
		{"uninstall leaves settings and state", (*machine).uninstalls},
	} {
		ok := t.Run(step.name, func(t *testing.T) {
			m.t = t
			step.do(m, p)
		})
		if !ok {
			t.Fatalf("the steps after this one need it\n%s", m.journal())
		}
	}
}

func (m *machine) installs(*publisher) {
	m.run("freshet", "service", "install")
	if out := m.run("systemd-analyze", "verify", "/etc/systemd/system/freshet.service"); out != "" {
		m.t.Errorf("systemd-analyze verify: %s", out)
	}
	if got := m.run("systemctl", "is-enabled", "freshet"); got != "enabled" {
		m.t.Errorf("it is %s", got)
	}
	m.t.Log(lastLine(m.run("systemd-analyze", "security", "--no-pager", "freshet")))
	m.run("freshet", "service", "install") // again
}

func lastLine(s string) string { return s[strings.LastIndexByte(s, '\n')+1:] }

func (m *machine) starts(*publisher) {
	m.run("freshet", "service", "start")
	if got := m.run("systemctl", "is-active", "freshet"); got != "active" {
		m.t.Errorf("it is %s", got)
	}
	if st := m.status(); !st.Agent {
		m.t.Errorf("no agent answers: %+v", st)
	}
	m.hasVersion(1)
	m.journals()
	if got := m.run("freshet", "service", "status"); !strings.Contains(got, "running") {
		m.t.Errorf("service status: %s", got)
	}
}

// journals asserts that events are found in the journal by their fields.
func (m *machine) journals() {
	m.t.Helper()
	for field, code := range map[string]event.Code{"FRESHET_CODE=" + string(event.BasesUpdated): event.BasesUpdated, "MESSAGE_ID=" + event.MessageID(event.AgentStarted): event.AgentStarted} {
		var entry map[string]any
		out := m.run("journalctl", "--output=json", "--no-pager", "--lines=1", field)
		if err := json.Unmarshal([]byte(out), &entry); err != nil {
			m.t.Errorf("journalctl %s: %v: %s", field, err, out)
			continue
		}
		if entry["FRESHET_CODE"] != string(code) || entry["PRIORITY"] != "6" || entry["MESSAGE_ID"] != event.MessageID(code) {
			m.t.Errorf("journalctl %s: %s", field, out)
		}
	}
}

func (m *machine) status() api.Status {
	m.t.Helper()
	var st api.Status
	if err := json.Unmarshal([]byte(m.run("freshet", "status", "--json")), &st); err != nil {
		m.t.Fatal(err)
	}
	return st
}

// hasVersion waits until the list is at a version and asserts what engines
// read of it.
func (m *machine) hasVersion(version int) {
	m.t.Helper()
	poll(m.t, 30*time.Second, "the list is at version "+strconv.Itoa(version), func() bool {
		st := m.status()
		return slices.ContainsFunc(st.Bases, func(b api.BaseStatus) bool { return b.Name == "list" && b.Version == int64(version) })
	})
	data, err := os.ReadFile(filepath.Join(m.root, "var/lib/freshet/bases/list", m.link(), "list.txt"))
	if err != nil || string(data) != records(version, 1000) {
		m.t.Errorf("what engines read is not version %d: %v", version, err)
	}
}

func (m *machine) link() string {
	m.t.Helper()
	target, err := os.Readlink(filepath.Join(m.root, "var/lib/freshet/bases/list/current"))
	if err != nil {
		m.t.Fatal(err)
	}
	return target
}

// back waits until another agent than the one of pid answers.
func (m *machine) back(pid int, limit time.Duration) time.Duration {
	m.t.Helper()
	began := time.Now()
	poll(m.t, limit, "another agent answers", func() bool {
		now := m.mainPID()
		return now != 0 && now != pid && m.status().Agent
	})
	return time.Since(began).Round(100 * time.Millisecond)
}

func (m *machine) kill(signal string, pid int) {
	m.t.Helper()
	m.run("sh", "-c", "kill -"+signal+" "+strconv.Itoa(pid))
}

func (m *machine) survivesKill(*publisher) {
	pid := m.mainPID()
	m.kill("KILL", pid)
	m.t.Logf("back after %s", m.back(pid, 30*time.Second))
	m.hasVersion(1)
}

func (m *machine) survivesHang(*publisher) {
	m.write("/etc/systemd/system/freshet.service.d/test.conf", "[Service]\nWatchdogSec=4\n")
	m.run("systemctl", "daemon-reload")
	m.run("systemctl", "restart", "freshet")
	pid := m.mainPID()
	// An agent that is well is left alone, well beyond the watchdog's time.
	select {
	case <-time.After(10 * time.Second):
	case <-m.t.Context().Done():
	}
	if now := m.mainPID(); now != pid {
		m.t.Errorf("the watchdog ended an agent that was well\n%s", m.journal())
	}
	m.kill("STOP", pid)
	m.t.Logf("back after %s", m.back(pid, time.Minute))
	if !strings.Contains(m.journal(), "Failed with result 'watchdog'") && !strings.Contains(m.run("journalctl", "-u", "freshet", "--no-pager"), "watchdog") {
		m.t.Errorf("it was not the watchdog:\n%s", m.journal())
	}
	m.hasVersion(1)
}

// asUser runs freshet as a user of the machine, with that user's groups.
func (m *machine) asUser(name string) func(args ...string) *exec.Cmd {
	return func(args ...string) *exec.Cmd {
		return m.command(append([]string{"setpriv", "--reuid=" + name, "--regid=nogroup", "--init-groups", "--", "freshet"}, args...)...)
	}
}

func (m *machine) obeysGroup(p *publisher) {
	m.run("groupadd", "--system", "freshet")
	m.run("useradd", "--no-user-group", "--groups", "freshet", "guard")
	m.publish(p, 2)
	checkCallers(m.t, m.asUser("nobody"))
	m.hasVersion(1)
	member := m.asUser("guard")
	for _, step := range []struct {
		args    string
		version int
	}{
		{"update", 2},
		{"bases rollback list", 1},
		{"update", 1}, // it is held back
		{"bases release list", 1},
		{"update", 2},
	} {
		if out, err := member(strings.Fields(step.args)...).CombinedOutput(); err != nil {
			m.t.Fatalf("a member of the group: %s: %v\n%s", step.args, err, out)
		}
		m.hasVersion(step.version)
	}
}

// publish publishes a version of the list, in the machine too.
func (m *machine) publish(p *publisher, version int) {
	m.t.Helper()
	p.release("list", records(version, 1000))
	m.copyIn(p.repo(), "/srv/next")
	m.run("sh", "-c", "rm -rf /srv/repo && mv /srv/next /srv/repo")
}

func (m *machine) readsSettings(*publisher) {
	m.write("/etc/freshet/freshet.yaml", "version: 1\nsources: [{url: /srv/repo}]\nupdate: {every: 2h}\n")
	poll(m.t, 30*time.Second, "the new settings are in force", func() bool {
		return strings.Contains(m.run("freshet", "task", "show", "6"), "every 2h")
	})
	m.write("/etc/freshet/freshet.yaml", "version: 1\nsorces: [{url: /srv/repo}]\n")
	poll(m.t, 30*time.Second, "the bad edit is told and not in force", func() bool {
		st := m.status()
		return strings.Contains(st.Refused, "sources") && len(st.Sources) == 1
	})
	m.write("/etc/freshet/freshet.yaml", "version: 1\nsources: [{url: /srv/repo}]\n")
	poll(m.t, 30*time.Second, "the mended settings are in force", func() bool { return m.status().Refused == "" })
}

func (m *machine) updatesStopped(p *publisher) {
	m.run("freshet", "service", "stop")
	m.isStopped()
	m.publish(p, 3)
	m.run("freshet", "update")
	m.isStopped()
	if st := m.status(); st.Agent {
		m.t.Errorf("an agent answers: %+v", st)
	}
	m.hasVersion(3)
	m.run("freshet", "service", "start")
	if st := m.status(); !st.Agent {
		m.t.Errorf("no agent answers: %+v", st)
	}
	m.hasVersion(3)
}

func (m *machine) isStopped() {
	m.t.Helper()
	out, _ := m.command("systemctl", "is-active", "freshet").Output()
	if got := strings.TrimSpace(string(out)); got != "inactive" {
		m.t.Errorf("the service is %s\n%s", got, m.journal())
	}
}

func (m *machine) uninstalls(*publisher) {
	pid := m.mainPID()
	m.run("freshet", "service", "uninstall")
	if m.has("/etc/systemd/system/freshet.service") || m.has("/etc/systemd/system/multi-user.target.wants/freshet.service") {
		m.t.Error("its unit is left")
	}
	if err := m.command("sh", "-c", "kill -0 "+strconv.Itoa(pid)).Run(); err == nil {
		m.t.Error("the agent is left")
	}
	if !m.has("/etc/freshet/freshet.yaml") || !m.has("/var/lib/freshet/state.json") {
		m.t.Error("settings or state are gone")
	}
	var out bytes.Buffer
	c := m.command("freshet", "service", "status")
	c.Stdout, c.Stderr = &out, &out
	if err := c.Run(); err != nil || !strings.Contains(out.String(), "not installed") {
		m.t.Errorf("service status: %v: %s", err, out.String())
	}
}
