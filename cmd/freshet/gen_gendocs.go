//go:build gendocs

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// Where a package puts this program, and what the service starts.
const (
	packagedProgram  = "/usr/bin/freshet" // a link to the one beside the launcher
	packagedLauncher = "/usr/lib/freshet/freshet-launch"
)

// extraCommands makes the files of a package out of the commands: a build with
// the tag gendocs can, what is released cannot.
func extraCommands() []*cobra.Command {
	return []*cobra.Command{{
		Use: "gen DIR", Short: "Write man pages, completions and the unit into DIR",
		Hidden: true, Args: cobra.ExactArgs(1),
		Example: "  freshet gen DIR",
		RunE: func(cmd *cobra.Command, args []string) error {
			// Defaults are those of the package, whatever is set here.
			root := rootCommand(&options{})
			return generate(root, args[0])
		},
	}}
}

func generate(root *cobra.Command, dir string) error {
	man, completion := filepath.Join(dir, "man"), filepath.Join(dir, "completion")
	for _, d := range []string{man, completion} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	for _, c := range root.Commands() {
		if c.Hidden {
			root.RemoveCommand(c)
		}
	}
	root.DisableAutoGenTag = true
	header := &doc.GenManHeader{Title: "FRESHET", Section: "1", Source: "Freshet", Manual: "Freshet"}
	if err := doc.GenManTree(root, header, man); err != nil {
		return fmt.Errorf("writing man pages: %w", err)
	}
	if err := root.GenBashCompletionFileV2(filepath.Join(completion, "freshet.bash"), true); err != nil {
		return err
	}
	if err := root.GenZshCompletionFile(filepath.Join(completion, "_freshet")); err != nil {
		return err
	}
	if err := root.GenFishCompletionFile(filepath.Join(completion, "freshet.fish"), true); err != nil {
		return err
	}
	return generateUnits(dir)
}

func generateUnits(dir string) error {
	o := &options{config: defaultConfig, stateDir: defaultStateDir, socket: defaultSocket}
	u := unitOf(packagedProgram, o, nil)
	boot, err := bootUnit(u, o.stateDir)
	if err != nil {
		return err
	}
	u.Launch = packagedLauncher
	text, err := u.render()
	if err != nil {
		return err
	}
	// What a person reads of the unit leads to the man page.
	text = strings.Replace(text, "\nAfter=", "\nDocumentation=man:freshet(1) file:/usr/share/doc/freshet/operations.md\nAfter=", 1)
	boot = strings.Replace(boot, "\nDefaultDependencies=", "\nDocumentation=man:freshet-firewall(1) file:/usr/share/doc/freshet/firewall.md\nDefaultDependencies=", 1)
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "freshet.service"), []byte(text), 0o644),
		os.WriteFile(filepath.Join(dir, "freshet-firewall.service"), []byte(boot), 0o644))
}
