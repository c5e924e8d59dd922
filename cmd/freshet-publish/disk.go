//go:build !crashpoints

package main

import "github.com/freshet/freshet/internal/durable"

// disk is the real one.
func disk() *durable.Disk { return nil }
