package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/freshet/freshet/publish"
)

func (a *app) moduleCommand() *cobra.Command {
	var rel publish.ModuleRelease
	c := &cobra.Command{
		Use:   "module REPO DIR",
		Short: "publish a release of a module",
		Long: `module publishes the folder DIR as a release of the module that its module.yaml
describes: name, version, platform, programs, how it is started and asked for
its health. The module agent is Freshet itself.

It takes two of the three offline keys of the role modules: give the media that
hold them with --keys, once for each; the online keys are found by themselves.
The same content under the same version is not published again; another content
under it, and a lower version in the same major line, are refused.`,
		Example: `  freshet-publish module /srv/repo ./agent-1.4.0 --keys /media/stick-a --keys /media/stick-b`,
		Args:    needs("REPO", "DIR"),
	}
	c.Flags().BoolVar(&rel.AnyProgram, "any-program", false, "do not look whether programs are whole and made for the platform")
	a.keysFlag(c)
	c.RunE = a.run(func(ctx context.Context, args []string) error {
		rel.Path = args[1]
		return a.module(ctx, args[0], rel)
	})
	return c
}

func (a *app) module(ctx context.Context, dir string, rel publish.ModuleRelease) error {
	done, err := a.repository(dir).PublishModule(ctx, rel)
	if err != nil {
		return err
	}
	err = a.print(done, func(w io.Writer) {
		at := done.Published.Format(time.RFC3339)
		if done.Unchanged {
			fmt.Fprintf(w, "%s: nothing new: %s of %s has this content\n", done.Name, done.Version, at)
			return
		}
		fmt.Fprintf(w, "%s: %s for %s published at %s: %s bytes, full %s", done.Name, done.Version, done.Platform, at,
			humanize.Comma(done.Size), humanize.Comma(done.Full))
		for _, d := range done.Deltas {
			fmt.Fprintf(w, ", from %s %s", d.From, humanize.Comma(d.Size))
		}
		fmt.Fprintln(w)
	})
	for _, text := range done.Warnings {
		a.warn("%s", text)
	}
	if err == nil && len(done.Warnings) > 0 {
		return errPartly
	}
	return err
}
