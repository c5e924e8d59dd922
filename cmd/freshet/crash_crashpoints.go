//go:build crashpoints

package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/freshet/freshet/internal/durable"
)

// testDisk kills this process, as kill -9 does, before the step of the disk
// that FRESHET_CRASH_AT names: "n:17" is the 17th step of any kind, "rename:3"
// the third rename. FRESHET_STOP_AT has it hang there: see testStop.
func testDisk() (*durable.Disk, error) {
	if text := os.Getenv("FRESHET_STOP_AT"); text != "" {
		return testStop(text)
	}
	at := os.Getenv("FRESHET_CRASH_AT")
	if at == "" {
		return nil, nil
	}
	kind, count, ok := strings.Cut(at, ":")
	n, err := strconv.ParseInt(count, 10, 64)
	if !ok || err != nil || n < 1 {
		return nil, fmt.Errorf("FRESHET_CRASH_AT %q is not as n:17 or rename:3", at)
	}
	var seen atomic.Int64
	return &durable.Disk{Step: func(op, path string) error {
		if (kind == "n" || kind == op) && seen.Add(1) == n {
			fmt.Fprintf(os.Stderr, "freshet: crash at %s: %s %s\n", at, op, path)
			syscall.Kill(syscall.Getpid(), syscall.SIGKILL)
			select {}
		}
		return nil
	}}, nil
}

// testStop stops this process, as a hang does, before a step of the disk:
// "agent 17 FILE" is the agent's 17th step from when FILE is there, which goes.
// The processes that come after it go on.
func testStop(text string) (*durable.Disk, error) {
	f := strings.Fields(text)
	if len(f) != 3 {
		return nil, fmt.Errorf("FRESHET_STOP_AT %q is not as agent 17 FILE", text)
	}
	n, err := strconv.ParseInt(f[1], 10, 64)
	if err != nil || n < 1 {
		return nil, fmt.Errorf("FRESHET_STOP_AT %q is not as agent 17 FILE", text)
	}
	if !slices.Contains(os.Args, f[0]) {
		return nil, nil
	}
	var seen atomic.Int64
	return &durable.Disk{Step: func(op, path string) error {
		if _, err := os.Stat(f[2]); err == nil && seen.Add(1) == n && os.Remove(f[2]) == nil {
			fmt.Fprintf(os.Stderr, "freshet: stopped at %s: %s %s\n", text, op, path)
			return syscall.Kill(syscall.Getpid(), syscall.SIGSTOP)
		}
		return nil
	}}, nil
}
