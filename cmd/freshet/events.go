package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/internal/settings"
)

// lastShown is how many events before those to come are printed.
const lastShown = 10

func eventsCommand(o *options) *cobra.Command {
	var since string
	var followed bool
	c := &cobra.Command{
		Use: "events", Short: "Print what happened",
		Example: "  freshet events --since 24h\n  freshet events --follow --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			query := url.Values{}
			if since != "" {
				t, err := sinceTime(since, time.Now())
				if err != nil {
					return err
				}
				query.Set("since", t.UTC().Format(time.RFC3339))
			}
			if followed {
				query.Set("follow", "1")
				if since == "" {
					query.Set("last", fmt.Sprint(lastShown))
				}
				return followEvents(cmd, o, "/v1/events?"+query.Encode())
			}
			var out api.Events
			if err := o.ask(cmd.Context(), http.MethodGet, "/v1/events?"+query.Encode(), nil, &out); err != nil {
				return err
			}
			if o.json {
				return printJSON(cmd.OutOrStdout(), out)
			}
			if len(out.Events) == 0 {
				fmt.Fprintln(cmd.ErrOrStderr(), "no events")
			}
			for _, e := range out.Events {
				printEvent(cmd.OutOrStdout(), e)
			}
			return nil
		},
	}
	c.Flags().StringVar(&since, "since", "", "only those since then: a time (2026-01-31T12:00:00Z) or how long ago (24h, 7d)")
	c.Flags().BoolVarP(&followed, "follow", "f", false, "the last 10, or those since --since, then those to come, until interrupted")
	return c
}

func followEvents(cmd *cobra.Command, o *options, path string) error {
	s, err := o.connect(cmd.Context())
	if err != nil {
		return err
	}
	if s.own != nil {
		err := &api.Error{Code: api.Unreachable, Text: "no agent runs whose events could be followed"}
		return errors.Join(err, s.close())
	}
	err = s.Follow(cmd.Context(), path, func(line []byte) error {
		if o.json {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n", line)
			return err
		}
		var e event.Event
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("reading the agent's answer: %w", err)
		}
		printEvent(cmd.OutOrStdout(), e)
		return nil
	})
	if cmd.Context().Err() != nil {
		return exit(api.ExitInterrupted) // there is no other end
	}
	return err
}

// sinceTime reads a time, or how long before now.
func sinceTime(s string, now time.Time) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	d, err := settings.ParseDuration(s)
	if err != nil || d < 0 {
		return time.Time{}, &api.Error{Code: api.Usage, Text: fmt.Sprintf("--since %q is no time as 2026-01-31T12:00:00Z and no duration as 24h or 7d", s)}
	}
	return now.Add(-time.Duration(d)), nil
}

func printEvent(w io.Writer, e event.Event) {
	fmt.Fprintf(w, "%s  %-8s  %s: %s\n", e.Time.UTC().Format("2006-01-02 15:04:05"), e.Severity, e.Code, oneLine(e.Text))
	if e.Hint != "" && e.Severity != event.Info {
		fmt.Fprintf(w, "%s%s\n", strings.Repeat(" ", 31), oneLine(e.Hint))
	}
}
