//go:build system

package systemtest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/clamd"
)

// TestClamAVOfDebianIsUpdatedWhileItScans is TestClamAVIsUpdatedWhileItScans
// with Debian's own clamav-daemon under its systemd, and the shortest settings.
// Before, it is shown that at boot clamd's folder is in order before clamd
// starts, and that neither waits for the other.
func TestClamAVOfDebianIsUpdatedWhileItScans(t *testing.T) {
	needsRoot(t)
	needsProgram(t, "systemd-nspawn", "systemd-container")
	m := bootCopy(t, debianWith(t, "clamav", "clamav", "clamav-daemon"))
	p := newPublisher(t, released)
	p.hdb(signatures(1, loadSignatures))
	m.copyIn(program(released, "freshet"), "/usr/local/bin/freshet")
	m.copyIn(p.repo(), "/srv/repo")
	m.copyIn(p.repo()+"/metadata/1.root.json", "/etc/freshet/root.json")
	m.write("/etc/freshet/freshet.yaml", "version: 1\nsources: [{url: /srv/repo}]\nupdate: {every: 30d}\nbases:\n  - name: hashes\n    engine: clamav\n")
	m.write("/etc/systemd/system/clamav-daemon.service.d/own.conf", "[Unit]\nConditionPathExistsGlob=\nConditionPathExistsGlob=/var/lib/clamav/*.?db\n")
	m.write("/var/lib/clamav/other.hdb", hash("Test.Other", "of another"))
	m.run("systemctl", "daemon-reload")
	m.run("freshet", "service", "install")
	m.run("freshet", "service", "start")
	poll(t, 5*time.Minute, "the signatures are in clamd's folder", func() bool {
		st := m.status()
		return len(st.Bases) == 1 && st.Bases[0].Version == 1
	})
	m.run("systemctl", "start", "clamav-daemon.service")
	m.detects(1)
	m.tamperAndReboot()
	compareLoads(t, load{
		clamd: m.clamd(), mine: m.owns, detected: func(version int) bool {
			return m.finds(fmt.Sprintf("version %d", version)) == fmt.Sprintf("Test.Version.%d", version)
		},
		plain: func() {
			path := filepath.Join(m.root, "var/lib/clamav/hashes.hdb")
			write(t, path+".new", signatures(2, loadSignatures))
			if err := os.Rename(path+".new", path); err != nil {
				t.Fatal(err)
			}
			if err := m.clamd().Reload(t.Context()); err != nil {
				t.Fatal(err)
			}
		},
		freshet: func() {
			p.hdb(signatures(3, loadSignatures))
			m.copyIn(p.repo(), "/srv/next")
			m.run("sh", "-c", "rm -rf /srv/repo && mv /srv/next /srv/repo")
			t.Log(m.run("freshet", "update", "--dry-run"))
			t.Log(m.run("freshet", "update"))
		},
	})
	if st := m.status(); st.State != "up to date" || len(st.Engines) > 0 {
		t.Errorf("status %+v", st)
	}
}

// clamd is that of the machine, by its socket as seen from here.
func (m *machine) clamd() clamd.Client {
	return clamd.Client{Socket: "/proc/" + m.leader + "/root/run/clamav/clamd.ctl", Timeout: time.Minute}
}

func (m *machine) finds(content string) string {
	v, err := m.clamd().Scan(m.t.Context(), strings.NewReader(content))
	if err != nil {
		return "?"
	}
	return strings.TrimSuffix(v.Found, ".UNOFFICIAL")
}

func (m *machine) detects(version int) {
	m.t.Helper()
	text, said := fmt.Sprintf("version %d", version), ""
	for end := time.Now().Add(6 * time.Minute); m.finds(text) != fmt.Sprintf("Test.Version.%d", version); waitFor(m.t, time.Second) {
		if time.Now().After(end) {
			_, err := m.clamd().Scan(m.t.Context(), strings.NewReader(text))
			out, _ := m.command("sh", "-c", "systemctl status -l clamav-daemon.service clamav-daemon.socket; tail /var/log/clamav/clamav.log; ls -l /var/lib/clamav").CombinedOutput()
			m.t.Fatalf("clamd does not detect version %d: %q, %v\n%s", version, said, err, out)
		}
		said = m.finds(text)
	}
}

// owns says whether a process is one of the machine's.
func (m *machine) owns(proc string) bool {
	ours, err1 := os.Readlink("/proc/" + m.leader + "/ns/pid")
	its, err2 := os.Readlink(filepath.Join(proc, "ns/pid"))
	return err1 == nil && err2 == nil && ours == its
}

// tamperAndReboot damages what was delivered while the machine is off, and
// expects it mended before clamd has started.
func (m *machine) tamperAndReboot() {
	m.t.Helper()
	m.run("systemctl", "enable", "clamav-daemon.service")
	m.powerOff()
	write(m.t, filepath.Join(m.root, "var/lib/clamav/hashes.hdb"), "damaged\n")
	m.up()
	m.detects(1)
	ready := m.run("systemctl", "show", "-p", "ActiveEnterTimestampMonotonic", "--value", "freshet")
	began := m.run("systemctl", "show", "-p", "ExecMainStartTimestampMonotonic", "--value", "clamav-daemon")
	m.t.Logf("µs since boot: the agent was ready at %s, clamd began at %s", ready, began)
	if len(ready) > len(began) || len(ready) == len(began) && ready > began {
		m.t.Error("clamd began before the agent was ready")
	}
}
