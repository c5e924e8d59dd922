//go:build testclock

package main

import (
	"os"

	"github.com/freshet/freshet/internal/clock"
)

// testClock is moved by the file that FRESHET_TEST_CLOCK names, see
// [clock.Moved].
func testClock() *clock.Clock {
	path := os.Getenv("FRESHET_TEST_CLOCK")
	if path == "" {
		return nil
	}
	c, err := clock.Moved(path)
	if err != nil {
		panic("FRESHET_TEST_CLOCK: " + err.Error())
	}
	return c
}
