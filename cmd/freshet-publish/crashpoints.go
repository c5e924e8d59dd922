//go:build crashpoints

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/freshet/freshet/internal/durable"
)

// disk kills its own process, as kill -9 does, before the disk step that
// FRESHET_CRASH_AT names: "n:17" is the 17th step, "rename:3" the third rename.
// With "count" it prints each step to stderr and lives.
func disk() *durable.Disk {
	at := os.Getenv("FRESHET_CRASH_AT")
	if at == "" {
		return nil
	}
	what, number, _ := strings.Cut(at, ":")
	left, err := strconv.Atoi(number)
	if err != nil && what != "count" {
		panic("FRESHET_CRASH_AT: " + at)
	}
	return &durable.Disk{Step: func(op, path string) error {
		switch what {
		case "count":
			fmt.Fprintf(os.Stderr, "step %s %s\n", op, path)
		case op, "n":
			if left--; left == 0 {
				syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {} // the signal is on its way
			}
		}
		return nil
	}}
}
