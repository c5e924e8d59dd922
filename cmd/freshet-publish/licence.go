package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet/freshet/publish"
)

func (a *app) licenceCommand() *cobra.Command {
	var g publish.Grant
	var until, out string
	c := &cobra.Command{
		Use:   "licence REPO --to NAME --until DATE",
		Short: "issue a licence, and say whether one is asked for",
		Long: `licence issues a licence for the repository REPO: a small signed file that an
operator adds with freshet licence add FILE. It takes the licence key, and
changes nothing in the repository.

A new repository asks for no licence. licence key makes the licence key and
names it in the signed targets, so that licences can be issued ahead; licence
require has agents ask for one, licence waive no longer. These three sign the
targets anew and take their offline keys.

Where a licence is asked for, an agent without a current one can take one
update, and no more. What it has installed stays in use.`,
		Example: `  freshet-publish licence key /srv/repo --keys /media/stick-a --keys /media/stick-b
  freshet-publish licence /srv/repo --to "Example Ltd" --until 2027-12-31 --keys /media/stick-a --out example.licence
  freshet-publish licence require /srv/repo --keys /media/stick-a --keys /media/stick-b`,
		Args: needs("REPO"),
	}
	f := c.Flags()
	f.StringVar(&g.To, "to", "", "whom it is for")
	f.StringVar(&until, "until", "", "its last day (2027-12-31, in UTC), or the moment of its end in RFC 3339")
	f.StringVar(&g.Agent, "agent", "", "ID of the one agent it is for, as freshet licence show tells (default any)")
	f.StringVar(&out, "out", "", "file to write (default standard output)")
	a.keysFlag(c)
	run := a.run(func(_ context.Context, args []string) error { return a.licence(args[0], g, out) })
	c.RunE = func(c *cobra.Command, args []string) (err error) {
		if g.To == "" || until == "" {
			return errors.New("licence needs --to NAME and --until DATE")
		}
		if g.Until, err = endOf(until); err != nil {
			return err
		}
		return run(c, args)
	}
	c.AddCommand(a.licenceKeyCommand(),
		a.licenceTermsCommand("require", "have agents ask for a licence", true),
		a.licenceTermsCommand("waive", "have agents ask for no licence any more", false))
	return c
}

// endOf gives the first moment after a day, or a moment as it is.
func endOf(text string) (time.Time, error) {
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		return day.AddDate(0, 0, 1), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, fmt.Errorf("--until: %q is no day as 2027-12-31, and no time as 2027-12-31T12:00:00Z", text)
	}
	return t, nil
}

func (a *app) licence(dir string, g publish.Grant, out string) error {
	r := a.repository(dir)
	l, data, err := r.Licence(g)
	if err != nil {
		return err
	}
	if out == "" {
		_, err := a.out.Write(data)
		return err
	}
	if err := r.Disk.WriteFile(out, data, 0o644); err != nil {
		return fmt.Errorf("writing the licence: %w", err)
	}
	return a.print(map[string]any{"file": out, "licence": l}, func(w io.Writer) {
		fmt.Fprintf(w, "licence %s for %s until %s written to %s\n", l.ID, l.To, l.Until.Format(time.RFC3339), out)
		fmt.Fprintf(w, "next: give it to them; they add it with freshet licence add %s\n", out)
	})
}

func (a *app) licenceKeyCommand() *cobra.Command {
	var replace bool
	c := &cobra.Command{
		Use:   "key REPO",
		Short: "make the key that licences are signed with",
		Long: `key makes the licence key in the first folder of --keys, unless there is one,
and names it in the signed targets. With --replace it names a new one in its
place: every licence issued before becomes void, as it must when the key was
stolen.`,
		Example: "  freshet-publish licence key /srv/repo --keys /media/stick-a --keys /media/stick-b",
		Args:    needs("REPO"),
	}
	c.Flags().BoolVar(&replace, "replace", false, "name a new key; all licences issued become void")
	a.keysFlag(c)
	c.RunE = a.run(func(ctx context.Context, args []string) error {
		said, err := a.repository(args[0]).LicenceKey(ctx, replace)
		if err != nil {
			return err
		}
		return a.printTerms(args[0], said)
	})
	return c
}

func (a *app) licenceTermsCommand(use, short string, required bool) *cobra.Command {
	c := &cobra.Command{
		Use:     use + " REPO",
		Short:   short,
		Example: "  freshet-publish licence " + use + " /srv/repo --keys /media/stick-a --keys /media/stick-b",
		Args:    needs("REPO"),
	}
	a.keysFlag(c)
	c.RunE = a.run(func(ctx context.Context, args []string) error {
		said, err := a.repository(args[0]).RequireLicence(ctx, required)
		if err != nil {
			return err
		}
		return a.printTerms(args[0], said)
	})
	return c
}

func (a *app) printTerms(dir string, said *publish.LicenceTerms) error {
	return a.print(said, func(w io.Writer) {
		if said.New != "" {
			fmt.Fprintf(w, "licence key made: %s\nkeep it offline, where licences are issued\n", said.New)
		}
		if said.Required {
			fmt.Fprintf(w, "%s asks for a licence\n", dir)
		} else {
			fmt.Fprintf(w, "%s asks for no licence\n", dir)
		}
		for _, id := range said.Keys {
			fmt.Fprintf(w, "licences are signed by key %s\n", id)
		}
	})
}
