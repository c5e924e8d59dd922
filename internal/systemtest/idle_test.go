//go:build system

package systemtest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/api"
)

// What an idle agent may cost: its memory (VmRSS), and the times that its
// threads woke up within idleWindow. The Go runtime collects garbage every two
// minutes, which wakes its threads some 60 times: of two windows, one at most
// may hold that. The agent's next timer is minutes away.
const (
	idleMemory  = 25 << 10 // KiB
	idleWindow  = 20 * time.Second
	idleWakes   = 10
	idleCollect = 150
)

// TestIdleAgent measures an agent that has just applied a delta to a base of
// 60 MB and now waits for its next hour.
func TestIdleAgent(t *testing.T) {
	const n = 2_500_000
	p := newPublisher(t, released)
	p.release("list", records(1, n))
	e := newEndpoint(t, p, p.serve())
	d := e.listening()
	e.update(api.Updated)
	p.release("list", records(2, n))
	e.update(api.Updated)
	st := e.status()
	if !st.Agent || len(st.Bases) != 1 || st.Bases[0].Version != 2 {
		t.Fatalf("%+v", st)
	}
	pid := d.cmd.Process.Pid
	// What follows an update, such as giving memory back, ends soon.
	poll(t, time.Minute, fmt.Sprintf("%d KiB of memory at most", idleMemory), func() bool {
		return processField(t, pid, "VmRSS") <= idleMemory && quiet(t, pid)
	})
	first, second := window(t, pid), window(t, pid)
	memory := processField(t, pid, "VmRSS")
	t.Logf("with a base of %d MB, after an update: VmRSS %.1f MiB (peak %.1f MiB), %d and %d wake-ups of %d threads in %s each",
		st.Bases[0].Size/1e6, float64(memory)/1024, float64(processField(t, pid, "VmHWM"))/1024, first, second, processField(t, pid, "Threads"), idleWindow)
	if memory > idleMemory {
		t.Errorf("VmRSS is %d KiB, the most is %d", memory, idleMemory)
	}
	if min(first, second) > idleWakes || max(first, second) > idleCollect {
		t.Errorf("it woke %d and %d times; the most is %d, and %d once", first, second, idleWakes, idleCollect)
	}
	d.signal(syscall.SIGTERM)
	<-d.ended
}

// window counts wake-ups for as long as idleWindow: the time is what is
// measured, not waited for.
func window(t *testing.T, pid int) int {
	before := wakes(t, pid)
	<-time.After(idleWindow)
	return wakes(t, pid) - before
}

// quiet says whether no thread woke within a second.
func quiet(t *testing.T, pid int) bool {
	before := wakes(t, pid)
	<-time.After(time.Second)
	return wakes(t, pid) == before
}

// wakes is how often the process's threads have left a wait (proc(5):
// voluntary_ctxt_switches).
func wakes(t *testing.T, pid int) int {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(tasks) == 0 {
		t.Fatalf("no threads of %d: %v", pid, err)
	}
	sum := 0
	for _, path := range tasks {
		sum += field(t, path, "voluntary_ctxt_switches")
	}
	return sum
}

func processField(t *testing.T, pid int, name string) int {
	t.Helper()
	return field(t, fmt.Sprintf("/proc/%d/status", pid), name)
}

// field is a number of a status file of proc(5).
func field(t *testing.T, path, name string) int {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); f[0] == name+":" {
			n, err := strconv.Atoi(f[1])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("%s does not say %s", path, name)
	return 0
}
