package command_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/command"
)

// TestNobodyWhoHoldsTheOutputIsWaitedFor runs commands that leave a process, whose
// number they write to the file "left".
func TestNobodyWhoHoldsTheOutputIsWaitedFor(t *testing.T) {
	const leave = `sleep 1000 & echo $! >left; `
	const escape = `setsid sh -c 'echo $$ >left; exec sleep 1000' & while ! [ -s left ]; do :; done; `
	for _, row := range []struct {
		name   string
		script string
		limit  time.Duration
		leaves bool
		err    string // "": none
		lives  bool   // what it left
	}{
		{"a child that holds the output open ends with it", leave + "echo said", time.Minute, false, "", false},
		{"so does one that left its group", escape + "echo said", time.Minute, false, "", false},
		{"what a command that starts services leaves goes on", leave + "echo said", time.Minute, true, "", true},
		{"its failure is told though a child holds the output", leave + "echo said; exit 3", time.Minute, false, "exit status 3", false},
		{"a command out of time ends with its children", leave + "echo said; sleep 1000", 500 * time.Millisecond, false, "not done after 500ms", false},
		{"and with those that left its group", escape + "echo said; sleep 1000", 500 * time.Millisecond, true, "not done after 500ms", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			var out bytes.Buffer
			c := command.Command{Args: []string{"/bin/sh", "-c", row.script}, Dir: dir, Env: []string{"PATH=/usr/bin:/bin"}, Out: &out, Limit: row.limit, Leaves: row.leaves}
			ended := make(chan error, 1)
			go func() {
				_, err := c.Run(context.Background())
				ended <- err
			}()
			select {
			case err := <-ended:
				if row.err == "" && err != nil || row.err != "" && (err == nil || err.Error() != row.err) {
					t.Errorf("error %v, not %q", err, row.err)
				}
			case <-time.After(30 * time.Second):
				t.Error("it is waited for without end")
			}
			data, err := os.ReadFile(filepath.Join(dir, "left"))
			pid, err2 := strconv.Atoi(strings.TrimSpace(string(data)))
			if err != nil || err2 != nil {
				t.Fatal(err, err2)
			}
			if row.lives {
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Errorf("what it left does not run: %v", err)
				}
			} else if !gone(pid) {
				_ = syscall.Kill(pid, syscall.SIGKILL)
				t.Error("what it left still runs")
			}
			if out.String() != "said\n" && row.limit == time.Minute {
				t.Errorf("it said %q", out.String())
			}
		})
	}
}

// gone waits until a process has ended, if only to be taken note of by init.
func gone(pid int) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 1000 {
		data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil || bytes.Contains(data, []byte(") Z ")) {
			return true
		}
		<-tick.C
	}
	return false
}
