//go:build !gendocs

package main

import "github.com/spf13/cobra"

// extraCommands is none: only a build that makes a package has another.
func extraCommands() []*cobra.Command { return nil }
