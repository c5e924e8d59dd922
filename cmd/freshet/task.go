package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/settings"
)

func taskCommand(o *options) *cobra.Command {
	return group("task", "List, start, stop and set the agent's tasks",
		taskListCommand(o), taskShowCommand(o), taskStartCommand(o), taskStopCommand(o), taskSetCommand(o))
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
				fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\n", task.ID, task.Name, when(task), lastOf(task), nextOf(task))
			}
			return t.Flush()
		},
	}
}

func when(t api.Task) string {
	switch {
	case !t.Scheduled:
		return "when started"
	case !t.Enabled:
		return "off"
	}
	return fmt.Sprintf("every %s + up to %s", settings.Duration(t.Every), settings.Duration(t.RandomDelay))
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
	fmt.Fprintf(tw, "task:\t%d %s: %s\n", t.ID, t.Name, t.Does)
	fmt.Fprintf(tw, "runs:\t%s\n", when(t))
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
			id, err := strconv.Atoi(args[0])
			if err != nil {
				return &api.Error{Code: api.NoSuchTask, Text: fmt.Sprintf("%q is no task", args[0])}
			}
			s, err := o.connect(cmd.Context())
			if err != nil {
				return err
			}
			err = runTask(cmd.Context(), cmd.OutOrStdout(), s, id, o.json)
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

func taskSetCommand(o *options) *cobra.Command {
	var every, random string
	var enabled, standard bool
	c := &cobra.Command{
		Use: "set ID", Short: "Set when a task runs",
		Long:    "Set says when a task runs, over the settings file and over restarts. --default goes back to the settings.",
		Example: "  freshet task set 6 --every 30m --random-delay 5m\n  freshet task set 6 --enabled=false\n  freshet task set 6 --default",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			change := api.TaskChange{Default: standard}
			var err error
			if change.Every, err = durationFlag(cmd, "every", every, time.Minute); err != nil {
				return err
			}
			if change.RandomDelay, err = durationFlag(cmd, "random-delay", random, 0); err != nil {
				return err
			}
			if cmd.Flags().Changed("enabled") {
				change.Enabled = &enabled
			}
			if err := o.checkChange(cmd, args[0], change); err != nil {
				return err
			}
			return o.showTask(cmd, http.MethodPatch, "/v1/tasks/"+pathPart(args[0]), change)
		},
	}
	c.Flags().StringVar(&every, "every", "", "how often (1m to 30d)")
	c.Flags().StringVar(&random, "random-delay", "", "added to that, from nothing to this, anew each time; at most as much")
	c.Flags().BoolVar(&enabled, "enabled", true, "whether it runs by itself")
	c.Flags().BoolVar(&standard, "default", false, "as the settings say")
	return c
}

// checkChange refuses a change that contradicts itself, or a random delay that is
// longer than the task's period.
func (o *options) checkChange(cmd *cobra.Command, id string, c api.TaskChange) error {
	switch {
	case c == api.TaskChange{}:
		return misused(cmd, "nothing to set")
	case c.Default && c != api.TaskChange{Default: true}:
		return misused(cmd, "--default goes back to the settings: give it alone")
	case c.RandomDelay == nil:
		return nil
	}
	every := c.Every
	if every == nil {
		var t api.Task
		if err := o.ask(cmd.Context(), http.MethodGet, "/v1/tasks/"+pathPart(id), nil, &t); err != nil {
			return err
		}
		if !t.Scheduled {
			return nil // the agent says so
		}
		every = &t.Every
	}
	if *c.RandomDelay > *every {
		return misused(cmd, fmt.Sprintf("--random-delay %s is longer than every %s: give --every and --random-delay that fit",
			settings.Duration(*c.RandomDelay), settings.Duration(*every)))
	}
	return nil
}

// mostDelay bounds what a task may be set to.
const mostDelay = 30 * 24 * time.Hour

// durationFlag is the flag's value, of least to 30 days; nil if it was not given.
func durationFlag(cmd *cobra.Command, name, value string, least time.Duration) (*api.Duration, error) {
	if !cmd.Flags().Changed(name) {
		return nil, nil
	}
	d, err := settings.ParseDuration(value)
	if err != nil {
		return nil, misused(cmd, fmt.Sprintf("--%s: %v", name, err))
	}
	if t := time.Duration(d); t < least || t > mostDelay {
		return nil, misused(cmd, fmt.Sprintf("--%s %s: use %s to 30d", name, value, settings.Duration(least)))
	}
	v := api.Duration(time.Duration(d))
	return &v, nil
}
