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
)

// agentOf builds the program as a version.
func agentOf(t *testing.T, version, tags string) string {
	t.Helper()
	path := filepath.Join(folder(t), "freshet")
	c := exec.Command("go", "build", "-trimpath", "-tags", tags, "-ldflags", "-s -w -X main.version=v"+version,
		"-o", path, "github.com/freshet/freshet/cmd/freshet")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	return path
}

// TestAgentUpdatesItself installs the package on a Debian booted for it and
// publishes good and bad versions of the agent outside.
func TestAgentUpdatesItself(t *testing.T) {
	needsRoot(t)
	p := newPublisher(t, released)
	p.release("list", records(1, 1000))
	first := deb(t, release(t, "v1.0.0"))
	m := boot(t, "--network-veth")
	near := newMirror(t, p, m.connect())
	w := &packaged{machine: m, p: p, mirror: near, url: near.url, deb: first, mechanism: "iptables", ask: support, unnamed: agentOf(t, unnamed, "")}
	inOrder(w, w, []step[*packaged]{
		{"installed and enrolled, the package's version is good", (*packaged).begins},
		{"through two versions", (*packaged).climbs},
		{"settings that a policy locks stop no update, nor the way back", (*packaged).lockedSettings},
		{"one that serves and crashes, again and again, is taken back", (*packaged).crashesServing},
		{"one that is cut off is taken back", (*packaged).isCutOff},
		{"one that is never ready is taken back", (*packaged).neverReady},
		{"one that damages the settings is taken back, and the settings too", (*packaged).damagesSettings},
		{"one that exits with 0 is taken back", (*packaged).exitsWell},
		{"one that forks and dies is taken back, with what it forked", (*packaged).forksAndDies},
		{"one that leaks memory is taken back", (*packaged).leaks},
		{"one that answers no API is taken back", (*packaged).answersNothing},
		{"one for another machine is taken back", (*packaged).forAnotherMachine},
		{"one that hangs after 30 seconds is taken back", (*packaged).hangsLater},
		{"one whose supervisor crashes at its start is taken back", (*packaged).supervisorCrashes},
		{"a good one whose supervisor does not start any more is passed over, and updated", (*packaged).supervisorBreaksLater},
		{"settings are lifted twice over three versions, and are given back", (*packaged).liftsSettings},
		{"its exposure is 3.0 at most", (*packaged).exposure},
	})
}

// support is whom an operator asks, in the settings here.
const support = "help@example.org"

func (w *packaged) begins() {
	w.apt(w.deb)
	w.runs()
	w.quickTrials()
	w.copyIn(w.p.repo()+"/metadata/1.root.json", "/root/root.json")
	w.run("freshet", "enroll", w.url, "--root", "/root/root.json")
	w.write("/etc/freshet/freshet.yaml", w.read("/etc/freshet/freshet.yaml")+"support: "+support+"\n")
	w.run("systemctl", "restart", "freshet")
	w.hasVersion(1)
	w.confirms("v1.0.0")
}

// offers publishes a version of the agent, whose folder make fills, and has the
// host update.
func (w *packaged) offers(version string, make func(dir string), flags ...string) {
	w.t.Helper()
	w.publishes(version, make, flags...)
	w.t.Log(w.run("freshet", "update"))
}

// offersMajor publishes a version of another major line, which no update takes,
// and has it installed by hand.
func (w *packaged) offersMajor(version string, make func(dir string)) {
	w.t.Helper()
	before := w.says("version")
	w.publishes(version, make)
	w.run("freshet", "update")
	if said := w.run("freshet", "modules", "list"); !strings.Contains(said, version) || w.says("version") != before {
		w.t.Fatalf("%s is not listed, or was installed:\n%s", version, said)
	}
	w.t.Log(w.run("freshet", "modules", "install", "agent", version))
}

func (w *packaged) publishes(version string, make func(dir string), flags ...string) {
	w.t.Helper()
	dir := folder(w.t)
	make(dir)
	sh(w.t, "chmod", "-R", "755", dir)
	programs := strings.Join(strings.Fields(sh(w.t, "ls", dir)), ", ")
	write(w.t, filepath.Join(dir, "module.yaml"), fmt.Sprintf("name: agent\nversion: %s\nplatform: linux/%s\nprograms: [%s]\nstart: [freshet]\nfirewall: %s\n",
		version, strings.TrimSpace(sh(w.t, "go", "env", "GOHOSTARCH")), programs, w.mechanism))
	w.p.run(append([]string{"module", w.p.repo(), dir}, flags...)...)
}

func (w *packaged) offersGood(version string) {
	w.t.Helper()
	began := time.Now()
	w.offers(version, w.built(version))
	w.confirms("v" + version)
	w.good = version
	w.t.Logf("%s is confirmed %s after it was offered", version, time.Since(began).Round(time.Second))
}

// unnamed is the version that a program is built as, to be named later.
const unnamed = "9.99.9"

// built is the program as a version. It is linked once: another version has
// another name in it, of the same length, and is another file.
func (w *packaged) built(version string) func(string) {
	return func(dir string) {
		w.t.Helper()
		data, err := os.ReadFile(w.unnamed)
		if err != nil || len(version) != len(unnamed) || !bytes.Contains(data, []byte("v"+unnamed)) {
			w.t.Fatalf("%s cannot be named %s: %v", w.unnamed, version, err)
		}
		data = bytes.ReplaceAll(data, []byte("v"+unnamed), []byte("v"+version))
		if err := os.WriteFile(filepath.Join(dir, "freshet"), data, 0o755); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *packaged) climbs() {
	pid := w.mainPID()
	for _, version := range []string{"1.10.0", "1.20.0"} {
		w.offersGood(version)
	}
	if now := w.mainPID(); now != pid {
		w.t.Errorf("the service's process was %d and is %d", pid, now)
	}
	w.hasVersion(1)
}

// script is a program in place of the agent's.
func (w *packaged) script(text string) func(string) {
	return func(dir string) { write(w.t, dir+"/freshet", "#!/bin/sh\n"+text+"\n") }
}

// entry is a line of the journal.
type entry struct {
	at   float64 // seconds since boot
	text string
}

func (m *machine) said(pattern string) entry {
	m.t.Helper()
	found, ok := m.find(pattern)
	if !ok {
		m.t.Fatalf("the journal has nothing like %s\n%s", pattern, m.journal())
	}
	return found
}

// find is the last line of the service's journal that a pattern fits; of a
// trial's beginnings the first.
func (m *machine) find(pattern string) (entry, bool) {
	m.t.Helper()
	re := regexp.MustCompile(pattern)
	var found entry
	for line := range strings.Lines(m.run("journalctl", "-u", "freshet", "--no-pager", "-o", "json")) {
		var e struct {
			Message any    `json:"MESSAGE"`
			At      string `json:"__MONOTONIC_TIMESTAMP"`
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			m.t.Fatalf("%v: %s", err, line)
		}
		text, _ := e.Message.(string)
		if !re.MatchString(text) || strings.HasPrefix(pattern, "on trial: ") && found.text != "" {
			continue
		}
		micros, err := strconv.ParseFloat(e.At, 64)
		if err != nil {
			m.t.Fatal(err)
		}
		found = entry{micros / 1e6, text}
	}
	return found, found.text != ""
}
