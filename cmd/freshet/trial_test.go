package main_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestATrialThroughAccidents has whole programs update each other, and things
// happen in the trial; each has one end.
func TestATrialThroughAccidents(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds two programs")
	}
	old, next := buildAs(t, "1.0.0", "testclock"), buildAs(t, "1.1.0", "testclock")
	busy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "600")
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	t.Cleanup(busy.Close)
	for _, row := range []struct {
		name   string
		source string // where updates are asked for, in vain
		clock  string // the wall clock, from when the trial runs
	}{
		{"the source wants to be left alone for 10 minutes", busy.URL, "0s"},
		{"the network is down", "http://127.0.0.1:9", "0s"},
		{"the clock goes back a year", "http://127.0.0.1:9", "-8760h"},
	} {
		t.Run(row.name+" is no regression", func(t *testing.T) { confirmedThough(t, old, next, row.source, row.clock) })
	}
	t.Run("a version below the package's is refused with a hint", func(t *testing.T) { belowThePackage(t, old, next) })
	t.Run("the package is replaced underneath", func(t *testing.T) { replacedUnderneath(t, old, next) })
	t.Run("uninstalled and installed again in a trial", func(t *testing.T) { reinstalled(t, old, next) })
	t.Run("the host is off for a day in a trial", func(t *testing.T) { offForADay(t, old, next) })
	t.Run("what an operator edits in a trial survives it", func(t *testing.T) { editedInATrial(t, old, next) })
	t.Run("enrolling while the newest release is bad", func(t *testing.T) { enrolledOnABadDay(t, old, next) })
	t.Run("the package is upgraded in a trial", func(t *testing.T) { upgradedInATrial(t, old, next) })
}

func clocked(t *testing.T, program, settings string) *host {
	t.Helper()
	h := newHost(t, program, settings)
	h.write(h.dir+"/clock", "0s")
	h.clock = h.dir + "/clock"
	return h
}

func confirmedThough(t *testing.T, old, next, source, clock string) {
	repo := t.TempDir() + "/repo"
	h := clocked(t, old, fmt.Sprintf("version: 1\nsources: [{url: %q, proxy: none}]\nroot: %s/metadata/1.root.json\nlog: {to: stderr}\n", source, repo))
	h.must(filepath.Join(bin(), "freshet-publish"), "init", repo, "--keys", filepath.Dir(repo)+"/keys")
	h.start("--gate", "2s", "--soak", "1s")
	h.until("1.0.0 serves", h.serves("1.0.0", false))
	h.until("its first update is over", func() bool { // an update prunes what the test is putting there
		out, _ := h.run(h.prog, "events", "--json")
		return strings.Contains(out, "UpdateFailed")
	})
	h.try("1.1.0", next)
	h.until("1.1.0 is on trial", h.serves("1.1.0", true))
	h.write(h.clock, clock)
	if out, err := h.run(h.prog, "update"); err == nil {
		t.Errorf("an update succeeded: %s", out)
	}
	h.until("1.1.0 is confirmed", h.serves("1.1.0", false))
	if st, err := h.store.Load(); err != nil || len(st.Quarantine) > 0 || st.Current != st.Good {
		t.Errorf("%+v, %v", st, err)
	}
}

func belowThePackage(t *testing.T, old, next string) {
	h := clocked(t, next, schema1)
	h.start("--gate", "1h")
	h.until("1.1.0 serves", h.serves("1.1.0", false))
	h.try("1.0.0", old)
	h.until("the operator is told", func() bool {
		out, _ := h.run(h.prog, "events", "--json")
		return strings.Contains(out, "version 1.0.0 is older than the installed package's 1.1.0: install an older package first")
	})
	h.until("1.1.0 serves on", h.serves("1.1.0", false))
}

// replacedUnderneath has a package manager put other programs in place while the
// service runs: nothing changes until it starts anew; then a newer one is tried,
// and an older one, brought after that, is left alone.
func replacedUnderneath(t *testing.T, old, next string) {
	h := clocked(t, old, schema1)
	h.start("--gate", "500ms", "--soak", "500ms")
	h.until("1.0.0 serves", h.serves("1.0.0", false))
	h.put(next, h.prog)
	h.until("1.0.0 serves on", h.serves("1.0.0", false))
	h.stop()
	h.start("--gate", "500ms", "--soak", "500ms")
	h.until("1.1.0 is confirmed", h.serves("1.1.0", false))
	h.stop()
	h.put(old, h.prog)
	h.start("--gate", "500ms", "--soak", "500ms")
	h.until("1.1.0 serves still", h.serves("1.1.0", false))
	if st, err := h.store.Load(); err != nil || len(st.Quarantine) > 0 {
		t.Errorf("%+v, %v", st, err)
	}
}

func reinstalled(t *testing.T, old, next string) {
	h := clocked(t, old, schema1)
	h.start("--gate", "1h")
	h.until("1.0.0 serves", h.serves("1.0.0", false))
	h.try("1.1.0", next)
	h.until("1.1.0 is on trial", h.serves("1.1.0", true))
	h.stop() // as the package's removal does, which keeps state and settings
	if err := os.RemoveAll(filepath.Dir(h.prog)); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(h.dir + "/run"); err != nil {
		t.Fatal(err)
	}
	h.put(old, h.prog)
	h.start("--gate", "1s", "--soak", "1s")
	h.until("the trial is taken up again and ends well", h.serves("1.1.0", false))
	if st, err := h.store.Load(); err != nil || len(st.Quarantine) > 0 || st.BadEnds > 0 {
		t.Errorf("%+v, %v", st, err)
	}
}

// offForADay cuts the power in a trial: after the boot the good version runs, and
// the trial is taken up again.
func offForADay(t *testing.T, old, next string) {
	h := clocked(t, old, schema1)
	h.start("--gate", "1h")
	h.until("1.0.0 serves", h.serves("1.0.0", false))
	h.try("1.1.0", next)
	h.until("1.1.0 is on trial", h.serves("1.1.0", true))
	h.cut()
	h.write(h.clock, "24h")
	h.start("--gate", "1s", "--soak", "1s", "--resume", "3s")
	h.until("the good version serves first", h.serves("1.0.0", false))
	h.until("the trial is taken up again and ends well", h.serves("1.1.0", false))
	if st, err := h.store.Load(); err != nil || len(st.Quarantine) > 0 || st.BadEnds > 0 {
		t.Errorf("%+v, %v", st, err)
	}
}

// cut ends all at once, as a power cut does, and empties what a boot does.
func (h *host) cut() {
	h.t.Helper()
	h.mu.Lock()
	h.done = true
	pid := h.pid
	h.mu.Unlock()
	all := []int{pid}
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, file := range files {
		data, _ := os.ReadFile(file)
		for _, f := range strings.Fields(string(data)) {
			if child, err := strconv.Atoi(f); err == nil {
				all = append(all, child)
			}
		}
	}
	for _, p := range all {
		if p > 0 {
			_ = syscall.Kill(p, syscall.SIGKILL)
		}
	}
	h.wg.Wait()
	if err := os.RemoveAll(h.dir + "/run"); err != nil {
		h.t.Fatal(err)
	}
}

// upgradedInATrial has a package manager bring a program while another is on
// trial, and start the service anew. One that is older than what is on trial
// waits, a newer one takes the trial's place; neither is held against anybody.
func upgradedInATrial(t *testing.T, old, next string) {
	between, newest := buildAs(t, "1.0.5", "testclock"), buildAs(t, "1.2.0", "testclock")
	for _, row := range []struct{ name, program, want string }{
		{"by one older than that on trial", between, "1.1.0"},
		{"by one newer than that on trial", newest, "1.2.0"},
	} {
		t.Run(row.name, func(t *testing.T) {
			h := clocked(t, old, schema1)
			h.start("--gate", "1h")
			h.until("1.0.0 serves", h.serves("1.0.0", false))
			h.try("1.1.0", next)
			h.until("1.1.0 is on trial", h.serves("1.1.0", true))
			h.put(row.program, h.prog)
			h.until("the trial goes on", h.serves("1.1.0", true))
			h.stop()
			h.start("--gate", "1s", "--soak", "1s")
			h.until(row.want+" is confirmed", h.serves(row.want, false))
			if st, err := h.store.Load(); err != nil || len(st.Quarantine) > 0 || st.BadEnds > 0 {
				t.Errorf("%+v, %v", st, err)
			}
		})
	}
}
