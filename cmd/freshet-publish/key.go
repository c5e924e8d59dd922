package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet/freshet/publish"
)

func (a *app) keyCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "key",
		Short: "list the keys of the roles, and replace those that were lost or stolen",
		Example: `  freshet-publish key list /srv/repo
  freshet-publish key replace /srv/repo timestamp --keys /media/stick-a --keys /media/stick-b`,
		Args: noSuchCommand,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.keyListCommand(), a.keyReplaceCommand())
	return c
}

func (a *app) keyListCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "list REPO",
		Short:   "list the keys of all roles",
		Example: "  freshet-publish key list /srv/repo --keys /media/stick-a",
		Args:    needs("REPO"),
	}
	a.keysFlag(c)
	c.RunE = a.run(func(_ context.Context, args []string) error {
		all, err := a.repository(args[0]).ListKeys()
		if err != nil {
			return err
		}
		return a.print(all, func(w io.Writer) { printKeys(w, all) })
	})
	return c
}

func printKeys(w io.Writer, all []publish.RoleKeys) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ROLE\tHELD\tTAKES\tVALID UNTIL\tKEY\tFILE")
	for _, role := range all {
		held := "online"
		if role.Offline {
			held = "offline"
		}
		for _, k := range role.Keys {
			file := k.File
			if file == "" {
				file = "not at hand"
			}
			fmt.Fprintf(t, "%s\t%s\t%d of %d\t%s\t%s\t%s\n", role.Role, held, role.Threshold, len(role.Keys),
				role.Expires.Format(time.DateOnly), k.ID[:12], file)
		}
	}
	t.Flush()
}

func (a *app) keyReplaceCommand() *cobra.Command {
	var ro publish.Rotation
	c := &cobra.Command{
		Use:   "replace REPO KEY...",
		Short: "take keys out of their roles and put new ones in their place",
		Long: `replace makes a new key for each KEY, names it in its place, and signs anew what
the old one signed, all in one step. KEY is a role that has one key, or the
first digits of a key's ID as key list shows it.

Keys of root, targets, snapshot and timestamp stand in the root: that takes two
of its keys, two old and two new ones if one of its own is replaced. Keys of
bases and modules stand in the targets and take the two targets keys. Give the
media that hold offline keys with --keys, once for each. What was signed with
the old keys is worth nothing as soon as agents see the new root.`,
		Example: `  freshet-publish key replace /srv/repo timestamp snapshot bases --keys /media/stick-a --keys /media/stick-b
  freshet-publish key replace /srv/repo 5f1c09aa --keys /media/stick-b --keys /media/stick-c --to /media/stick-d`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) < 2 {
				return fmt.Errorf("replace takes REPO and at least one KEY: a role, or a key's ID")
			}
			return nil
		},
	}
	c.Flags().StringVar(&ro.New, "new", "", "file of the new key, Ed25519 in PKCS#8 and PEM (default one is made)")
	c.Flags().StringVar(&ro.To, "to", "", "folder to make new keys in (default the first of --keys for an offline role, else where the online keys are)")
	a.keysFlag(c)
	c.RunE = a.run(func(ctx context.Context, args []string) error {
		ro.What = args[1:]
		done, err := a.repository(args[0]).ReplaceKeys(ctx, ro)
		if err != nil {
			return err
		}
		return a.print(done, func(w io.Writer) { printReplaced(w, done) })
	})
	return c
}

func printReplaced(w io.Writer, done []publish.Replaced) {
	if len(done) == 0 {
		fmt.Fprintln(w, "these keys were replaced before: nothing to do")
		return
	}
	for _, d := range done {
		fmt.Fprintf(w, "%s: key %s replaced by %s in %s\n", d.Role, d.Old.ID[:12], d.New.ID[:12], d.New.File)
	}
	fmt.Fprintln(w, "\nnext:")
	for _, d := range done {
		if d.Old.File != "" {
			fmt.Fprintf(w, "  destroy the old key: %s\n", d.Old.File)
		}
	}
	for _, d := range done {
		if d.Offline {
			fmt.Fprintf(w, "  keep the new key offline: %s\n", d.New.File)
		}
	}
	fmt.Fprintln(w, "  copy the repository to its mirrors, and make bundles for machines without a network anew")
}
