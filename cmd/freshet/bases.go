package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"github.com/freshet/freshet/internal/api"
)

func basesCommand(o *options) *cobra.Command {
	return group("bases", "List, verify and roll back the installed bases",
		basesListCommand(o), basesShowCommand(o), basesDeliveredCommand(o), basesVerifyCommand(o), basesRepairCommand(o), basesRollbackCommand(o), basesHoldCommand(o), basesUnholdCommand(o))
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
		Use: "rollback NAME", Short: "Bring a base back to the previous version, offline",
		Long: `Rollback brings a base back to the previous version, but for those that were
rolled back before. The version left, and all below it, are on hold until a
newer one comes or freshet bases unhold; freshet bases hold stays where it is
whatever comes. All bases at once: freshet task start 7.`,
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

func basesHoldCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "hold NAME [VERSION]", Short: "Keep a base at its version, or go back to one and stay there",
		Long: `Hold keeps a base at the installed version, or goes back, offline, to one that is
kept on this machine (freshet generations), and stays there whatever newer ones
come, until freshet bases unhold. It grows old meanwhile: status says how old,
and the events of staleness are logged as always.`,
		Example: "  freshet bases hold urls\n  freshet bases hold urls 41",
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			var ask api.HoldBase
			if len(args) == 2 {
				n, err := strconv.ParseInt(args[1], 10, 64)
				if err != nil || n < 1 {
					return &api.Error{Code: api.Usage, Text: fmt.Sprintf("%q is no version of a base", args[1]), Hint: "freshet generations lists those kept"}
				}
				ask.Version = n
			}
			var out api.Changes
			if err := o.ask(cmd.Context(), http.MethodPost, "/v1/bases/"+pathPart(args[0])+"/hold", ask, &out); err != nil {
				return err
			}
			if o.json {
				return printJSON(cmd.OutOrStdout(), out)
			}
			for _, c := range out.Bases {
				from := ""
				if c.From != c.To {
					from = fmt.Sprintf("version %d to %d; ", c.From, c.To)
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s: %sit stays at version %d until freshet bases unhold %s\n", c.Name, from, c.To, c.Name)
			}
			return nil
		},
	}
}

func basesUnholdCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "unhold NAME", Aliases: []string{"release"}, Short: "Allow what is on hold or quarantined of a base again",
		Example: "  freshet bases unhold urls",
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
				what := "whatever is on offer"
				if h.Version != 0 {
					what = fmt.Sprintf("version %d", h.Version)
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s: %s may be installed again\n", h.Base, what)
			}
			return nil
		},
	}
}
