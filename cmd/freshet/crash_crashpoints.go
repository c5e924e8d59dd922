//go:build crashpoints

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/freshet/freshet/internal/durable"
)

// testDisk kills this process, as kill -9 does, before the step of the disk
// that FRESHET_CRASH_AT names: "n:17" is the 17th step of any kind, "rename:3"
// the third rename.
func testDisk() (*durable.Disk, error) {
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
