package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"github.com/freshet/freshet/internal/settings"
	"github.com/freshet/freshet/publish"
)

// maxNotes is the longest file of release notes, in bytes.
const maxNotes = 64 << 10

func (a *app) baseCommand() *cobra.Command {
	var rel publish.Release
	var published, notes string
	every := "1h"
	c := &cobra.Command{
		Use:   "base REPO NAME PATH",
		Short: "publish a version of a base",
		Long: `base publishes the file or folder PATH as the next version of the base NAME. A pipe
is read to its end, and - is the standard input; its first version needs --file.
Content that the newest version has already, with the same checks and notes, is
published again, as a sign of life, only once --every has passed.

The floor of records, --max-shrink and the samples are remembered from version to
version. Content that is empty, below the floor, or less than half or more than
five times of the version before is refused, and nothing changes. So is what
changed in form: a page of HTML in place of a list, a last line that is cut, a file
of a folder that became empty, another kind of content. --allow REASON publishes
it all the same. What is only strange is published and warned of, with exit code 3.

Of a folder .git, .hg, .svn and .bzr never travel. --include and --exclude say what
else does, each time anew; a pattern without a slash is held against each part of a
path, one with a slash against the path. New dot files are pointed out.`,
		Example: `  freshet-publish base /srv/repo domains /var/lib/feed/domains.txt
  freshet-publish base /srv/repo domains domains.txt --min-records 100000 --must-have evil.example
  zcat feed.gz | freshet-publish base /srv/repo feed - --file feed.txt
  freshet-publish base /srv/repo daily daily.cvd --unpack
  freshet-publish base /srv/repo rules ./rules --every 24h --notes notes.txt`,
		Args: needs("REPO", "NAME", "PATH"),
	}
	f := c.Flags()
	f.Int64Var(&rel.Version, "version", 0, "number of the version (default the next)")
	f.StringVar(&published, "published", "", "time of publication, RFC 3339 (default now)")
	f.StringVar(&every, "every", every, "how often the base is published, such as 30m, 6h or 3d")
	f.StringVar(&rel.File, "file", "", "the file's name at the endpoint (default as before, at first that of PATH)")
	f.Int64Var(&rel.MinRecords, "min-records", 0, "fewest records that it may have (default as before)")
	f.StringArrayVar(&rel.MustHave, "must-have", nil, "record that must be in it; may be repeated; \"\" alone empties the list")
	f.StringArrayVar(&rel.MustLack, "must-lack", nil, "record that must not be in it; may be repeated; \"\" alone empties the list")
	f.BoolVar(&rel.Unpack, "unpack", false, "publish what is in PATH: gzip, bzip2, xz, zstd, zip, tar, or a CVD")
	f.BoolVar(&rel.Sort, "sort", false, "publish the lines of PATH in order: deltas of shuffled lists are as large as the lists")
	f.StringArrayVar(&rel.Include, "include", nil, "pattern of the files of a folder that are published, such as '*.yar'; may be repeated (default all)")
	f.StringArrayVar(&rel.Exclude, "exclude", nil, "pattern of files and folders that are not, such as '.*' or docs; may be repeated")
	f.IntVar(&rel.MaxShrink, "max-shrink", 0, "percent of its records that may be gone at once (default as before, at first 50)")
	f.StringVar(&rel.Allow, "allow", "", "reason why its form differs from before, such as an encoding or a file that became empty; goes into the notes")
	f.StringVar(&rel.Growth, "allow-growth", "", "reason why it is more than five times as large as before; goes into the notes")
	f.StringVar(&rel.Shrink, "allow-shrink", "", "reason why it is much smaller than before; goes into the notes")
	f.StringVar(&notes, "notes", "", "file with release notes")
	a.keysFlag(c)
	run := a.run(func(ctx context.Context, args []string) error { return a.base(ctx, args[0], rel, notes) })
	c.RunE = func(c *cobra.Command, args []string) error {
		rel.Name, rel.Path = args[1], args[2]
		often, err := settings.ParseDuration(every)
		if err != nil {
			return fmt.Errorf("--every: %w", err)
		}
		rel.Every = time.Duration(often)
		switch {
		case c.Flags().Changed("version") && rel.Version < 1:
			return errors.New("--version: versions begin with 1")
		case rel.Every <= 0:
			return errors.New("--every: give a duration above 0, such as 1h")
		case rel.MinRecords < 0:
			return errors.New("--min-records: give a number of 0 or more")
		case c.Flags().Changed("max-shrink") && (rel.MaxShrink < 1 || rel.MaxShrink > 100):
			return errors.New("--max-shrink: give the percent that may be gone, 1 to 100")
		case c.Flags().Changed("allow") && strings.TrimSpace(rel.Allow) == "":
			return errors.New("--allow: say why its form differs")
		case c.Flags().Changed("allow-shrink") && strings.TrimSpace(rel.Shrink) == "":
			return errors.New("--allow-shrink: say why it is smaller")
		case c.Flags().Changed("allow-growth") && strings.TrimSpace(rel.Growth) == "":
			return errors.New("--allow-growth: say why it is larger")
		}
		if published != "" {
			at, err := time.Parse(time.RFC3339, published)
			if err != nil {
				return fmt.Errorf("--published: %q is no time as 2026-01-31T12:00:00Z", published)
			}
			rel.Published = at
		}
		return run(c, args)
	}
	return c
}

func (a *app) base(ctx context.Context, dir string, rel publish.Release, notes string) error {
	if notes != "" {
		text, err := readNotes(notes)
		if err != nil {
			return err
		}
		rel.Notes = text
	}
	if _, err := os.Stat(rel.Path); rel.Path != "-" && errors.Is(err, fs.ErrNotExist) {
		return &publish.Error{Reason: err.Error(), Hint: "PATH is the file or the folder that holds the records of " + rel.Name}
	}
	done, err := a.repository(dir).Publish(ctx, rel)
	if err != nil {
		return err
	}
	err = a.print(done, func(w io.Writer) {
		at := done.Published.Format(time.RFC3339)
		if done.Unchanged {
			fmt.Fprintf(w, "%s: nothing new: version %d of %s has this content\n", done.Name, done.Version, at)
			return
		}
		fmt.Fprintf(w, "%s: version %d published at %s: %s %s, %s bytes, full %s",
			done.Name, done.Version, at, humanize.Comma(done.Records), english.PluralWord(int(done.Records), "record", ""), humanize.Comma(done.Size), humanize.Comma(done.Full))
		if done.Deltas > 0 {
			fmt.Fprintf(w, ", delta %s, deltas %d", humanize.Comma(done.Delta), done.Deltas)
		}
		fmt.Fprintln(w)
	})
	if err == nil && len(done.Warnings) > 0 {
		for _, text := range done.Warnings {
			a.warn("%s", text)
		}
		return errPartly
	}
	return err
}

func readNotes(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", &publish.Error{Reason: fmt.Sprintf("reading the notes: %v", err), Hint: "--notes is a file with text; --allow-shrink and --allow-growth take a reason itself"}
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxNotes+1))
	if err != nil {
		return "", fmt.Errorf("reading the notes: %w", err)
	}
	if len(text) > maxNotes {
		return "", fmt.Errorf("the notes in %s are longer than %d bytes", path, maxNotes)
	}
	return string(text), nil
}
