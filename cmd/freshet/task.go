package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/schedule"
	"github.com/freshet/freshet/internal/settings"
)

func taskCommand(o *options) *cobra.Command {
	return group("task", "List, start, stop and set the agent's tasks",
		taskListCommand(o), taskShowCommand(o), taskStartCommand(o), taskStopCommand(o), taskSetCommand(o),
		taskCreateCommand(o), taskDeleteCommand(o))
}

func pathPart(s string) string { return url.PathEscape(s) }

func taskListCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the tasks",
		Example: "  freshet task list",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var out api.Tasks
			if err := o.ask(cmd.Context(), http.MethodGet, "/v1/tasks", nil, &out); err != nil {
				return err
			}
			if o.json {
				return printJSON(cmd.OutOrStdout(), out)
			}
			t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "ID\tTASK\tRUNS\tLAST RESULT\tNEXT RUN")
			for _, task := range out.Tasks {
				fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\n", task.ID, oneLine(task.Name), when(task), lastOf(task), nextOf(task))
			}
			return t.Flush()
		},
	}
}

func when(t api.Task) string {
	words := schedule.Words(t.Timing)
	switch {
	case !t.Enabled:
		return "off"
	case t.RandomDelay > 0 && t.Timing.Kind != api.Manual:
		return fmt.Sprintf("%s + up to %s", words, settings.Duration(t.RandomDelay))
	}
	return words
}

// ways says how a task runs, where that is not as usual.
func ways(t api.Task) []string {
	var all []string
	if t.Scheduled && !t.MakeUp {
		all = append(all, "a missed run is not made up for")
	}
	if t.Scheduled && t.Overlap == api.Skip {
		all = append(all, "it is left out while something else runs")
	}
	if t.Limit > 0 {
		all = append(all, fmt.Sprintf("for %s at most", settings.Duration(t.Limit)))
	}
	return all
}

func lastOf(t api.Task) string {
	if t.Last == nil {
		return "-"
	}
	return fmt.Sprintf("%s, %s", t.Last.Outcome, stamp(t.Last.Ended))
}

func nextOf(t api.Task) string {
	switch {
	case t.Running:
		return "running"
	case t.Next.IsZero():
		return "-"
	}
	return stamp(t.Next)
}

func printTask(w io.Writer, t api.Task) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "task:\t%d %s: %s\n", t.ID, oneLine(t.Name), oneLine(t.Does))
	fmt.Fprintf(tw, "runs:\t%s\n", when(t))
	for _, note := range ways(t) {
		fmt.Fprintf(tw, "\t%s\n", note)
	}
	fmt.Fprintf(tw, "last:\t%s\n", lastOf(t))
	if t.Last != nil && t.Last.Error != "" {
		fmt.Fprintf(tw, "  error:\t%s\n", oneLine(t.Last.Error))
	}
	fmt.Fprintf(tw, "next:\t%s\n", nextOf(t))
	tw.Flush()
}

func taskShowCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Show a task",
		Example: "  freshet task show 6",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.showTask(cmd, http.MethodGet, "/v1/tasks/"+pathPart(args[0]), nil)
		},
	}
}

func (o *options) showTask(cmd *cobra.Command, method, path string, in any) error {
	var t api.Task
	if err := o.ask(cmd.Context(), method, path, in, &t); err != nil {
		return err
	}
	if o.json {
		return printJSON(cmd.OutOrStdout(), t)
	}
	printTask(cmd.OutOrStdout(), t)
	return nil
}

func taskStartCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "start ID", Short: "Start a task and follow it",
		Example: "  freshet task start 7",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := o.connect(cmd.Context())
			if err != nil {
				return err
			}
			var t api.Task // it may be named
			if err = s.Get(cmd.Context(), "/v1/tasks/"+pathPart(args[0]), &t); err == nil {
				err = runTask(cmd.Context(), cmd.OutOrStdout(), s, t.ID, o.json)
			}
			return errors.Join(err, s.close())
		},
	}
}

func taskStopCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "stop ID", Short: "End the run of a task",
		Long:    "Stop ends a run; the task's schedule goes on. To end that too: freshet task set ID --enabled=false.",
		Example: "  freshet task stop 6",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var t api.Task
			if err := o.ask(cmd.Context(), http.MethodPost, "/v1/tasks/"+pathPart(args[0])+"/stop", nil, &t); err != nil {
				return err
			}
			if o.json {
				return printJSON(cmd.OutOrStdout(), t)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "task %d (%s) was told to stop\n", t.ID, t.Name)
			return err
		},
	}
}
