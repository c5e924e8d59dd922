package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"github.com/freshet/freshet/internal/api"
)

func basesCommand(o *options) *cobra.Command {
	return group("bases", "List, verify and roll back the installed bases",
		basesListCommand(o), basesShowCommand(o), basesDeliveredCommand(o), basesVerifyCommand(o), basesRepairCommand(o), basesRollbackCommand(o), basesReleaseCommand(o))
}

// ask sends one request and reads its answer into out.
func (o *options) ask(ctx context.Context, method, path string, in, out any) error {
	s, err := o.connect(ctx)
	if err != nil {
		return err
	}
	err = s.Do(ctx, method, path, in, out)
	return errors.Join(err, s.close())
}

func basesListCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the installed bases",
		Example: "  freshet bases list",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var out api.Bases
			if err := o.ask(cmd.Context(), http.MethodGet, "/v1/bases", nil, &out); err != nil {
				return err
			}
			if o.json {
				return printJSON(cmd.OutOrStdout(), out)
			}
			if len(out.Bases) == 0 {
				fmt.Fprintln(cmd.OutOrStdout(), "no base is installed")
				return nil
			}
			printBases(cmd.OutOrStdout(), out.Bases)
			return nil
		},
	}
}

func basesVerifyCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "verify [NAME]...", Short: "Read installed bases back and hold them against their signed hashes",
		Example: "  freshet bases verify\n  freshet bases verify urls",
		RunE:    func(cmd *cobra.Command, args []string) error { return o.verify(cmd, "/v1/bases/verify", args) },
	}
}

func basesRepairCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "repair [NAME]...", Short: "Verify installed bases, and fetch anew what is damaged",
		Long:    "Repair verifies installed bases and fetches anew what is damaged. The agent does so daily: task 8.",
		Example: "  freshet bases repair\n  freshet bases repair urls",
		RunE:    func(cmd *cobra.Command, args []string) error { return o.verify(cmd, "/v1/bases/repair", args) },
	}
}

func (o *options) verify(cmd *cobra.Command, path string, names []string) error {
	var out api.VerifiedAll
	if err := o.ask(cmd.Context(), http.MethodPost, path, api.Verify{Names: names}, &out); err != nil {
		return err
	}
	return printVerified(cmd.OutOrStdout(), out, o.json)
}

func printVerified(w io.Writer, out api.VerifiedAll, asJSON bool) error {
	if asJSON {
		if err := printJSON(w, out); err != nil {
			return err
		}
	}
	damaged := 0
	if len(out.Bases) == 0 {
		fmt.Fprintln(os.Stderr, "no base is installed")
	}
	for _, v := range out.Bases {
		text := "whole"
		if v.Repaired {
			text = "repaired"
		}
		if v.Error != "" {
			damaged++
			text = "damaged: " + oneLine(v.Error)
		}
		if !asJSON {
			if v.Module {
				fmt.Fprintf(w, "module %s %s: %s\n", v.Name, v.Release, text)
				continue
			}
			fmt.Fprintf(w, "%s version %d: %s\n", v.Name, v.Version, text)
		}
	}
	if damaged > 0 {
		return &api.Error{Code: api.RunFailed, Text: fmt.Sprintf("damaged: %d of %s", damaged, english.Plural(len(out.Bases), "base", "")), Hint: "freshet bases repair fetches them anew"}
	}
	return nil
}

func basesRollbackCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "rollback NAME", Short: "Bring a base back to the version before, offline",
		Long: `Rollback brings a base back to the version before. The version left, and all
below it, are held back until a newer one comes or freshet bases release. All
bases at once: freshet task start 7.`,
		Example: "  freshet bases rollback urls",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var out api.Changes
			if err := o.ask(cmd.Context(), http.MethodPost, "/v1/bases/"+pathPart(args[0])+"/rollback", nil, &out); err != nil {
				return err
			}
			if o.json {
				return printJSON(cmd.OutOrStdout(), out)
			}
			for _, c := range out.Bases {
				fmt.Fprintf(cmd.OutOrStdout(), "%s: version %d to %d; %d is held back\n", c.Name, c.From, c.To, c.From)
			}
			return nil
		},
	}
}

func basesReleaseCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "release NAME", Short: "Allow what is held back of a base again",
		Example: "  freshet bases release urls",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var out api.Released
			if err := o.ask(cmd.Context(), http.MethodPost, "/v1/bases/"+pathPart(args[0])+"/release", nil, &out); err != nil {
				return err
			}
			if o.json {
				return printJSON(cmd.OutOrStdout(), out)
			}
			for _, h := range out.Released {
				fmt.Fprintf(cmd.OutOrStdout(), "%s: version %d may be installed again\n", h.Base, h.Version)
			}
			return nil
		},
	}
}
