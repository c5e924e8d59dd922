//go:build testclock

package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/freshet/freshet/internal/clock"
)

// testClock moves the wall clock by what the file named in FRESHET_TEST_CLOCK
// holds: an offset such as 72h, read anew each time, or a time (RFC 3339) at
// which the clock stands.
func testClock() (*clock.Clock, error) {
	path := os.Getenv("FRESHET_TEST_CLOCK")
	if path == "" {
		return nil, nil
	}
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("FRESHET_TEST_CLOCK: %w", err)
	}
	return &clock.Clock{Wall: func() time.Time {
		data, _ := os.ReadFile(path)
		text := strings.TrimSpace(string(data))
		if at, err := time.Parse(time.RFC3339, text); err == nil {
			return at
		}
		offset, _ := time.ParseDuration(text)
		return time.Now().Add(offset)
	}}, nil
}

// testRecheck has the agent notice soon that the file changed.
func testRecheck() time.Duration { return 20 * time.Millisecond }
