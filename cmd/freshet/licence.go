package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/licence"
)

func licenceCommand(o *options) *cobra.Command {
	return group("licence", "Show or add the licence for updates", licenceShowCommand(o), licenceAddCommand(o))
}

func licenceShowCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "show", Short: "Show this agent's ID and its licence",
		Long: `Show prints the agent's ID, which a licence may be bound to, whether the
repository asks for a licence, and the licences that were added. All of it is
checked offline.`,
		Example: "  freshet licence show",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var l api.Licence
			if err := o.ask(cmd.Context(), http.MethodGet, "/v1/licence", nil, &l); err != nil {
				return err
			}
			if o.json {
				return printJSON(cmd.OutOrStdout(), l)
			}
			printLicence(cmd.OutOrStdout(), l, time.Now())
			return nil
		},
	}
}

func licenceAddCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "add FILE", Short: "Add a licence from a file",
		Long: `Add checks a licence from your publisher, offline, and keeps it. An update
that waited for it follows at once.`,
		Example: "  freshet licence add example.licence",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := readLicence(args[0])
			if err != nil {
				return err
			}
			var l api.Licence
			if err := o.ask(cmd.Context(), http.MethodPost, "/v1/licence", api.AddLicence{Licence: text}, &l); err != nil {
				return err
			}
			if o.json {
				return printJSON(cmd.OutOrStdout(), l)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "licence added: %s\n", licenceLine(l, time.Now()))
			return nil
		},
	}
}

func readLicence(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", &api.Error{Code: api.BadRequest, Text: fmt.Sprintf("reading the licence: %v", err)}
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, licence.MaxSize+1))
	if err != nil {
		return "", &api.Error{Code: api.BadRequest, Text: fmt.Sprintf("reading the licence: %v", err)}
	}
	return string(data), nil // the agent refuses one that is too long
}

func printLicence(w io.Writer, l api.Licence, now time.Time) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "agent:\t%s\n", agentID(l))
	fmt.Fprintf(t, "repository:\t%s\n", oneLine(l.Repository))
	fmt.Fprintf(t, "licence:\t%s\n", oneLine(licenceLine(l, now)))
	t.Flush()
	if len(l.Licences) == 0 {
		return
	}
	fmt.Fprintln(w)
	fmt.Fprintln(t, "LICENCE\tFOR\tUNTIL\tAGENT\tCOUNTS")
	for _, k := range l.Licences {
		agent, counts := "any", "yes"
		if k.Agent != "" {
			agent = k.Agent
		}
		switch {
		case k.Refused != "":
			counts = "no: " + k.Refused
		case k.Expired:
			counts = "no: it has ended"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", oneLine(k.ID), oneLine(k.To), stamp(k.Until), oneLine(agent), oneLine(counts))
	}
	t.Flush()
}

func agentID(l api.Licence) string {
	if l.Agent == "" {
		return "no ID yet: it is given when the agent first runs"
	}
	return oneLine(l.Agent)
}

// licenceLine says in a line how this machine stands.
func licenceLine(l api.Licence, now time.Time) string {
	left := "; one update is possible without"
	if !l.Left {
		left = "; no update is possible until one is added"
	}
	switch licence.State(l.State) {
	case licence.NotRequired:
		return "none is asked for"
	case licence.Unknown:
		return "not known before the first update (freshet update --dry-run asks)"
	case licence.Missing:
		return "none, and the repository asks for one" + left
	case licence.Expired:
		return fmt.Sprintf("for %s, ended %s (%s)%s", l.To, stamp(l.Until), ago(now, l.Until), left)
	}
	return fmt.Sprintf("for %s, until %s (%s)", l.To, stamp(l.Until), ago(now, l.Until))
}

// licenceNotes are what an operator should see first.
func licenceNotes(st api.Status) []string {
	if st.Licence == nil {
		return nil
	}
	switch licence.State(st.Licence.State) {
	case licence.Missing, licence.Expired, licence.ExpiresSoon:
		return []string{"licence: " + licenceLine(*st.Licence, st.Now)}
	}
	return nil
}

func printLicenceStatus(w io.Writer, st api.Status) {
	if st.Licence == nil {
		return
	}
	if st.Licence.State == string(licence.Current) {
		fmt.Fprintf(w, "licence:\t%s\n", oneLine(licenceLine(*st.Licence, st.Now)))
	}
	if st.Licence.Agent != "" {
		fmt.Fprintf(w, "agent ID:\t%s\n", oneLine(st.Licence.Agent))
	}
}
