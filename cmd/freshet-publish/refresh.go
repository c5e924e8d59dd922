package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet/freshet/publish"
)

func (a *app) refreshCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "refresh REPO",
		Short: "sign a new timestamp",
		Long: `refresh signs a new timestamp, and the metadata of bases and the snapshot when
less than half of their life is left. Run it daily by cron: without it agents
take the repository for dead after a week. It warns of offline roles that
expire within 30 days.`,
		Example: `  freshet-publish refresh /srv/repo`,
		Args:    needs("REPO"),
	}
	a.keysFlag(c)
	c.RunE = a.run(func(ctx context.Context, args []string) error {
		states, err := a.repository(args[0]).Refresh(ctx)
		if err != nil {
			return err
		}
		return a.printRoles(args[0], states)
	})
	return c
}

// printRoles says what was signed and what must be signed soon.
func (a *app) printRoles(dir string, states []publish.RoleState) error {
	err := a.print(states, func(w io.Writer) {
		for _, s := range states {
			if s.Signed {
				fmt.Fprintf(w, "%s: version %d signed, valid until %s\n", s.Role, s.Version, s.Expires.Format(time.RFC3339))
			}
		}
	})
	for _, s := range states {
		if s.DueSoon(testClock().Now()) {
			a.warn("%s expires at %s: renew it with freshet-publish sign %s %s --keys MEDIUM", s.Role, s.Expires.Format(time.RFC3339), dir, s.Role)
		}
	}
	return err
}
