package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"github.com/freshet/freshet/internal/settings"
	"github.com/freshet/freshet/publish"
)

func (a *app) bundleCommand() *cobra.Command {
	b := publish.Bundle{}
	valid := "30d"
	c := &cobra.Command{
		Use:   "bundle REPO OUT",
		Short: "make a small repository to carry to machines without a network",
		Long: `bundle makes a folder or, if OUT ends in .zip, one file OUT, which holds the
newest version of each base with its signatures. Agents take it with freshet
import OUT, verified like any mirror, until --valid has passed. With --from it
holds the deltas from that version and later alone, and no full images.

The bundle's signatures take the repository's next numbers, and the repository
itself goes on to those above them: copy it to its mirrors afterwards.`,
		Example: `  freshet-publish bundle /srv/repo /media/stick/freshet.zip
  freshet-publish bundle /srv/repo /media/stick/freshet --from 120 --valid 60d`,
		Args: needs("REPO", "OUT"),
	}
	f := c.Flags()
	f.Int64Var(&b.From, "from", 0, "version of the bases that the machines have at least (default: any or none)")
	f.StringVar(&valid, "valid", valid, "time until it expires, at most 90d")
	a.keysFlag(c)
	run := a.run(func(ctx context.Context, args []string) error {
		b.Out = args[1]
		return a.bundle(ctx, args[0], b)
	})
	c.RunE = func(c *cobra.Command, args []string) error {
		d, err := settings.ParseDuration(valid)
		if err != nil {
			return fmt.Errorf("--valid: %w", err)
		}
		b.Valid = time.Duration(d)
		return run(c, args)
	}
	return c
}

func (a *app) bundle(ctx context.Context, dir string, b publish.Bundle) error {
	done, err := a.repository(dir).Bundle(ctx, b)
	if err != nil {
		return err
	}
	for _, role := range done.Roles {
		a.warn("%s expires before --valid has passed: renew it with freshet-publish sign %s %s --keys MEDIUM", role, dir, role)
	}
	return a.print(done, func(w io.Writer) {
		for _, base := range done.Bases {
			fmt.Fprintln(w, base)
		}
		fmt.Fprintf(w, "bundle %s: %s, %s bytes, valid until %s\n", done.Out, english.Plural(done.Files, "file", ""), humanize.Comma(done.Bytes), done.Until.Format(time.RFC3339))
		fmt.Fprintf(w, "next: carry it to the machines; there: freshet import PATH\n")
	})
}
