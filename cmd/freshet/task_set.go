package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/settings"
)

func taskSetCommand(o *options) *cobra.Command {
	var standard bool
	c := &cobra.Command{
		Use: "set ID", Short: "Set when a task runs",
		Long: `Set says when a task runs, over the settings file and over restarts. --default
goes back to the settings. Times of day are those of this machine's time zone.`,
		Example: `  freshet task set 6 --every 30m --random-delay 5m
  freshet task set 6 --at 03:30 --on mon,thu
  freshet task set 6 --enabled=false
  freshet task set 6 --default`,
		Args: cobra.ExactArgs(1),
	}
	f := c.Flags()
	change := taskFlags(f)
	f.BoolVar(&standard, "default", false, "as the settings say")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		to, err := change(cmd)
		if err != nil {
			return err
		}
		set := 0
		f.Visit(func(flag *pflag.Flag) {
			if cmd.LocalNonPersistentFlags().Lookup(flag.Name) != nil {
				set++
			}
		})
		if to.Default = standard; set == 0 {
			return misused(cmd, "nothing to set")
		} else if standard && set > 1 {
			return misused(cmd, "--default goes back to the settings: give it alone")
		}
		return o.showTask(cmd, http.MethodPatch, "/v1/tasks/"+pathPart(args[0]), to)
	}
	return c
}

func taskCreateCommand(o *options) *cobra.Command {
	spec := api.TaskSpec{}
	c := &cobra.Command{
		Use: "create NAME", Short: "Make a task of your own",
		Long: `Create makes a task with bases, an order of sources and times of its own. Without
--every, --at, --after-start or --after-update it runs only when started.`,
		Example: `  freshet task create nightly --at 02:30 --bases clamav-main --limit 1h
  freshet task create check --type verify --at 04:00 --on sun
  freshet task create boot --after-start 2m --sources /mnt/mirror,https://updates.example.org/freshet`,
		Args: cobra.ExactArgs(1),
	}
	c.Flags().StringVar(&spec.Type, "type", api.TypeUpdate, "what it does: update or verify")
	change := taskFlags(c.Flags())
	c.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if spec.TaskChange, err = change(cmd); err != nil {
			return err
		}
		spec.Name = args[0]
		return o.showTask(cmd, http.MethodPost, "/v1/tasks", spec)
	}
	return c
}

func taskDeleteCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "delete ID", Short: "Delete a task that was made by create",
		Example: "  freshet task delete 100",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var t api.Task
			if err := o.ask(cmd.Context(), http.MethodDelete, "/v1/tasks/"+pathPart(args[0]), nil, &t); err != nil {
				return err
			}
			if o.json {
				return printJSON(cmd.OutOrStdout(), t)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "task %d (%s) is deleted\n", t.ID, oneLine(t.Name))
			return err
		},
	}
}

// taskFlags adds the flags that say when and how a task runs, and gives what
// reads them. Bounds are the agent's matter.
func taskFlags(f *pflag.FlagSet) func(*cobra.Command) (api.TaskChange, error) {
	f.String("every", "", "how often, counted from the end of the run before (1m to 30d)")
	f.String("at", "", "at this time of day, as 03:30: daily, or with --on weekly")
	f.StringSlice("on", nil, "on these days: mon to sun")
	f.Bool("manual", false, "only when started")
	f.String("after-start", "", "so long after each start of the agent, as 5m or 0s")
	f.StringSlice("after-update", nil, "after an update of one of these bases, or of any")
	f.String("delay", "", "with --after-update: so long after it")
	f.String("random-delay", "", "added to its time, from nothing to this, anew each time")
	f.Bool("make-up", true, "make up for a missed run, once")
	f.String("limit", "", "end a run after that time (1s to 7d; 0s: never)")
	f.String("overlap", "", "while something else runs: queue (wait for its end) or skip")
	f.Bool("enabled", true, "whether it runs by itself")
	f.StringSlice("bases", nil, "of your own task: the bases that it is about; \"\" for all that are wanted")
	f.StringSlice("sources", nil, "of your own task: the sources that it asks, in this order; \"\" for all")
	return func(cmd *cobra.Command) (c api.TaskChange, err error) {
		if c.Timing, err = timingFlags(cmd); err != nil {
			return c, err
		}
		if c.RandomDelay, err = durationFlag(cmd, "random-delay"); err != nil {
			return c, err
		}
		if c.Limit, err = durationFlag(cmd, "limit"); err != nil {
			return c, err
		}
		c.MakeUp, c.Enabled = boolFlag(cmd, "make-up"), boolFlag(cmd, "enabled")
		c.Bases, c.Sources = listFlag(cmd, "bases"), listFlag(cmd, "sources")
		if f.Changed("overlap") {
			v, _ := f.GetString("overlap")
			c.Overlap = &v
		}
		return c, nil
	}
}

// timingFlags is the timing that the flags name; nil if they name none.
func timingFlags(cmd *cobra.Command) (*api.Timing, error) {
	f := cmd.Flags()
	var given []string
	for _, name := range []string{"every", "at", "manual", "after-start", "after-update"} {
		if f.Changed(name) {
			given = append(given, name)
		}
	}
	switch {
	case len(given) > 1:
		return nil, misused(cmd, fmt.Sprintf("--%s and --%s are two times: keep one", given[0], given[1]))
	case f.Changed("on") && !slices.Contains(given, "at"):
		return nil, misused(cmd, "--on goes with --at")
	case f.Changed("delay") && !slices.Contains(given, "after-update"):
		return nil, misused(cmd, "--delay goes with --after-update")
	case len(given) == 0:
		return nil, nil
	}
	t := &api.Timing{}
	var long *api.Duration
	var err error
	switch given[0] {
	case "every":
		t.Kind = api.Interval
		if long, err = durationFlag(cmd, "every"); err == nil {
			t.Every = *long
		}
	case "at":
		t.Kind = api.Daily
		t.At, _ = f.GetString("at")
		if t.Days, _ = f.GetStringSlice("on"); len(t.Days) > 0 {
			t.Kind = api.Weekly
		}
	case "manual":
		t.Kind = api.Manual
	case "after-start":
		t.Kind = api.AtStart
		if long, err = durationFlag(cmd, "after-start"); err == nil {
			t.Delay = *long
		}
	case "after-update":
		t.Kind = api.OnBase
		if t.Bases, _ = f.GetStringSlice("after-update"); slices.Equal(t.Bases, []string{"any"}) {
			t.Bases = nil
		}
		if long, err = durationFlag(cmd, "delay"); err == nil && long != nil {
			t.Delay = *long
		}
	}
	return t, err
}

// durationFlag is the flag's value; nil if it was not given.
func durationFlag(cmd *cobra.Command, name string) (*api.Duration, error) {
	if !cmd.Flags().Changed(name) {
		return nil, nil
	}
	value, _ := cmd.Flags().GetString(name)
	d, err := settings.ParseDuration(strings.TrimSpace(value))
	if err != nil {
		return nil, misused(cmd, fmt.Sprintf("--%s: %v", name, err))
	}
	v := api.Duration(time.Duration(d))
	return &v, nil
}

func boolFlag(cmd *cobra.Command, name string) *bool {
	if !cmd.Flags().Changed(name) {
		return nil
	}
	v, _ := cmd.Flags().GetBool(name)
	return &v
}

func listFlag(cmd *cobra.Command, name string) *[]string {
	if !cmd.Flags().Changed(name) {
		return nil
	}
	v, _ := cmd.Flags().GetStringSlice(name)
	v = slices.DeleteFunc(v, func(s string) bool { return s == "" })
	return &v
}
