package main

import (
	"context"
	"fmt"
	"io"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"
)

func (a *app) pruneCommand() *cobra.Command {
	var dry bool
	c := &cobra.Command{
		Use:   "prune REPO",
		Short: "remove what no metadata of the last two hours reaches",
		Long: `prune removes blobs, manifests and metadata that nothing of the last two
hours leads to, so that an agent in the middle of an update is still served. Roots
are kept for good.`,
		Example: `  freshet-publish prune /srv/repo --dry-run`,
		Args:    needs("REPO"),
	}
	c.Flags().BoolVar(&dry, "dry-run", false, "only list what would be removed")
	c.RunE = a.run(func(ctx context.Context, args []string) error {
		p, err := a.repository(args[0]).Prune(ctx, dry)
		if err != nil {
			return err
		}
		return a.print(p, func(w io.Writer) {
			for _, f := range p.Files {
				fmt.Fprintln(w, f)
			}
			verb := "removed"
			if dry {
				verb = "to remove"
			}
			fmt.Fprintf(w, "%s: %s, %s bytes\n", verb, english.Plural(len(p.Files), "file", ""), humanize.Comma(p.Bytes))
		})
	})
	return c
}
