//go:build testclock

package main

import (
	"fmt"
	"os"
	"time"

	"github.com/freshet/freshet/internal/clock"
)

// testClock is moved by the file that FRESHET_TEST_CLOCK names, see
// [clock.Moved].
func testClock() (*clock.Clock, error) {
	path := os.Getenv("FRESHET_TEST_CLOCK")
	if path == "" {
		return nil, nil
	}
	c, err := clock.Moved(path)
	if err != nil {
		return nil, fmt.Errorf("FRESHET_TEST_CLOCK: %w", err)
	}
	return c, nil
}

// testRecheck has the agent notice soon that the file changed.
func testRecheck() time.Duration { return 20 * time.Millisecond }
