package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet/freshet/internal/api"
)

func modulesCommand(o *options) *cobra.Command {
	return group("modules", "List, install and roll back the agent itself and the engines that it runs",
		modulesListCommand(o), modulesShowCommand(o), modulesInstallCommand(o), modulesRollbackCommand(o),
		modulesHoldCommand(o), modulesReleaseCommand(o))
}

func modulesListCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the modules, what is installed of them and what is available",
		Long: `List shows what is installed, and what was on offer when the repository was asked
last: freshet update asks it.`,
		Example: "  freshet modules list",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var out api.Modules
			if err := o.ask(cmd.Context(), http.MethodGet, "/v1/modules", nil, &out); err != nil {
				return err
			}
			if o.json {
				return printJSON(cmd.OutOrStdout(), out)
			}
			printModules(cmd.OutOrStdout(), out.Modules)
			return nil
		},
	}
}

func printModules(w io.Writer, all []api.Module) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "MODULE\tINSTALLED\tAVAILABLE\tMODE\tSTATE")
	for _, m := range all {
		var on []string
		for _, r := range m.Available {
			if r.Newer {
				on = append(on, r.Version)
			}
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", m.Name, orDash(m.Installed), orDash(strings.Join(on, ", ")), m.Mode, orDash(moduleState(m)))
	}
	t.Flush()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func moduleState(m api.Module) string {
	var words []string
	if m.Trial != "" {
		words = append(words, m.Trial+" on trial, good is "+orDash(m.Good))
	}
	for _, h := range m.Held {
		what := "held"
		if h.Release != "" {
			what = h.Release + " held back"
		}
		words = append(words, what+": "+oneLine(h.Reason))
	}
	return strings.Join(words, "; ")
}

func modulesShowCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Show a module: its releases, their notes, what is held back",
		Example: "  freshet modules show agent",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var out api.Modules
			if err := o.ask(cmd.Context(), http.MethodGet, "/v1/modules", nil, &out); err != nil {
				return err
			}
			for _, m := range out.Modules {
				if m.Name != args[0] {
					continue
				}
				if o.json {
					return printJSON(cmd.OutOrStdout(), m)
				}
				printModule(cmd.OutOrStdout(), m)
				return nil
			}
			return &api.Error{Code: api.NoSuchModule, Text: fmt.Sprintf("there is no module %q here", args[0])}
		},
	}
}

func printModule(w io.Writer, m api.Module) {
	fmt.Fprintf(w, "module %s: %s\n", m.Name, map[bool]string{true: "not installed", false: "installed " + m.Installed}[m.Installed == ""])
	if m.Before != "" {
		fmt.Fprintf(w, "before it: %s, by freshet modules rollback %s\n", m.Before, m.Name)
	}
	if text := moduleState(m); text != "" {
		fmt.Fprintf(w, "state: %s\n", text)
	}
	fmt.Fprintf(w, "mode: %s\n", m.Mode)
	printNotes(w, m.Notes)
	for _, r := range m.Available {
		how := ""
		switch {
		case !r.Newer:
			how = ", not newer"
		case r.Refused != "":
			how = ", cannot be installed: " + oneLine(r.Refused)
		case r.Further:
			how = fmt.Sprintf(", of line %s: freshet modules install %s %s", r.Line, m.Name, r.Version)
		case r.Fetched:
			how = ", fetched"
		}
		fmt.Fprintf(w, "\navailable: %s of %s, %s%s\n", r.Version, r.Published.Format(time.RFC3339), size(r.Size), how)
		printNotes(w, r.Notes)
	}
}

func printNotes(w io.Writer, notes string) {
	for line := range strings.Lines(notes) {
		fmt.Fprintf(w, "    %s\n", oneLine(line))
	}
}

func modulesInstallCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "install NAME [VERSION]", Short: "Install the newest release of a module, or the one named",
		Long: `Install fetches a release and puts it on trial, whatever the settings say of its
mode: the newest of the installed major line, or VERSION, which may be of
another. What does not work is rolled back by itself. With the service stopped
it is put in place and judged at the next start.`,
		Example: "  freshet modules install agent\n  freshet modules install agent 2.0.0",
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			var ask api.Install
			if len(args) == 2 {
				ask.Version = args[1]
			}
			return o.changeModule(cmd, args[0], "install", ask)
		},
	}
}

func modulesRollbackCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "rollback NAME", Short: "Bring a module back to the release before, offline",
		Long: `Rollback ends a trial, or goes back to the release before the good one. The
release left, and all below it, are held back until a newer one comes or
freshet modules unhold.`,
		Example: "  freshet modules rollback agent",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return o.changeModule(cmd, args[0], "rollback", nil) },
	}
}

func (o *options) changeModule(cmd *cobra.Command, name, what string, ask any) error {
	var out api.ModuleChanged
	if err := o.ask(cmd.Context(), http.MethodPost, "/v1/modules/"+pathPart(name)+"/"+what, ask, &out); err != nil {
		return err
	}
	if o.json {
		return printJSON(cmd.OutOrStdout(), out)
	}
	text := fmt.Sprintf("%s: %s to %s", out.Name, orDash(out.From), out.To)
	switch {
	case out.Trial && out.Running:
		text += ", on trial; freshet modules show " + out.Name + " tells how it goes"
	case out.Trial:
		text += ", in place; it is judged at the next start of the service"
	default:
		text += "; " + out.From + " is held back"
	}
	fmt.Fprintln(cmd.OutOrStdout(), text)
	return nil
}

func modulesHoldCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "hold NAME", Short: "Keep a module at its release, whatever comes",
		Example: "  freshet modules hold agent",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var out api.Modules
			if err := o.ask(cmd.Context(), http.MethodPost, "/v1/modules/"+pathPart(args[0])+"/hold", nil, &out); err != nil {
				return err
			}
			if o.json {
				return printJSON(cmd.OutOrStdout(), out)
			}
			for _, m := range out.Modules {
				fmt.Fprintf(cmd.OutOrStdout(), "%s: stays at %s until freshet modules unhold %s\n", m.Name, m.Installed, m.Name)
			}
			return nil
		},
	}
}

func modulesReleaseCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "unhold NAME", Aliases: []string{"release"}, Short: "Allow what is on hold or quarantined of a module again",
		Example: "  freshet modules unhold agent",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var out api.Released
			if err := o.ask(cmd.Context(), http.MethodPost, "/v1/modules/"+pathPart(args[0])+"/release", nil, &out); err != nil {
				return err
			}
			if o.json {
				return printJSON(cmd.OutOrStdout(), out)
			}
			for _, h := range out.Released {
				what := h.Release
				if what == "" {
					what = "every release"
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s: %s may be installed again\n", h.Module, what)
			}
			return nil
		},
	}
}

// moduleLine says what an update or a repair did with a module.
func moduleLine(m api.ModuleChange) string {
	name := strings.TrimSpace("module " + m.Name)
	switch {
	case m.Error != "":
		return fmt.Sprintf("%s: %s stays: %s", name, orDash(m.From), oneLine(m.Error))
	case m.Fetched:
		return fmt.Sprintf("%s: %s is fetched; freshet modules install %s installs it", name, m.To, m.Name)
	case m.From == m.To:
		return fmt.Sprintf("%s: %s repaired", name, m.To)
	}
	return fmt.Sprintf("%s: %s to %s, on trial", name, orDash(m.From), m.To)
}

func modulePlanLine(m api.ModulePlan) string {
	if m.Held != "" {
		return fmt.Sprintf("module %s: %s stays; %s is not taken (%s)", m.Name, orDash(m.From), m.To, oneLine(m.Held))
	}
	what := size(m.Bytes)
	if m.Bytes == 0 {
		what = "already fetched"
	}
	return fmt.Sprintf("module %s: %s to %s, %s", m.Name, orDash(m.From), m.To, what)
}
