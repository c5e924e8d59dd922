package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/modules/supervisor"
	"github.com/freshet/freshet/rollback"
)

func generationsCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "generations", Short: "List what this machine can go back to",
		Long: `A generation is all that an update can change: the versions of bases and of
modules, and the settings. freshet rollback goes back to one.`,
		Example: "  freshet generations",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var out api.Generations
			if err := o.ask(cmd.Context(), http.MethodGet, "/v1/generations", nil, &out); err != nil {
				return err
			}
			if o.json {
				return printJSON(cmd.OutOrStdout(), out)
			}
			t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "GENERATION\tMADE\tWHY\tSTATE\tHOLDS")
			for _, g := range out.Generations {
				state := g.Role
				if g.Lacks != "" {
					state = strings.TrimPrefix(state+", lacks "+g.Lacks, ", ")
				}
				fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\n", g.Number, g.Made.Format(time.RFC3339), oneLine(g.Why), orDash(oneLine(state)), orDash(held(g)))
			}
			return t.Flush()
		},
	}
}

func held(g api.Generation) string {
	var words []string
	for _, name := range slices.Sorted(maps.Keys(g.Modules)) {
		words = append(words, name+" "+g.Modules[name])
	}
	for _, name := range slices.Sorted(maps.Keys(g.Bases)) {
		words = append(words, fmt.Sprintf("%s version %d", name, g.Bases[name]))
	}
	return strings.Join(words, ", ")
}

func rollbackCommand(o *options) *cobra.Command {
	var ask api.GoBack
	c := &cobra.Command{
		Use: "rollback [GENERATION]", Short: "Go back to an older generation, offline",
		Long: `Rollback goes back to the good generation where another is on trial, else to the
previous one, or to the one named: bases and modules together. What is left
behind is held back until a newer version comes, and is not the previous one
again; the trust in the repository is never set back. Where it would remove
bases or engines that are installed it lists them and does nothing, unless
--force says so. An agent that does not answer within a second is passed over:
the supervisor, which takes that from root alone, goes back and starts another.`,
		Example: "  freshet rollback\n  freshet rollback 41\n  freshet rollback 3 --force",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				n, err := strconv.Atoi(args[0])
				if err != nil || n < 1 {
					return &api.Error{Code: api.Usage, Text: fmt.Sprintf("%q is no number of a generation", args[0]), Hint: "freshet generations lists them"}
				}
				ask.Generation = n
			}
			out, err := o.goBack(cmd.Context(), ask)
			if err != nil {
				return err
			}
			if o.json {
				return printJSON(cmd.OutOrStdout(), out)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "generation %d to what %d holds\n", out.From, out.To)
			if len(out.Removed) > 0 {
				fmt.Fprintf(cmd.OutOrStdout(), "removed: %s\n", strings.Join(out.Removed, ", "))
			}
			return nil
		},
	}
	c.Flags().BoolVar(&ask.Force, "force", false, "go back also where bases or engines are removed by it")
	return c
}

// patience is how long an agent may take to say its version before a rollback
// does without it.
const patience = 700 * time.Millisecond

// goBack has the agent go back or, where it hangs, its supervisor.
func (o *options) goBack(ctx context.Context, ask api.GoBack) (api.WentBack, error) {
	var out api.WentBack
	short, stop := context.WithTimeout(ctx, patience)
	defer stop()
	var v api.Version
	err := api.Dial(o.socket).Get(short, "/v1/version", &v)
	if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
		err = o.ask(ctx, http.MethodPost, "/v1/rollback", ask, &out)
		return out, err
	}
	out.From, out.To, out.Removed, err = supervisor.GoBack(ctx, o.runtime(), ask.Generation, ask.Force)
	switch {
	case errors.Is(err, supervisor.ErrNone):
		return out, &api.Error{
			Code: api.Unreachable, Text: fmt.Sprintf("the agent does not answer within %s, and %v", patience, err),
			Hint: "run it as root: without the agent only root may go back",
		}
	case errors.As(err, new(*rollback.RemovesError)):
		return out, &api.Error{Code: api.WouldRemove, Text: err.Error()}
	case errors.Is(err, rollback.ErrNoGeneration):
		return out, &api.Error{Code: api.NoSuchGeneration, Text: err.Error()}
	}
	return out, err
}
