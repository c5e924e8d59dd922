//go:build system

package systemtest_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/freshet/freshet/internal/api"
)

// host is a packaged machine whose clock can be moved, and what it went through.
type host struct {
	*packaged
	version int // of the list, published last
	starts  int // of the agent, that there must be
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// livesThroughIt does to the enrolled service what happens to hosts. Each ends
// as designed, read from status, events and the journal.
func (w *packaged) livesThroughIt() {
	h := &host{packaged: w, version: 2}
	inOrder(w, h, []step[*host]{
		{"a build whose clock can be moved takes its place", (*host).movable},
		{"hourly updates come by themselves", (*host).hourly},
		{"killed, it is back, and no more than once", (*host).killed},
		{"hanging, the watchdog ends it", (*host).hangs},
		{"killed in the middle of a download, it goes on from there", (*host).killedFetching},
		{"reset in the middle of an update", (*host).resetFetching},
		{"reset in the middle of a trial, the good version starts first", (*host).resetOnTrial},
		{"the clock two days back", (*host).clockBack},
		{"the clock a year ahead", (*host).clockAhead},
		{"the mirror gone for seven days", (*host).mirrorGone},
		{"through a proxy alone", (*host).proxied},
		{"the service stopped, an update by hand leaves it stopped", (*host).byHand},
		{"there was no start but those that were caused", (*host).noStorm},
		{"a full disk", (*host).fullDisk},
	})
}

const clockFile = "/etc/freshet-clock"

// clock moves the machine's clock as Freshet sees it.
func (h *host) clock(text string) { h.write(clockFile, text) }

func (h *host) movable() {
	h.clock("0s")
	h.write("/etc/systemd/system/freshet.service.d/test.conf", "[Service]\nEnvironment=FRESHET_TEST_CLOCK="+clockFile+"\nWatchdogSec=6\n")
	h.quickTrials()
	h.run("systemctl", "stop", "freshet")
	h.copyIn(agentOf(h.t, "1.0.2", "crashpoints,testclock"), "/usr/lib/freshet/freshet")
	h.run("systemctl", "start", "freshet")
	h.confirms("v1.0.2")
	h.starts = h.told("AgentStarted")
}

func (h *host) start() {
	h.t.Helper()
	h.run("systemctl", "start", "freshet")
	h.starts++
}

// publish makes the next version of the list of n records.
func (h *host) publish(n int) {
	h.t.Helper()
	h.version++
	h.p.run("base", h.p.repo(), "list", h.p.file("list", records(h.version, n)), "--allow-shrink", "a test", "--allow-growth", "a test")
}

// holds waits until a version of n records is what engines read.
func (h *host) holds(version, n int) {
	h.t.Helper()
	poll(h.t, time.Minute, "the list is at version "+strconv.Itoa(version), func() bool {
		data, err := os.ReadFile(filepath.Join(h.root, "var/lib/freshet/bases/list", h.target(), "list.txt"))
		return err == nil && string(data) == records(version, n)
	})
}

func (h *host) target() string {
	target, _ := os.Readlink(filepath.Join(h.root, "var/lib/freshet/bases/list/current"))
	return target
}

func (h *host) hourly() {
	before := h.status().Update.Run
	h.publish(1000)
	h.clock("0s x1800")
	h.holds(h.version, 1000)
	poll(h.t, time.Minute, "three more updates by themselves", func() bool { return h.status().Update.Run >= before+3 })
	h.clock("0s")
	// Those planned by the fast clock lie ahead: a period at the most.
	poll(h.t, time.Minute, "the next update is in its period", func() bool {
		st := h.status()
		return st.State == "up to date" && time.Until(st.Update.Next) < 66*time.Minute
	})
}

func (h *host) killed() {
	pid := h.mainPID()
	h.kill("KILL", pid)
	h.starts++
	h.t.Logf("back after %s", h.back(pid, 30*time.Second))
	h.holds(h.version, 1000)
}

func (h *host) hangs() {
	pid := h.mainPID()
	h.kill("STOP", pid)
	h.starts++
	h.t.Logf("back after %s", h.back(pid, time.Minute))
	if !strings.Contains(h.run("journalctl", "-u", "freshet", "--no-pager", "-n", "200"), "watchdog") {
		h.t.Errorf("it was not the watchdog:\n%s", h.journal())
	}
}

// fetching has the agent begin a download, of which half comes.
func (h *host) fetching() {
	h.t.Helper()
	h.mirror.set("hold")
	h.publish(100_000)
	d := start(h.t, h.command("freshet", "update"))
	poll(h.t, time.Minute, "half of the download is there", func() bool { return h.mirror.holds() || d.hasEnded() })
	if d.hasEnded() {
		h.t.Fatalf("it is over: %s", d.output.String())
	}
}

func (h *host) killedFetching() {
	h.fetching()
	pid := h.mainPID()
	h.kill("KILL", pid)
	h.starts++
	h.back(pid, 30*time.Second)
	h.holds(h.version-1, 1000)
	h.mirror.set("up")
	h.updates(api.Updated)
	h.holds(h.version, 100_000)
}

// updates runs the update and expects an outcome.
func (h *host) updates(want string) api.Result {
	h.t.Helper()
	var res api.Result
	h.freshet(&res, "update")
	if res.Outcome != want {
		h.t.Fatalf("update: %+v, want %s\n%s", res, want, h.journal())
	}
	return res
}

// boots resets the machine and waits for the agent.
func (h *host) boots() {
	h.t.Helper()
	h.reset()
	h.connect()
	h.starts++
	poll(h.t, time.Minute, "the agent answers", func() bool { return h.status().Agent })
}

func (h *host) resetFetching() {
	h.fetching()
	h.boots()
	h.holds(h.version-1, 100_000)
	h.mirror.set("up")
	h.updates(api.Updated)
	h.holds(h.version, 100_000)
	if st := h.status(); st.Trial || len(st.Held) > 0 {
		h.t.Errorf("%+v", st)
	}
}

// watched has each version of the list watched for a time after its switch.
func (h *host) watched(seconds string) {
	h.t.Helper()
	base := h.read("/etc/freshet/freshet.yaml")
	base, _, _ = strings.Cut(base, "\nbases:")
	h.write("/etc/freshet/freshet.yaml", strings.TrimRight(base, "\n")+"\nbases:\n  - {name: list, health: [/bin/true], health_every: 1s, watch: "+seconds+"}\n")
	poll(h.t, 30*time.Second, "the settings are in force", func() bool {
		return strings.Contains(h.run("freshet", "settings", "show"), "watch: "+seconds)
	})
	poll(h.t, time.Minute, "nothing runs", func() bool { return !h.status().Update.Running })
}

func (h *host) resetOnTrial() {
	h.watched("1h")
	h.publish(1000)
	start(h.t, h.command("freshet", "update"))
	poll(h.t, time.Minute, "a version is on trial", func() bool { return h.status().Trial })
	before := h.told("UpdateFinished")
	h.boots()
	// It is taken up again: no version was held back for it.
	poll(h.t, time.Minute, "it is on trial again", func() bool { return h.status().Trial })
	if st := h.status(); len(st.Held) > 0 || h.told("UpdateFinished") != before {
		h.t.Errorf("%+v", st)
	}
	h.run("freshet", "task", "stop", "6")
	poll(h.t, time.Minute, "the good version is back", func() bool { return !h.status().Trial })
	h.holds(h.version-1, 100_000)
	h.watched("1s")
	var res api.Result
	h.freshet(&res, "update")
	h.holds(h.version, 1000)
}

func (h *host) clockBack() {
	h.clock("-48h")
	poll(h.t, time.Minute, "it tells that the clock is behind", func() bool { return h.told("ClockBehind") > 0 })
	h.publish(1000)
	h.updates(api.Updated)
	if st := h.status(); st.State != "up to date" || st.Now.Before(time.Now().Add(-time.Hour)) {
		h.t.Errorf("%+v", st)
	}
	h.clock("0s")
}

func (h *host) clockAhead() {
	h.clock("8760h")
	poll(h.t, time.Minute, "the bases are totally out of date", func() bool { return h.status().State == "totally out of date" })
	h.updates(api.Failed)
	if h.told("MetadataExpired")+h.told("RootExpired") == 0 {
		h.t.Error("it does not tell what has expired")
	}
	h.holds(h.version, 1000)
	h.clock("0s")
	h.publish(1000)
	h.updates(api.Updated)
	if st := h.status(); st.State != "up to date" {
		h.t.Errorf("%+v", st)
	}
}

func (h *host) mirrorGone() {
	h.mirror.set("down")
	old, dead := h.told("BasesAreOutOfDate"), h.told("BasesAreTotallyOutOfDate")
	for _, step := range []struct{ clock, state string }{{"73h", "out of date"}, {"169h", "totally out of date"}} {
		h.clock(step.clock)
		poll(h.t, time.Minute, step.state, func() bool { return h.status().State == step.state })
	}
	h.updates(api.Failed)
	if st := h.status(); !strings.Contains(st.Why, "no source has given anything newer") {
		h.t.Errorf("why: %s", st.Why)
	}
	poll(h.t, time.Minute, "each state is told once", func() bool {
		return h.told("BasesAreOutOfDate") == old+1 && h.told("BasesAreTotallyOutOfDate") == dead+1
	})
	h.holds(h.version, 1000)
	h.clock("0s")
	h.mirror.set("up")
	h.publish(1000)
	h.updates(api.Updated)
	poll(h.t, time.Minute, "all is well again", func() bool { return h.status().State == "up to date" })
}

func (h *host) proxied() {
	direct := h.read("/etc/freshet/freshet.yaml")
	// A host that the proxy alone knows.
	h.write("/etc/freshet/freshet.yaml", "version: 1\nsources: [{url: http://updates.invalid, proxy: "+h.mirror.url+"}]\n")
	poll(h.t, 30*time.Second, "the settings are in force", func() bool {
		st := h.status()
		return len(st.Sources) == 1 && st.Sources[0] == "http://updates.invalid" && !st.Update.Running
	})
	h.publish(1000)
	h.updates(api.Updated)
	h.holds(h.version, 1000)
	if h.mirror.throughProxy() == 0 {
		h.t.Error("nothing came through the proxy")
	}
	h.write("/etc/freshet/freshet.yaml", direct)
}

func (h *host) byHand() {
	h.run("systemctl", "stop", "freshet")
	h.publish(1000)
	h.updates(api.Updated)
	h.holds(h.version, 1000)
	if out, err := h.command("systemctl", "is-active", "freshet").CombinedOutput(); err == nil {
		h.t.Errorf("it is %s", out)
	}
	h.start()
}

func (h *host) noStorm() {
	if got := h.told("AgentStarted"); got != h.starts {
		h.t.Errorf("the agent started %d times, want %d\n%s", got, h.starts, h.journal())
	}
	h.t.Logf("%d starts, all of them caused", h.starts)
}

// fullDisk moves the state to a small file system, and fills it.
func (h *host) fullDisk() {
	h.run("systemctl", "stop", "freshet")
	h.run("sh", "-c", "mkdir /srv/small && mount -t tmpfs -o size=160m none /srv/small && cp -a /var/lib/freshet/. /srv/small && mount --move /srv/small /var/lib/freshet || mount --bind /srv/small /var/lib/freshet")
	h.run("systemctl", "start", "freshet")
	h.run("sh", "-c", "dd if=/dev/zero of=/var/lib/freshet/filler bs=64k 2>/dev/null || true; truncate -s -1M /var/lib/freshet/filler")
	h.publish(300_000)
	h.updates(api.Failed)
	if h.told("DiskFull") == 0 {
		h.t.Errorf("it does not tell that the disk is full:\n%s", h.journal())
	}
	if got := h.status().Bases[0].Version; got != int64(h.version-1) {
		h.t.Errorf("version %d", got)
	}
	h.run("rm", "/var/lib/freshet/filler")
	h.updates(api.Updated)
	h.run("systemctl", "stop", "freshet")
	h.run("sh", "-c", "cp -a /var/lib/freshet /srv/kept && umount /var/lib/freshet; umount /srv/small 2>/dev/null; rm -rf /var/lib/freshet && mv /srv/kept /var/lib/freshet")
	h.run("rm", "-rf", "/etc/systemd/system/freshet.service.d", clockFile)
	h.run("systemctl", "daemon-reload")
}
