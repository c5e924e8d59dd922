//go:build system

package systemtest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/api"
)

// release builds what make release does, for this machine, and gives the folder.
func release(t *testing.T, version string, env ...string) string {
	t.Helper()
	needsProgram(t, "dpkg-deb", "dpkg")
	out := filepath.Join(folder(t), "dist")
	c := exec.Command("../../packaging/release")
	c.Env = append(os.Environ(), append(env, "VERSION="+version, "OUT="+out, "ARCHES="+strings.TrimSpace(sh(t, "go", "env", "GOHOSTARCH")))...)
	if text, err := c.CombinedOutput(); err != nil {
		t.Fatalf("release: %v\n%s", err, text)
	} else {
		t.Logf("%s", bytes.TrimSpace(text))
	}
	return out
}

// deb is the package in a folder of release's.
func deb(t *testing.T, dist string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dist, "freshet_*.deb"))
	if err != nil || len(found) != 1 {
		t.Fatalf("packages: %v, %v", found, err)
	}
	return found[0]
}

// TestPackage installs what is released on a Debian booted for it, as its
// operators do, enrolls it at a publisher outside, and does to the package what
// happens to packages.
func TestPackage(t *testing.T) {
	needsRoot(t)
	key := filepath.Join(folder(t), "key")
	sh(t, needsProgram(t, "ssh-keygen", "openssh-client"), "-q", "-t", "ed25519", "-N", "", "-f", key)
	one := release(t, "v1.0.0", "SIGN_KEY="+key)
	checkSigned(t, one, key)
	p := newPublisher(t, released)
	p.release("list", records(1, 1000))
	m := boot(t, "--network-veth")
	near := newMirror(t, p, m.connect())
	w := &packaged{machine: m, p: p, mirror: near, url: near.url, deb: deb(t, one)}
	two := release(t, "v1.0.1")
	if _, err := os.Stat(filepath.Join(two, "SHA256SUMS.sig")); err == nil {
		t.Error("it is signed without a key")
	}
	w.next = deb(t, two)
	inOrder(w, w, []step[*packaged]{
		{"installed it runs, is enabled, and says to enroll", (*packaged).installs},
		{"service install enables, and writes no second unit", (*packaged).enables},
		{"its exposure is 3.0 at most", (*packaged).exposure},
		{"one command makes the host whole", (*packaged).enrolls},
		{"an upgrade keeps everything, and is tried before it is good", (*packaged).upgrades},
		{"removal stops it and keeps state, installing again goes on", (*packaged).removes},
		{"disabled it stays so over an upgrade", (*packaged).staysDisabled},
		{"what happens to hosts", (*packaged).livesThroughIt},
		{"purge removes state, settings and what was delivered, and nothing of others", (*packaged).purges},
	})
}

// packaged is a machine with the package, and its publisher outside.
type packaged struct {
	*machine
	p         *publisher
	mirror    *mirror
	url       string
	deb, next string
	mechanism string // of the firewall, that versions of the agent name
	unnamed   string // program that versions of the agent are made of
	good      string // version of the agent that bad ones go back to
	ask       string // whom the settings say to ask
	settings  string // file of the operator's, without a firewall
	others    string // rules in the kernel that are not Freshet's
}

// checkSigned verifies a release as its user does.
func checkSigned(t *testing.T, dist, key string) {
	t.Helper()
	pub, err := os.ReadFile(key + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	write(t, key+".signers", "releases@freshet "+string(pub))
	c := exec.Command("sh", "-c", "ssh-keygen -Y verify -f "+key+".signers -I releases@freshet -n freshet-release -s SHA256SUMS.sig <SHA256SUMS && sha256sum --quiet --strict -c SHA256SUMS")
	c.Dir = dist
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for _, name := range []string{"freshet", "freshet-publish"} {
		data, err := os.ReadFile(filepath.Join(dist, name))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(data, []byte("FRESHET_TEST_CLOCK")) || bytes.Contains(data, []byte("FRESHET_CRASH_AT")) || bytes.Contains(data, []byte("FRESHET_STOP_AT")) {
			t.Errorf("%s has the ways of the tests", name)
		}
		if out := sh(t, "go", "version", "-m", filepath.Join(dist, name)); strings.Contains(out, "-tags") {
			t.Errorf("%s was built with tags:\n%s", name, out)
		}
	}
}

// apt installs a package file.
func (w *packaged) apt(file string) {
	w.t.Helper()
	w.copyIn(file, "/root/"+filepath.Base(file))
	began := time.Now()
	w.run("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "-qq", "--no-install-recommends", "/root/"+filepath.Base(file))
	w.t.Logf("apt install: %s", time.Since(began).Round(100*time.Millisecond))
}

func (w *packaged) runs() {
	w.t.Helper()
	poll(w.t, 30*time.Second, "the service is active", func() bool {
		out, _ := w.command("systemctl", "is-active", "freshet").CombinedOutput()
		return strings.TrimSpace(string(out)) == "active"
	})
	if got := w.run("systemctl", "is-enabled", "freshet"); got != "enabled" {
		w.t.Errorf("it is %s", got)
	}
}

func (w *packaged) installs() {
	w.apt(w.deb)
	w.runs()
	st := w.status()
	if !st.Agent || st.State != "without databases" || !strings.Contains(st.Why, "no source: run freshet enroll") {
		w.t.Errorf("%+v", st)
	}
	if out := w.journal(); !strings.Contains(out, "running without databases, no source: run freshet enroll") {
		w.t.Errorf("the journal does not say it:\n%s", out)
	}
	w.run("freshet", "settings", "check")
	if got := w.run("dpkg-query", "-W", "-f", "${Conffiles}", "freshet"); got != "" {
		w.t.Errorf("conffiles: %s", got)
	}
	w.run("getent", "group", "freshet")
	for _, path := range []string{
		"/usr/share/man/man1/freshet-enroll.1.gz", "/usr/share/bash-completion/completions/freshet",
		"/usr/share/zsh/vendor-completions/_freshet", "/usr/share/fish/vendor_completions.d/freshet.fish",
	} {
		// Debian's containers leave manuals out; the package has them.
		if !strings.Contains(w.run("dpkg", "-L", "freshet"), path) {
			w.t.Errorf("%s is not there", path)
		}
	}
	for _, unit := range []string{"freshet", "freshet-firewall"} {
		if out := w.run("systemd-analyze", "verify", "--man=no", "/usr/lib/systemd/system/"+unit+".service"); out != "" {
			w.t.Errorf("systemd-analyze verify: %s", out)
		}
	}
	w.run("systemctl", "is-enabled", "freshet-firewall")
	if got := w.unit("ExecStart"); !strings.Contains(got, "path=/usr/lib/freshet/freshet-launch") {
		w.t.Errorf("the service starts %s", got)
	}
}

func (w *packaged) enables() {
	w.run("systemctl", "disable", "freshet")
	if got := w.run("freshet", "service", "install"); !strings.Contains(got, "/systemd/system/freshet.service") || strings.Contains(got, "/etc/") {
		w.t.Errorf("service install: %s", got)
	}
	w.runs()
	if st, err := os.Lstat(filepath.Join(w.root, "etc/systemd/system/freshet.service")); err == nil {
		w.t.Errorf("a second unit: %v", st)
	}
}

func (w *packaged) exposure() {
	last := lastLine(w.run("systemd-analyze", "security", "--no-pager", "freshet"))
	found := regexp.MustCompile(`[0-9]+\.[0-9]`).FindString(last)
	got, err := strconv.ParseFloat(found, 64)
	if err != nil || got > 3.0 {
		w.t.Errorf("%s (%v)", last, err)
	}
	w.t.Log(last)
}

func (w *packaged) enrolls() {
	w.copyIn(w.p.repo()+"/metadata/1.root.json", "/root/root.json")
	began := time.Now()
	out := w.run("freshet", "enroll", w.url, "--root", "/root/root.json")
	w.t.Logf("enrolled in %s:\n%s", time.Since(began).Round(10*time.Millisecond), out)
	w.hasVersion(1)
	if st := w.status(); len(st.Sources) != 1 || st.Sources[0] != w.url || st.State != "up to date" {
		w.t.Errorf("%+v", st)
	}
	w.p.release("list", records(2, 1000))
	w.t.Log(w.run("freshet", "update"))
	w.hasVersion(2)
}

// quickTrials has the service judge new versions within seconds.
func (m *machine) quickTrials() {
	m.t.Helper()
	m.trials("--gate 3s --soak 3s --look 1s --ready 15s --resume 5s")
}

// trials has the service judge new versions by these flags, from its next start on.
func (m *machine) trials(flags string) {
	m.t.Helper()
	m.write("/etc/systemd/system/freshet.service.d/quick.conf", "[Service]\nExecStart=\nExecStart=/usr/lib/freshet/freshet-launch "+flags+"\n")
	m.run("systemctl", "daemon-reload")
}

// confirms waits until a version of the agent has been tried and is good.
func (m *machine) confirms(version string) {
	m.t.Helper()
	poll(m.t, 2*time.Minute, version+" is confirmed", func() bool {
		var st api.Status
		if m.freshet(&st, "status") != 0 || !st.Agent || st.Version != version {
			return false
		}
		said, err := m.command("cat", "/run/freshet/supervisor.json").Output()
		return err == nil && strings.Contains(string(said), `"version":"`+version+`"`) && !strings.Contains(string(said), `"trial"`)
	})
}

// inUse is what engines and operators have.
func (w *packaged) inUse() string {
	w.t.Helper()
	return w.run("sh", "-c", "sha256sum /etc/freshet/*; ls -l /var/lib/freshet/bases/list")
}

// kept is what removal must not change.
func (w *packaged) kept() string {
	w.t.Helper()
	return w.run("sh", "-c", "sha256sum /etc/freshet/* /var/lib/freshet/state.json /var/lib/freshet/generations/*/* 2>/dev/null; ls -l /var/lib/freshet/bases/list")
}

func (w *packaged) upgrades() {
	w.write("/etc/freshet/freshet.yaml", w.read("/etc/freshet/freshet.yaml")+"# mine\n")
	poll(w.t, 10*time.Second, "the edit is in force", func() bool { return w.status().Refused == "" })
	before, pid := w.inUse(), w.mainPID()
	w.quickTrials()
	w.apt(w.next)
	w.runs()
	w.t.Logf("answers after %s", w.back(pid, 30*time.Second))
	w.confirms("v1.0.1") // first the good one runs, then what the package brought is tried
	if after := w.inUse(); after != before {
		w.t.Errorf("it was\n%s\nand is\n%s", before, after)
	}
	w.hasVersion(2)
}

func (w *packaged) removes() {
	before := w.kept()
	w.run("apt-get", "remove", "-y", "-qq", "freshet")
	if out, err := w.command("systemctl", "is-active", "freshet").CombinedOutput(); err == nil {
		w.t.Errorf("it is %s", out)
	}
	for _, path := range []string{"/usr/bin/freshet", "/usr/lib/freshet"} {
		if w.has(path) {
			w.t.Errorf("%s is left", path)
		}
	}
	if after := w.kept(); after != before {
		w.t.Errorf("it was\n%s\nand is\n%s", before, after)
	}
	w.apt(w.next)
	w.runs()
	w.hasVersion(2)
}

func (w *packaged) staysDisabled() {
	w.run("systemctl", "disable", "--now", "freshet")
	w.run("apt-get", "install", "-y", "-qq", "--reinstall", "/root/"+filepath.Base(w.next))
	for _, ask := range []string{"is-active", "is-enabled"} {
		if out, err := w.command("systemctl", ask, "freshet").CombinedOutput(); err == nil {
			w.t.Errorf("%s: %s", ask, out)
		}
	}
	w.hasVersion(2) // read without an agent
	w.run("systemctl", "enable", "freshet")
}

// purges also has files in an engine's folder: delivered, changed since, and there
// before; and files of the administrator's beside the package's.
func (w *packaged) purges() {
	w.run("mkdir", "-p", "/srv/engine")
	w.run("cp", "/var/lib/freshet/bases/list/current/list.txt", "/srv/engine/list.txt")
	w.run("mkdir", "-p", "/srv/other")
	w.write("/etc/systemd/system/freshet.service.d/override.conf", "[Service]\nReadWritePaths=/srv\n")
	w.run("systemctl", "daemon-reload")
	w.run("systemctl", "restart", "freshet")
	others, _, _ := strings.Cut(w.read("/etc/freshet/freshet.yaml"), "\nbases:") // those of the steps before
	w.write("/etc/freshet/freshet.yaml", strings.TrimRight(others, "\n")+"\nbases:\n  - {name: list, deliver: {to: /srv/engine}}\n  - {name: tree, deliver: {to: /srv/other, mode: \"0640\"}}\n")
	in := filepath.Join(w.p.dir, "in", "tree")
	for _, name := range []string{"sub/one.txt", "two words.txt"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(in, name)), 0o755); err != nil {
			w.t.Fatal(err)
		}
		write(w.t, filepath.Join(in, name), "content of "+name+"\n")
	}
	w.p.run("base", w.p.repo(), "tree", in)
	poll(w.t, time.Minute, "the tree is delivered", func() bool {
		w.command("freshet", "update").Run()
		return w.has("/srv/other/sub/one.txt") && w.has("/srv/other/two words.txt")
	})
	w.write("/srv/other/theirs.txt", "theirs")
	w.write("/etc/freshet/notes.txt", "of the administrator\n")
	if got := w.run("freshet", "bases", "delivered"); !strings.Contains(got, "/srv/engine") || !strings.Contains(got, "list.txt") {
		w.t.Errorf("delivered: %s", got)
	}
	said := w.run("sh", "-c", "apt-get purge -y -qq freshet 2>&1")
	if !strings.Contains(said, "2 files were removed from engines' folders, 0 stay") || !strings.Contains(said, "/etc/freshet stays") {
		w.t.Errorf("it says\n%s", said)
	}
	for _, path := range []string{
		"/etc/freshet/freshet.yaml", "/etc/freshet/root.json", "/var/lib/freshet", "/usr/bin/freshet", "/usr/lib/systemd/system/freshet.service",
		"/etc/systemd/system/multi-user.target.wants/freshet.service", "/srv/other/sub", "/srv/other/two words.txt",
	} {
		if w.has(path) {
			w.t.Errorf("%s is left", path)
		}
	}
	for _, path := range []string{"/srv/engine/list.txt", "/srv/other/theirs.txt", "/etc/systemd/system/freshet.service.d/override.conf", "/etc/freshet/notes.txt"} {
		if !w.has(path) {
			w.t.Errorf("%s is gone, which is not Freshet's", path)
		}
	}
}

func (m *machine) read(path string) string {
	m.t.Helper()
	data, err := os.ReadFile(filepath.Join(m.root, path))
	if err != nil {
		m.t.Fatal(err)
	}
	return string(data)
}

// freshet runs a command with --json and gives its exit code and answer.
func (m *machine) freshet(out any, args ...string) int {
	m.t.Helper()
	c := m.command(append(append([]string{"freshet"}, args...), "--json")...)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	err := c.Run()
	if c.ProcessState == nil {
		m.t.Fatal(err)
	}
	if stdout.Len() > 0 && out != nil {
		if err := json.Unmarshal(stdout.Bytes(), out); err != nil {
			m.t.Fatalf("%v: %v\n%s%s", args, err, stdout.String(), stderr.String())
		}
	}
	return c.ProcessState.ExitCode()
}

// events are those of a code since the log began.
func (m *machine) told(code string) int {
	m.t.Helper()
	var all api.Events
	m.freshet(&all, "events")
	n := 0
	for _, e := range all.Events {
		if string(e.Code) == code {
			n++
		}
	}
	return n
}

// connect gives both ends of the machine's cable their addresses, and this
// side's back: the machine's own network has nothing else in it.
func (m *machine) connect() string {
	m.t.Helper()
	ip := needsProgram(m.t, "ip", "iproute2")
	host, guest := m.addresses()
	sh(m.t, ip, "address", "replace", host+"/30", "dev", m.cable())
	sh(m.t, ip, "link", "set", m.cable(), "up")
	inside := func(args ...string) {
		sh(m.t, "nsenter", append([]string{"-t", m.leader, "-n", "--", ip}, args...)...)
	}
	inside("address", "replace", guest+"/30", "dev", "host0")
	inside("link", "set", "host0", "up")
	return host
}

// addresses are of a net of four that no other machine of this run has.
func (m *machine) addresses() (host, guest string) {
	n := os.Getpid() % 16000 * 4
	return fmt.Sprintf("10.213.%d.%d", n/256, n%256+1), fmt.Sprintf("10.213.%d.%d", n/256, n%256+2)
}

// cable is this side's end: nspawn names it by the machine.
func (m *machine) cable() string {
	name := "ve-" + m.name
	return name[:min(len(name), 15)]
}
