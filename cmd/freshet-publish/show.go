package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/freshet/freshet/publish"
)

func (a *app) showCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "show REPO",
		Short:   "show bases, versions, sizes, deltas and expiries",
		Example: "  freshet-publish show /srv/repo\n  freshet-publish show /srv/repo --json",
		Args:    needs("REPO"),
		RunE: a.run(func(_ context.Context, args []string) error {
			s, err := a.repository(args[0]).Show()
			if err != nil {
				return err
			}
			return a.print(s, func(w io.Writer) { printSummary(w, s, time.Now()) })
		}),
	}
}

func printSummary(w io.Writer, s *publish.Summary, now time.Time) {
	fmt.Fprintf(w, "timestamp signed at %s\nfingerprint of the root of trust (SHA-256 of metadata/1.root.json):\n  %s\n\n", s.SignedAt, s.Fingerprint)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ROLE\tVERSION\tKEYS\tVALID UNTIL\tLEFT")
	for _, r := range s.Roles {
		keys := "online"
		if r.Offline {
			keys = "offline"
		}
		left := "expired"
		if d := r.Expires.Sub(now); d > 0 {
			left = fmt.Sprintf("%d d %d h", int(d.Hours())/24, int(d.Hours())%24)
		}
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\n", r.Role, r.Version, keys, r.Expires.Format(time.RFC3339), left)
	}
	fmt.Fprintln(t, "\nBASE\tVERSION\tPUBLISHED\tRECORDS\tBYTES\tFULL\tDELTA\tDELTAS")
	for _, b := range s.Bases {
		delta := "-"
		if len(b.Deltas) > 0 && b.Deltas[0].Size > 0 {
			delta = humanize.Comma(b.Deltas[0].Size)
		}
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t%d to it, %d in all\n", b.Name, b.Version, b.Published.Format(time.RFC3339),
			humanize.Comma(b.Records), humanize.Comma(b.Size), humanize.Comma(b.Full), delta, len(b.Deltas), b.Edges)
	}
	if len(s.Modules) > 0 {
		fmt.Fprintln(t, "\nMODULE\tVERSION\tPLATFORM\tPUBLISHED\tBYTES\tFULL\tDELTA\tDELTAS")
	}
	for _, m := range s.Modules {
		delta := "-"
		if len(m.Deltas) > 0 {
			delta = humanize.Comma(m.Deltas[0].Size)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\n", m.Name, m.Version, m.Platform, m.Published.Format(time.RFC3339),
			humanize.Comma(m.Size), humanize.Comma(m.Full), delta, len(m.Deltas))
	}
	t.Flush()
}
