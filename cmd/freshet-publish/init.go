package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

func (a *app) initCommand() *cobra.Command {
	var keys string
	c := &cobra.Command{
		Use:   "init REPO --keys DIR",
		Short: "make a repository and its keys",
		Long: `init makes an empty repository in the folder REPO and its keys in the folder
DIR, and says which keys belong offline. The online keys together can publish
bases, but never install a program.`,
		Example: `  freshet-publish init /srv/repo --keys /etc/freshet-keys`,
		Args:    needs("REPO"),
	}
	c.Flags().StringVar(&keys, "keys", "", "new folder for the keys")
	run := a.run(func(ctx context.Context, args []string) error { return a.init(ctx, args[0], keys) })
	c.RunE = func(c *cobra.Command, args []string) error {
		if keys == "" {
			return fmt.Errorf("init needs --keys DIR, the folder for the keys")
		}
		return run(c, args)
	}
	return c
}

func (a *app) init(ctx context.Context, dir, keys string) error {
	files, err := a.repository(dir).Init(ctx, keys)
	if err != nil {
		return err
	}
	result := map[string]any{"repository": dir, "root": dir + "/metadata/1.root.json", "keys": files}
	return a.print(result, func(w io.Writer) {
		fmt.Fprintf(w, "repository %s is ready\n\nkeys to move offline now, each to another place:\n", dir)
		for _, f := range files {
			if f.Offline {
				fmt.Fprintf(w, "  %s\n", f.File)
			}
		}
		fmt.Fprintf(w, "\nkeys that stay on this machine, for publishing:\n")
		for _, f := range files {
			if !f.Offline {
				fmt.Fprintf(w, "  %s\n", f.File)
			}
		}
		fmt.Fprintf(w, `
next:
  copy the offline keys to removable media, and delete them here
  give agents the root of trust: %[1]s/metadata/1.root.json
  or its SHA-256, which freshet-publish show %[1]s prints, for freshet enroll --fingerprint
  publish a base: freshet-publish base %[1]s NAME PATH
  sign a new timestamp daily, by cron: freshet-publish refresh %[1]s
  renew offline roles when refresh warns: freshet-publish sign %[1]s ROLE --keys MEDIUM --keys MEDIUM
`, dir)
	})
}
