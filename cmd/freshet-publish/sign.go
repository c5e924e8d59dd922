package main

import (
	"context"

	"github.com/spf13/cobra"
)

func (a *app) signCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "sign REPO ROLE",
		Short: "renew a role with its offline keys",
		Long: `sign signs the metadata of ROLE (root, targets or modules; also bases,
snapshot, timestamp) anew for its whole life. Give the media that hold its
offline keys with --keys, once for each; the online keys are found by themselves.`,
		Example: `  freshet-publish sign /srv/repo root --keys /media/stick-a --keys /media/stick-b`,
		Args:    needs("REPO", "ROLE"),
	}
	a.keysFlag(c)
	c.RunE = a.run(func(ctx context.Context, args []string) error {
		states, err := a.repository(args[0]).Renew(ctx, args[1])
		if err != nil {
			return err
		}
		return a.printRoles(args[0], states)
	})
	return c
}
