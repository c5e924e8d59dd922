//go:build system

package systemtest_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/api"
)

// TestATrialOutlivesARebootAndASleep puts a version of the agent on trial on a
// Debian booted for it, and within the trial the machine is reset, and another
// time it sleeps. Both times bases come in the first minute after it: they are in
// use, the trial goes on, and the version is confirmed.
func TestATrialOutlivesARebootAndASleep(t *testing.T) {
	needsRoot(t)
	p := newPublisher(t, tagged)
	p.release("list", records(1, 1000))
	m := boot(t, "--network-veth")
	near := newMirror(t, p, m.connect())
	w := &packaged{
		machine: m, p: p, mirror: near, url: near.url, deb: deb(t, release(t, "v1.0.0")), mechanism: "iptables", ask: support,
		unnamed: agentOf(t, unnamed, "testclock"),
	}
	h := &host{packaged: w, version: 1}
	inOrder(w, h, []step[*host]{
		{"installed and enrolled", (*host).enrolled},
		{"a reset in the trial", (*host).resetInTrial},
		{"eight hours of sleep in the trial", (*host).sleepsInTrial},
	})
}

func (h *host) enrolled() {
	h.clock("0s")
	h.write("/etc/systemd/system/freshet.service.d/test.conf", "[Service]\nEnvironment=FRESHET_TEST_CLOCK="+clockFile+"\n")
	h.apt(h.deb)
	h.runs()
	h.trials("--gate 2s --soak 8s --look 1s --ready 15s --resume 6s")
	h.copyIn(h.p.repo()+"/metadata/1.root.json", "/root/root.json")
	h.run("freshet", "enroll", h.url, "--root", "/root/root.json")
	h.run("systemctl", "restart", "freshet")
	h.hasVersion(1)
	h.offersGood("1.10.0") // which knows the clock
}

// onTrial says whether a version of the agent runs, on trial.
func (h *host) onTrial(version string) bool {
	said, err := h.command("cat", "/run/freshet/supervisor.json").Output()
	var st struct {
		Trial *struct {
			Modules string `json:"modules"`
			Phase   string `json:"phase"`
		} `json:"trial"`
	}
	return err == nil && json.Unmarshal(said, &st) == nil && st.Trial != nil && st.Trial.Modules == "agent "+version && st.Trial.Phase == "watched"
}

// tries has a version of the agent be on trial.
func (h *host) tries(version string) {
	h.t.Helper()
	h.offers(version, h.built(version))
	poll(h.t, time.Minute, version+" is on trial", func() bool { return h.onTrial(version) })
}

// bases publishes the next version of the list, has it installed, and expects it
// to be in use beside the trial.
func (h *host) bases() {
	h.t.Helper()
	h.publish(1000)
	h.updates(api.Updated)
	h.holds(h.version, 1000)
}

// endsWell expects a version to be confirmed and nothing to have been held
// against it, nor against the bases.
func (h *host) endsWell(version string) {
	h.t.Helper()
	h.confirms("v" + version)
	h.holds(h.version, 1000)
	if st := h.status(); st.Trial || len(st.Held) > 0 || h.told("ModuleRolledBack") > 0 {
		h.t.Errorf("%+v\n%s", st, h.journal())
	}
	h.bases() // and later updates are none the worse for it
}

func (h *host) resetInTrial() {
	h.tries("1.20.0")
	h.boots()
	if st := h.status(); st.Version != "v1.10.0" {
		h.t.Errorf("%s runs first", st.Version)
	}
	h.bases() // while the trial waits
	poll(h.t, time.Minute, "the trial goes on", func() bool { return h.onTrial("1.20.0") })
	h.endsWell("1.20.0")
}

func (h *host) sleepsInTrial() {
	h.tries("1.30.0")
	h.clock("8h asleep")
	h.bases()
	if !h.onTrial("1.30.0") {
		h.t.Errorf("the sleep ended the trial\n%s", h.journal())
	}
	h.endsWell("1.30.0")
}
