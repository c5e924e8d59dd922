package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet/freshet/internal/api"
)

func statusCommand(o *options) *cobra.Command {
	var check bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Say how fresh this machine is",
		Long: `Status says how fresh the bases are, when they were updated and when they will
be. With --check it prints one line and exits as monitoring plugins do:
  0  OK        up to date
  1  WARNING   out of date; or up to date, but no agent runs, task 6 (Update)
               is off, no source is set, the settings file is not in force, a
               base that the settings name is not installed, or an engine failed
  2  CRITICAL  totally out of date, or no base is installed
  3  UNKNOWN   the status cannot be read`,
		Example: `  freshet status
  freshet status --json
  freshet status --check`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			st, err := getStatus(cmd.Context(), o)
			w := cmd.OutOrStdout()
			switch {
			case check:
				return printCheck(w, st, err)
			case err != nil:
				return err
			case o.json:
				return printJSON(w, st)
			}
			printStatus(w, st)
			return nil
		},
	}
	c.Flags().BoolVar(&check, "check", false, "print one line and exit as monitoring plugins do")
	return c
}

func getStatus(ctx context.Context, o *options) (api.Status, error) {
	var st api.Status
	s, err := o.connect(ctx)
	if err != nil {
		return st, err
	}
	err = s.Get(ctx, "/v1/status", &st)
	return st, errors.Join(err, s.close())
}

// printCheck speaks as monitoring plugins do (the Monitoring Plugins
// Development Guidelines: one line, exit 0, 1, 2 or 3).
func printCheck(w io.Writer, st api.Status, err error) error {
	word, code := "UNKNOWN", exit(3)
	switch {
	case err != nil:
		fmt.Fprintf(w, "FRESHET UNKNOWN - %s\n", strings.ReplaceAll(oneLine(err.Error()), "|", "/"))
		return code
	case st.State == "up to date":
		word, code = "OK", 0
	case st.State == "out of date":
		word, code = "WARNING", 1
	case st.State == "totally out of date", st.State == "without databases":
		word, code = "CRITICAL", 2
	}
	text := st.State
	if st.Why != "" {
		text += ": " + st.Why
	}
	if also := warnings(st); len(also) > 0 {
		text += " (" + strings.Join(also, "; ") + ")"
	}
	if code == 0 && (len(warnings(st)) > 0 || len(st.Missing) > 0 || st.Unsupplied) {
		word, code = "WARNING", 1
	}
	// What follows a bar is read as performance data.
	text = strings.ReplaceAll(oneLine(text), "|", "/")
	fmt.Fprintf(w, "FRESHET %s - %s%s\n", word, text, perfData(st))
	if code == 0 {
		return nil
	}
	return code
}

// warnings are those that neither the state nor its reason tells.
func warnings(st api.Status) []string {
	var all []string
	if !st.Agent {
		all = append(all, "no agent runs")
	}
	if !st.Update.Enabled {
		all = append(all, "task 6 (Update) is off")
	}
	if st.Refused != "" {
		all = append(all, refusedNote(st))
	}
	if len(st.Undecided) > 0 {
		all = append(all, "what was rolled back is not known any more: freshet status says what to do")
	}
	if last := st.Update.Last; last != nil && last.Outcome == api.Failed && last.Hint != "" {
		all = append(all, "what to do: "+last.Hint)
	}
	all = append(all, behindNotes(st)...)
	all = append(all, roleNotes(st)...)
	return append(all, engineNotes(st)...)
}

// behindNotes says whether the last update found nothing that it could follow.
func behindNotes(st api.Status) []string {
	if last := st.Update.Last; last != nil && last.Reason == api.ReasonBehind && !last.Imported {
		return []string{"nothing newer is to be had, " + behindText + ": " + last.Hint}
	}
	return nil
}

// roleNotes says which roles have expired.
func roleNotes(st api.Status) []string {
	var all []string
	for _, r := range st.Roles {
		if r.Left < 0 && !r.Unneeded {
			all = append(all, fmt.Sprintf("the metadata of %s expired at %s: nothing is updated before the publisher signs it again", r.Role, stamp(r.Expires)))
		}
	}
	return all
}

func refusedNote(st api.Status) string { return "the settings file is not in force: " + st.Refused }

func engineNotes(st api.Status) []string {
	var all []string
	for _, e := range st.Engines {
		all = append(all, fmt.Sprintf("engine of %s: %s failed at %s: %s", e.Base, e.Step, stamp(e.At), e.Error))
	}
	return all
}

func perfData(st api.Status) string {
	var parts []string
	for _, b := range st.Bases {
		parts = append(parts, fmt.Sprintf("%s=%ds", b.Name, b.Age))
	}
	if len(parts) == 0 {
		return ""
	}
	return " | " + strings.Join(parts, " ")
}

func printStatus(w io.Writer, st api.Status) {
	fmt.Fprintf(w, "freshet %s: %s\n", oneLine(st.Version), headline(st))
	for _, note := range notes(st) {
		fmt.Fprintf(w, "  %s\n", oneLine(note))
	}
	if len(st.Bases)+len(st.Missing) > 0 {
		fmt.Fprintln(w)
		printBases(w, st.Bases, st.Missing...)
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	printUpdate(t, st)
	if len(st.Sources) == 0 {
		fmt.Fprint(t, "sources:\tnone\n")
	}
	for i, s := range st.Sources {
		label := ""
		if i == 0 {
			label = "sources:"
		}
		fmt.Fprintf(t, "%s\t%s\n", label, oneLine(s))
	}
	if !st.SignedAt.IsZero() {
		fmt.Fprintf(t, "signed:\t%s (%s)\n", stamp(st.SignedAt), ago(st.Now, st.SignedAt))
	}
	printRoles(t, st)
	printLicenceStatus(t, st)
	printFirewallStatus(t, st)
	t.Flush()
}

// printRoles says until when the metadata is valid, of the role that ends first.
func printRoles(w io.Writer, st api.Status) {
	var first *api.RoleStatus
	for i, r := range st.Roles {
		if !r.Unneeded && (first == nil || r.Left < first.Left) {
			first = &st.Roles[i]
		}
	}
	if first != nil {
		fmt.Fprintf(w, "valid:\tuntil %s (%s; of %d roles the first, %s)\n", stamp(first.Expires), ago(st.Now, first.Expires), len(st.Roles), first.Role)
	}
}

func headline(st api.Status) string {
	if st.State == "unknown" {
		return "the state of the bases is not known"
	}
	if st.State == "without databases" {
		return "running without databases"
	}
	if st.Unsupplied {
		return "bases are " + st.State + ", but nothing updates them: no source is set"
	}
	if len(st.Missing) > 0 {
		return "bases are " + st.State + ", but not all are installed"
	}
	return "bases are " + st.State
}

func notes(st api.Status) []string {
	var all []string
	if st.Refused != "" {
		all = append(all, refusedNote(st))
	}
	if st.Why != "" {
		all = append(all, st.Why)
	}
	if !st.Agent {
		all = append(all, "no agent runs: nothing is updated by itself")
	}
	if sup := st.Supervisor; sup != nil && sup.Trial != nil {
		all = append(all, fmt.Sprintf("on trial: %s after %s (%s); confirmed in %s at the earliest",
			oneLine(sup.Trial.Modules), oneLine(sup.Trial.From), oneLine(sup.Trial.Phase), time.Duration(sup.Trial.Left)*time.Second))
	}
	if sup := st.Supervisor; sup != nil && sup.Failing != "" {
		all = append(all, "the supervisor cannot keep an agent running: "+oneLine(sup.Failing))
	}
	if st.Trial {
		all = append(all, fmt.Sprintf("generation %d is on trial", st.Generation))
	}
	for _, h := range st.Held {
		all = append(all, heldNote(h)+holdCost(st, h))
	}
	if len(st.Undecided) > 0 {
		all = append(all, fmt.Sprintf("what was rolled back before %s is not known any more: of %s nothing that was published before is installed (freshet bases unhold NAME, freshet modules unhold NAME)",
			stamp(st.HistoryLost), strings.Join(st.Undecided, ", ")))
	}
	all = append(all, behindNotes(st)...)
	all = append(all, roleNotes(st)...)
	all = append(all, licenceNotes(st)...)
	return append(all, engineNotes(st)...)
}

func heldNote(h api.Held) string {
	since := fmt.Sprintf("since %s: %s", stamp(h.At), oneLine(h.Reason))
	switch {
	case h.Module == "" && h.Version == 0:
		return fmt.Sprintf("%s is on hold %s (freshet bases unhold %s)", h.Base, since, h.Base)
	case h.Module == "":
		return fmt.Sprintf("%s version %d is held back %s (freshet bases unhold %s)", h.Base, h.Version, since, h.Base)
	case h.Release == "":
		return fmt.Sprintf("module %s is kept at its release %s (freshet modules unhold %s)", h.Module, since, h.Module)
	}
	return fmt.Sprintf("module %s %s is held back %s (freshet modules unhold %s)", h.Module, h.Release, since, h.Module)
}

// holdCost is how old the version is that a whole base is held at.
func holdCost(st api.Status, h api.Held) string {
	for _, b := range st.Bases {
		if h.Module == "" && h.Version == 0 && b.Name == h.Base {
			return fmt.Sprintf(": version %d is %s old", b.Version, span(time.Duration(b.Age)*time.Second))
		}
	}
	return ""
}

func printBases(w io.Writer, all []api.BaseStatus, missing ...api.Missing) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "BASE\tVERSION\tPUBLISHED\tAGE\tSTATE\tRECORDS\tSIZE")
	for _, b := range all {
		age := span(time.Duration(b.Age) * time.Second)
		if b.Age < 0 {
			age = "-" + age
		}
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\t%s\t%s\n", b.Name, b.Version, stamp(b.Published), age, b.State, count(b.Records), size(b.Size))
	}
	for _, m := range missing {
		state := "not installed"
		if m.Error != "" {
			state += ": " + m.Error
		}
		fmt.Fprintf(t, "%s\t-\t-\t-\t%s\n", oneLine(m.Name), oneLine(state))
	}
	t.Flush()
}

func printUpdate(w io.Writer, st api.Status) {
	u := st.Update
	switch {
	case u.Last == nil:
		fmt.Fprint(w, "last update:\tnone yet\n")
	default:
		text := u.Last.Outcome
		if u.Last.Error != "" {
			text += ": " + u.Last.Error
		}
		fmt.Fprintf(w, "last update:\t%s (%s): %s\n", stamp(u.Last.Ended), ago(st.Now, u.Last.Ended), oneLine(text))
		if u.Last.Outcome == api.Failed && u.Last.Hint != "" {
			fmt.Fprintf(w, "  what to do:\t%s\n", oneLine(u.Last.Hint))
		}
		if u.Last.Source != "" {
			fmt.Fprintf(w, "  from:\t%s\n", oneLine(u.Last.Source))
		}
	}
	printTransfer(w, u)
	switch {
	case u.Running:
		fmt.Fprint(w, "next update:\trunning now\n")
	case !u.Enabled:
		fmt.Fprint(w, "next update:\toff (freshet task set 6 --enabled)\n")
	case !u.Next.IsZero():
		fmt.Fprintf(w, "next update:\t%s (%s)\n", stamp(u.Next), ago(st.Now, u.Next))
	case !st.Agent:
		fmt.Fprint(w, "next update:\twhen the agent runs again\n")
	}
}

// printTransfer shows the last run that changed a base, which need not be the
// last run.
func printTransfer(w io.Writer, u api.Task) {
	t := u.LastBytes
	switch {
	case t == nil:
	case t.At.IsZero(): // kept by a version that noted no time
		fmt.Fprintf(w, "last change:\t%s\n", instead(t.Bytes, t.Full))
	case u.Last != nil && t.At.Equal(u.Last.Ended):
		fmt.Fprintf(w, "  fetched:\t%s\n", instead(t.Bytes, t.Full))
	default:
		fmt.Fprintf(w, "last change:\t%s: %s\n", stamp(t.At), instead(t.Bytes, t.Full))
	}
}
