//go:build !testclock

package main

import "github.com/freshet/freshet/internal/clock"

// testClock is the system's clock, and only a build for tests has another.
func testClock() *clock.Clock { return nil }
