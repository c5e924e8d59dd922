//go:build system

package systemtest_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// machine is a Debian of its own in a container: systemd is its first process
// and it has no network but a loopback device.
type machine struct {
	t      *testing.T
	root   string
	name   string
	args   []string   // of systemd-nspawn
	whole  *testing.T // of its life; t is that of the step at hand
	life   *daemon
	leader string // process ID of its systemd, seen from here
}

// machines counts them: each has a name of its own, since the kernel takes down the
// cable of one that is off when it comes to it.
var machines atomic.Int32

// boot starts a fresh copy of the cached system, with no network unless args say
// otherwise.
func boot(t *testing.T, args ...string) *machine {
	t.Helper()
	needsRoot(t)
	needsProgram(t, "systemd-nspawn", "systemd-container")
	needsProgram(t, "nsenter", "util-linux")
	return bootCopy(t, debian(t), args...)
}

// bootCopy starts a fresh copy of the system in a folder.
func bootCopy(t *testing.T, base string, args ...string) *machine {
	t.Helper()
	name := fmt.Sprintf("fr%d%c", os.Getpid(), 'a'+machines.Add(1)%26) // the end of the cable has 15 characters at most
	m := &machine{t: t, root: filepath.Join(folder(t), "root"), name: name, args: args, whole: t}
	sh(t, "cp", "-a", "--reflink=auto", base, m.root)
	m.up()
	t.Cleanup(m.powerOff)
	return m
}

// up boots the machine, or boots it again.
func (m *machine) up() {
	m.t.Helper()
	nspawn := []string{"-D", m.root, "-M", m.name, "--register=no", "--keep-unit", "--private-network", "-b"}
	m.life = start(m.whole, exec.Command("systemd-nspawn", append(nspawn, m.args...)...))
	up := func() bool {
		m.leader = childOf(m.life.cmd.Process.Pid)
		if m.leader == "" {
			return false
		}
		state, _ := m.command("systemctl", "is-system-running").CombinedOutput()
		return strings.Contains(string(state), "running") || strings.Contains(string(state), "degraded")
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(2 * time.Minute); !up(); <-tick.C {
		if m.life.hasEnded() || time.Now().After(end) {
			missing(m.t, "a host on which systemd-nspawn can boot a system:\n%s", tail(m.life.output.String()))
		}
	}
}

// powerOff shuts the machine down in order.
func (m *machine) powerOff() {
	exec.Command("nsenter", "-t", m.leader, "-a", "--", "systemctl", "poweroff").Run()
	select {
	case <-m.life.ended:
	case <-time.After(time.Minute): // start's own cleanup kills it
	}
	m.unplug() // the next machine has the same addresses
}

// unplug removes this side's end of the cable, where there is one.
func (m *machine) unplug() { exec.Command("ip", "link", "delete", m.cable()).Run() }

// reset is a reboot without a word: with its first process all others are gone
// at once (pid_namespaces(7)).
func (m *machine) reset() {
	m.t.Helper()
	pid, err := strconv.Atoi(m.leader)
	if err != nil {
		m.t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		m.t.Fatal(err)
	}
	<-m.life.ended
	// The kernel takes down the network of what was killed when it comes to it.
	m.unplug()
	m.up()
}

// childOf is the one child of a process, or "".
func childOf(pid int) string {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if f := strings.Fields(string(data)); len(f) > 0 {
		return f[0]
	}
	return ""
}

func tail(s string) string { return s[max(0, len(s)-2000):] }

// command is a command of root within the machine.
func (m *machine) command(args ...string) *exec.Cmd {
	c := exec.Command("nsenter", append([]string{"-t", m.leader, "-a", "--"}, args...)...)
	c.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"}
	return c
}

// run expects that a command does well and gives what it prints.
func (m *machine) run(args ...string) string {
	m.t.Helper()
	out, err := m.command(args...).CombinedOutput()
	if err != nil {
		m.t.Fatalf("%s: %v\n%s\n%s", strings.Join(args, " "), err, out, m.journal())
	}
	return strings.TrimSpace(string(out))
}

// copyIn copies a file or folder of the host to path in the machine.
func (m *machine) copyIn(from, path string) {
	m.t.Helper()
	to := filepath.Join(m.root, path)
	if err := os.RemoveAll(to); err != nil {
		m.t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		m.t.Fatal(err)
	}
	sh(m.t, "cp", "-a", from, to)
}

func (m *machine) write(path, text string) {
	m.t.Helper()
	write(m.t, filepath.Join(m.root, path), text)
}

func (m *machine) has(path string) bool {
	_, err := os.Lstat(filepath.Join(m.root, path))
	return err == nil
}

// unit is a property of the service.
func (m *machine) unit(property string) string {
	m.t.Helper()
	return m.run("systemctl", "show", "-p", property, "--value", "freshet")
}

func (m *machine) mainPID() int {
	m.t.Helper()
	pid, err := strconv.Atoi(m.unit("MainPID"))
	if err != nil {
		m.t.Fatal(err)
	}
	return pid
}

func (m *machine) journal() string {
	out, _ := m.command("journalctl", "-u", "freshet", "--no-pager", "-n", "40").CombinedOutput()
	return string(out)
}
