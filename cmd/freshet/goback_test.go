package main_test

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestRollbackDoesWithoutAnAgentThatHangs stops the agent's process, as a hang
// does, and goes back.
func TestRollbackDoesWithoutAnAgentThatHangs(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds two programs")
	}
	old, next := buildAs(t, "1.0.0", ""), buildAs(t, "1.1.0", "")
	for _, row := range []struct {
		name    string
		flags   []string
		onTrial bool
	}{
		{"on trial", []string{"--gate", "1h", "--look", "30s"}, true}, // nobody judges it meanwhile
		{"confirmed", []string{"--gate", "500ms", "--soak", "500ms"}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			h := newHost(t, old, schema1)
			h.start(row.flags...)
			h.until("1.0.0 serves", h.serves("1.0.0", false))
			h.try("1.1.0", next)
			h.until("1.1.0 serves", h.serves("1.1.0", row.onTrial))
			if st := lstat(t, h.dir+"/run/supervisor.sock"); st.mode.Perm()&0o077 != 0 {
				t.Errorf("others may use the supervisor's socket: %v", st.mode)
			}
			if out, err := h.run(h.prog, "rollback", "99"); err == nil || !strings.Contains(out, "no such generation") {
				t.Errorf("rollback to what is not there: %v\n%s", err, out)
			}
			pid := h.agentPID("1.1.0")
			if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			if out, err := h.run(h.prog, "rollback", "99"); err == nil || !strings.Contains(out, "no such generation") {
				t.Errorf("rollback to what is not there, without the agent: %v\n%s", err, out)
			}
			began := time.Now()
			out := h.must(h.prog, "rollback")
			t.Logf("%s after %s", strings.TrimSpace(out), time.Since(began).Round(time.Millisecond))
			h.until("1.0.0 serves", h.serves("1.0.0", false))
			t.Logf("it serves after %s", time.Since(began).Round(time.Millisecond))
			st, err := h.store.Load()
			if err != nil || st.Current != st.Good || st.Trial != 0 {
				t.Errorf("%+v, %v", st, err)
			}
			if held, ok := st.HeldModule("agent", "1.1.0"); !ok || !held.ByHand {
				t.Errorf("1.1.0 is not held back by hand: %+v", st.Quarantine)
			}
			h.until("the operator can read of it", func() bool {
				out, _ := h.run(h.prog, "events", "--json")
				return strings.Contains(out, "WentBack")
			})
			h.until("the agent that hung is gone", func() bool { return syscall.Kill(pid, 0) != nil })
		})
	}
}

// agentPID is the process of the agent that the supervisor says runs.
func (h *host) agentPID(version string) int {
	h.t.Helper()
	st := h.status()
	if st == nil {
		h.t.Fatalf("no agent answers\n%s", h.output())
	}
	for _, m := range st.Supervisor.Modules {
		if m.Name == "agent" && m.Version == version && m.PID > 0 {
			return m.PID
		}
	}
	h.t.Fatalf("no agent %s among %+v", version, st.Supervisor.Modules)
	return 0
}
