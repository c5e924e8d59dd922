//go:build !crashpoints

package main

import "github.com/freshet/freshet/internal/durable"

// testDisk is the real disk, and only a build for tests kills itself there.
func testDisk() (*durable.Disk, error) { return nil, nil }
