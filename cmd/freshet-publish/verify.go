package main

import (
	"context"
	"fmt"
	"io"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"
)

func (a *app) verifyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "verify REPO",
		Short: "read everything back and follow every delta",
		Long: `verify reads all that agents can reach, through the chain of signatures, and
follows every delta to its hash. It prints a line for each file that
sha256sum -c takes in the folder REPO; what is wrong goes to standard error.`,
		Example: `  freshet-publish verify /srv/repo >/tmp/sums && (cd /srv/mirror && sha256sum --quiet -c /tmp/sums)`,
		Args:    needs("REPO"),
		RunE: a.run(func(ctx context.Context, args []string) error {
			v, err := a.repository(args[0]).Verify(ctx)
			if err != nil {
				return err
			}
			err = a.print(v, func(w io.Writer) {
				for _, f := range v.Files {
					fmt.Fprintf(w, "%s  %s\n", f.SHA256, f.File)
				}
			})
			if err != nil {
				return err
			}
			if !a.json {
				fmt.Fprintf(a.errs, "whole: %s; %s followed to the hash, %d more from images no longer kept\n",
					english.Plural(len(v.Files), "file", ""), english.Plural(v.Followed, "delta", ""), v.Unproven)
			}
			for _, text := range v.Wrong {
				fmt.Fprintf(a.errs, "wrong: %s\n", text)
			}
			if n := len(v.Wrong); n > 0 {
				return fmt.Errorf("%s wrong in %s", english.Plural(n, "thing is", "things are"), args[0])
			}
			return nil
		}),
	}
}
