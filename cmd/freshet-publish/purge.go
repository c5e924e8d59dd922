package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"github.com/freshet/freshet/publish"
)

func (a *app) purgeCommand() *cobra.Command {
	var dry bool
	c := &cobra.Command{
		Use:   "purge REPO NAME VERSION...",
		Short: "take versions out that must not be served any more",
		Long: `purge removes versions of the base NAME from the repository at once, such as one
with a secret in it: their images and each delta to or from them, and all that was
superseded. Versions with the same content go with them. The newest version cannot
be purged: publish one without what must go first.

Mirrors, caches and endpoints keep what they have, and what was published may have
been read: a secret must be changed as well. purge lists the files that must go
from caches. The same command again completes one that was cut short.`,
		Example: `  freshet-publish base /srv/repo rules ./rules --exclude .env
  freshet-publish purge /srv/repo rules 41 42`,
	}
	c.Flags().BoolVar(&dry, "dry-run", false, "only say what would be done")
	a.keysFlag(c)
	var versions []int64
	run := a.run(func(ctx context.Context, args []string) error {
		done, err := a.repository(args[0]).Purge(ctx, args[1], versions, dry)
		if err != nil {
			return err
		}
		return a.print(done, func(w io.Writer) { printPurged(w, args[0], done, dry) })
	})
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) < 3 {
			return fmt.Errorf("purge takes REPO NAME VERSION..., not %s", english.Plural(len(args), "argument", ""))
		}
		for _, arg := range args[2:] {
			v, err := strconv.ParseInt(arg, 10, 64)
			if err != nil || v < 1 {
				return fmt.Errorf("%q is no version: give its number", arg)
			}
			versions = append(versions, v)
		}
		return run(c, args)
	}
	return c
}

func printPurged(w io.Writer, dir string, done *publish.Purged, dry bool) {
	for _, f := range done.Files {
		fmt.Fprintln(w, f)
	}
	var names []string
	for _, v := range done.Versions {
		names = append(names, strconv.FormatInt(v, 10))
	}
	verb := "purged"
	if dry {
		verb = "to purge"
	}
	fmt.Fprintf(w, "%s: %s of %s", verb, english.PluralWord(len(names), "version", "")+" "+strings.Join(names, ", "), done.Name)
	if done.Images > 0 {
		fmt.Fprintf(w, "; %s kept another way", english.Plural(done.Images, "image", ""))
	}
	if dry {
		fmt.Fprintln(w)
		return
	}
	fmt.Fprintf(w, "; %s, %s bytes removed\n", english.Plural(len(done.Files), "file", ""), humanize.Comma(done.Bytes))
	fmt.Fprintf(w, `
not done by this:
  mirrors and buckets keep the files above until they are copied with deletion:
    rsync -a --delete %[1]s/blobs/ MIRROR/blobs/, and so targets/ and metadata/
  caches and CDNs keep them until they are purged there, each by its path
  endpoints keep the version until they have another, and for going back
  whoever fetched it has it: change what was secret
`, dir)
}
