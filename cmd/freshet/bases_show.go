package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/modules"
)

func basesShowCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Show all that is known of one base: what is held back and why, its engine, what is delivered",
		Example: "  freshet bases show urls",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var out api.BaseDetail
			if err := o.ask(cmd.Context(), http.MethodGet, "/v1/bases/"+pathPart(args[0])+"/detail", nil, &out); err != nil {
				return err
			}
			if o.json {
				return printJSON(cmd.OutOrStdout(), out)
			}
			printBase(cmd.OutOrStdout(), out)
			return nil
		},
	}
}

func printBase(w io.Writer, b api.BaseDetail) {
	if b.Installed != nil {
		printBases(w, []api.BaseStatus{*b.Installed})
	} else {
		fmt.Fprintf(w, "%s is not installed\n", oneLine(b.Name))
	}
	for _, e := range engineNotes(api.Status{Engines: b.Engines}) {
		fmt.Fprintln(w, oneLine(e))
	}
	for _, d := range b.Delivered {
		fmt.Fprintf(w, "delivered to %s: %d files\n", oneLine(d.Folder), d.Files)
		for _, name := range d.Adopted {
			fmt.Fprintf(w, "  %s was there before, and stays when the base is no longer delivered\n", oneLine(name))
		}
	}
	for _, h := range b.Held {
		fmt.Fprintln(w, oneLine(heldNote(h)))
		printEvidence(w, h.Evidence)
	}
}

// printEvidence prints what a program wrote, set off from what is ours.
func printEvidence(w io.Writer, text string) {
	if text == "" {
		return
	}
	fmt.Fprintln(w, "  the last that its engine's program wrote:")
	for line := range strings.Lines(modules.Printable(text)) {
		fmt.Fprintf(w, "  | %s\n", strings.TrimRight(line, "\n"))
	}
}

func basesDeliveredCommand(o *options) *cobra.Command {
	var list bool
	c := &cobra.Command{
		Use: "delivered", Short: "Show what is delivered into engines' own folders",
		Long: `Delivered shows what of bases was put into engines' own folders, and which files
there are of others and only follow a base. With --for-purge it prints a plain
list of the files and folders that are Freshet's, as the package's removal keeps it.`,
		Example: "  freshet bases delivered",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			w, all := cmd.OutOrStdout(), modules.Deliveries(o.stateDir)
			if list {
				_, err := io.WriteString(w, modules.PurgeList(all))
				return err
			}
			out := []api.Delivery{}
			for _, d := range all {
				out = append(out, api.Delivery{Base: d.Base, Folder: d.To, Files: len(d.Files), Adopted: d.Adopted})
			}
			if o.json {
				return printJSON(w, map[string]any{"delivered": out})
			}
			t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "BASE\tFOLDER\tFILES\tADOPTED")
			for _, d := range out {
				fmt.Fprintf(t, "%s\t%s\t%d\t%s\n", d.Base, oneLine(d.Folder), d.Files, oneLine(strings.Join(d.Adopted, ", ")))
			}
			return t.Flush()
		},
	}
	c.Flags().BoolVar(&list, "for-purge", false, "print the list by which files are removed when the package is purged")
	return c
}
