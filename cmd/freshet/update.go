package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"github.com/freshet/freshet/internal/api"
)

func updateCommand(o *options) *cobra.Command {
	var dry bool
	c := &cobra.Command{
		Use:   "update",
		Short: "Bring the bases to the newest version now",
		Long: `Update runs the task Update (6) now and follows it. If it is running already,
update follows that run. Interrupting follows no longer; the task goes on in
the agent. Where no agent runs, update does the work itself.`,
		Example: `  freshet update
  freshet update --dry-run`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := o.connect(cmd.Context())
			if err != nil {
				return err
			}
			if dry {
				err = printPlan(cmd.Context(), cmd.OutOrStdout(), s, o.json)
			} else {
				err = runTask(cmd.Context(), cmd.OutOrStdout(), s, api.TaskUpdate, o.json)
			}
			return errors.Join(err, s.close())
		},
	}
	c.Flags().BoolVar(&dry, "dry-run", false, "print what would be done, and do nothing")
	return c
}

func printPlan(ctx context.Context, w io.Writer, s *session, asJSON bool) error {
	var p api.Plan
	if err := s.Get(ctx, "/v1/plan", &p); err != nil {
		return err
	}
	if asJSON {
		return printJSON(w, p)
	}
	for _, b := range p.Bases {
		fmt.Fprintln(w, planLine(b))
		if b.Engine != "" {
			fmt.Fprintf(w, "  %s\n", oneLine(b.Engine))
		}
		if d := b.Delivery; d != nil {
			fmt.Fprintf(w, "  copied to %s: %s needed there, %s free\n", oneLine(d.To), size(d.Disk), size(d.Free))
		}
	}
	for _, m := range p.Modules {
		fmt.Fprintln(w, modulePlanLine(m))
	}
	if p.Bytes == 0 {
		fmt.Fprintf(w, "nothing to fetch from %s\n", oneLine(p.Source))
		return nil
	}
	fmt.Fprintf(w, "to fetch: %s from %s\n", instead(p.Bytes, p.Full), oneLine(p.Source))
	fmt.Fprintf(w, "disk: %s needed, %s free\n", size(p.Disk), size(p.Free))
	if p.Ceiling > 0 && p.Used+p.Disk > p.Ceiling {
		fmt.Fprintf(w, "disk ceiling: %s, of which %s are taken: versions kept to go back to are removed, and what does not fit is left out\n", size(p.Ceiling), size(p.Used))
	}
	return nil
}

func planLine(b api.BasePlan) string {
	switch {
	case b.Held != "":
		return fmt.Sprintf("%s: version %d stays; %d is held back (%s)", b.Name, b.From, b.To, oneLine(b.Held))
	case b.From == b.To:
		return fmt.Sprintf("%s: version %d is the newest", b.Name, b.To)
	}
	what := fmt.Sprintf("%d deltas", len(b.Steps))
	switch {
	case len(b.Steps) == 0:
		what = "already fetched"
	case b.Steps[0].From == 0:
		what = "the full image"
	case len(b.Steps) == 1:
		what = "1 delta"
	}
	from := "not installed"
	if b.From > 0 {
		from = fmt.Sprintf("version %d", b.From)
	}
	return fmt.Sprintf("%s: %s to %d by %s, %s", b.Name, from, b.To, what, size(b.Bytes))
}

// names are how tasks are spoken of.
var names = map[int]string{api.TaskUpdate: "update", api.TaskRollback: "rollback", api.TaskVerify: "verification"}

func nameOf(id int) string {
	if name, ok := names[id]; ok {
		return name
	}
	return fmt.Sprintf("task %d", id)
}

// runTask starts a task and follows it to its end.
func runTask(ctx context.Context, w io.Writer, s *session, id int, asJSON bool) error {
	var started api.Started
	if err := s.Do(ctx, http.MethodPost, fmt.Sprintf("/v1/tasks/%d/start", id), nil, &started); err != nil {
		return err
	}
	if started.Joined && !asJSON {
		fmt.Fprintf(os.Stderr, "%s is running already; following it\n", nameOf(id))
	}
	shown := newShown(os.Stderr, asJSON)
	res, err := follow(ctx, s, id, shown)
	shown.end()
	if ctx.Err() != nil {
		return interrupted(s, id)
	}
	if err != nil {
		return err
	}
	if asJSON {
		err = printJSON(w, res)
	} else {
		printResult(w, res)
	}
	return errors.Join(err, outcome(id, res))
}

func follow(ctx context.Context, s *session, id int, shown shown) (api.Result, error) {
	var res *api.Result
	err := s.Follow(ctx, fmt.Sprintf("/v1/tasks/%d/progress", id), func(line []byte) error {
		var m api.Moment
		if err := json.Unmarshal(line, &m); err != nil {
			return fmt.Errorf("reading the agent's answer: %w", err)
		}
		if m.Progress != nil {
			shown.progress(*m.Progress)
		}
		if m.Result != nil {
			res = m.Result
		}
		return nil
	})
	if err != nil {
		return api.Result{}, err
	}
	if res == nil {
		return api.Result{}, &api.Error{Code: api.Unreachable, Text: "the agent went away before the task ended"}
	}
	return *res, nil
}

func interrupted(s *session, id int) error {
	if s.own != nil {
		return &api.Error{Code: api.Interrupted, Text: "interrupted", Hint: "the installed bases stay in use; the next run goes on from what was fetched"}
	}
	return &api.Error{
		Code: api.Interrupted, Text: fmt.Sprintf("interrupted; task %d goes on in the agent", id),
		Hint: fmt.Sprintf("freshet task show %d shows it, freshet task stop %d ends it", id, id),
	}
}

// behindText is what the reason of a run means.
const behindText = "as every source is behind what this machine has seen"

// outcome is the error that a result means.
func outcome(id int, r api.Result) error {
	switch r.Outcome {
	case api.Failed:
		return &api.Error{Code: api.RunFailed, Text: nameOf(id) + " failed: " + r.Error, Hint: r.Hint}
	case api.Partly:
		return &api.Error{Code: api.RunPartly, Text: "some bases were not updated: " + r.Error}
	case api.Stopped:
		return &api.Error{Code: api.RunStopped, Text: "stopped: " + r.Error}
	}
	if r.Reason == api.ReasonBehind && !r.Imported {
		return &api.Error{Code: api.RunPartly, Text: "nothing newer is to be had, " + behindText + ": " + r.Error, Hint: r.Hint}
	}
	return nil
}

func printResult(w io.Writer, r api.Result) {
	for _, c := range r.Bases {
		switch {
		case c.Error != "":
			fmt.Fprintf(w, "%s: version %d stays: %s\n", c.Name, c.From, oneLine(c.Error))
		case c.From == c.To:
			fmt.Fprintf(w, "%s: version %d repaired\n", c.Name, c.To)
		case c.From == 0:
			fmt.Fprintf(w, "%s: version %d installed\n", c.Name, c.To)
		default:
			fmt.Fprintf(w, "%s: version %d to %d\n", c.Name, c.From, c.To)
		}
	}
	for _, m := range r.Modules {
		fmt.Fprintln(w, moduleLine(m))
	}
	for _, note := range r.Notes {
		fmt.Fprintf(w, "note: %s\n", oneLine(note))
	}
	switch {
	case r.Outcome == api.NothingNew:
		fmt.Fprintf(w, "nothing new (%s, %s)\n", english.Plural(int(r.Requests), "request", ""), size(r.Bytes))
	case r.Outcome == api.Updated:
		fmt.Fprintf(w, "updated: %s in %s from %s\n", instead(r.Bytes, r.Full), took(r), oneLine(r.Source))
	case r.Outcome == api.Failed, r.Outcome == api.Partly, r.Outcome == api.Stopped: // the error says it
	default:
		fmt.Fprintln(w, r.Outcome)
	}
}
