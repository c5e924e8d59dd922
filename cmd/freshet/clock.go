//go:build !testclock

package main

import (
	"time"

	"github.com/freshet/freshet/internal/clock"
)

// testClock is the system's clock, and only a build for tests has another.
func testClock() (*clock.Clock, error) { return nil, nil }

func testRecheck() time.Duration { return 0 }
