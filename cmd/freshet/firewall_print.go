package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize/english"

	"github.com/freshet/freshet/internal/api"
)

func printFirewall(w io.Writer, f api.Firewall) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "firewall:\t%s\n", firewallLine(f))
	fmt.Fprintf(t, "mechanism:\t%s\n", mechanismLine(f))
	if f.Set > 0 {
		fmt.Fprintf(t, "otherwise:\tin %s, out %s\n", f.In, f.Out)
	}
	for _, p := range f.Place {
		fmt.Fprintf(t, "entered from:\t%s\n", p)
	}
	for _, n := range firewallNotes(f) {
		fmt.Fprintf(t, "note:\t%s\n", oneLine(n))
	}
	if len(f.Snapshots) > 0 {
		fmt.Fprintf(t, "snapshots:\t%s\n", strings.Join(f.Snapshots, ", "))
	}
	t.Flush()
	if len(f.Lists) > 0 {
		fmt.Fprintln(w)
		fmt.Fprintln(t, "BLOCK LIST\tVERSION\tADDRESSES\tLEFT OUT")
		for _, l := range f.Lists {
			fmt.Fprintf(t, "%s\t%d\t%s\t%s\n", l.Base, l.Version, count(int64(l.Addresses)), oneLine(leftOut(l)))
		}
		t.Flush()
		for _, l := range f.Lists {
			for _, b := range l.BadLines {
				fmt.Fprintf(w, "%s, %s\n", l.Base, oneLine(b))
			}
		}
	}
	if len(f.Rules) > 0 {
		fmt.Fprintln(w)
		fmt.Fprintln(t, "FAMILY\tCHAIN\tPACKETS\tBYTES\tRULE")
		for _, r := range f.Rules {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", r.Family, r.Chain, count(int64(r.Packets)), size(int64(r.Bytes)), oneLine(r.Rule))
		}
		t.Flush()
	}
	printDifference(w, f.Diff)
}

// leftOut is what of a list is not blocked.
func leftOut(l api.FirewallList) string {
	all := slices.Clone(l.Left)
	if l.Bad > 0 {
		all = append(all, english.Plural(l.Bad, "bad line", ""))
	}
	return strings.Join(all, ", ")
}

func firewallLine(f api.Firewall) string {
	switch {
	case f.Trial != nil:
		return fmt.Sprintf("set %d is on trial for %s more: freshet firewall confirm keeps it", f.Trial.Set, time.Duration(f.Trial.Left))
	case f.Off:
		return "taken away by hand: freshet firewall apply brings it back"
	case f.Held != "":
		return fmt.Sprintf("set %d, gone back to %s, in force: freshet firewall apply takes up the settings", f.Set, f.Held)
	case f.Set > 0:
		return fmt.Sprintf("set %d in force since %s", f.Set, stamp(f.Since))
	case !f.Wanted:
		return "not switched on"
	}
	return "not in force"
}

// mechanismLine is what is in force; where nothing is, what would be.
func mechanismLine(f api.Firewall) string {
	text := cmp.Or(f.InForce, f.Mechanism)
	if f.Backend != "" && f.Backend != text {
		text += fmt.Sprintf(" (%s: %s)", f.Backend, f.Why)
	}
	return text
}

func printMechanism(w io.Writer, f api.Firewall) {
	fmt.Fprintf(w, "%s\n", mechanismLine(f))
	switch by := cmp.Or(f.NamedBy, "the default, as the current generation names none"); {
	case f.InForce != "" && f.InForce != f.Mechanism:
		fmt.Fprintf(w, "why: set %d was applied by it; %s (%s) comes with freshet firewall apply\n", f.Set, f.Mechanism, by)
	case f.NamedBy != "":
		fmt.Fprintf(w, "why: the current generation names it (%s)\n", by)
	default:
		fmt.Fprintf(w, "why: it is %s\n", by)
	}
	for _, n := range firewallNotes(f) {
		fmt.Fprintf(w, "note: %s\n", oneLine(n))
	}
}

func firewallNotes(f api.Firewall) []string {
	var all []string
	if f.Error != "" {
		all = append(all, f.Error)
	}
	if f.Both {
		all = append(all, "rules of others stand both in iptables-nft and in iptables-legacy")
	}
	if f.Returned {
		all = append(all, "what the settings say was refused, or not confirmed in time: freshet firewall apply tries again")
	}
	return all
}

func printDifference(w io.Writer, diff []string) {
	if len(diff) == 0 {
		return
	}
	fmt.Fprintln(w, "\nothers changed the rules (- missing, + too much):")
	for _, d := range diff {
		fmt.Fprintf(w, "  %s\n", oneLine(d))
	}
}

func printWallCheck(w io.Writer, f api.Firewall, a api.FirewallApplied) {
	for _, c := range a.Cut {
		fmt.Fprintf(w, "the settings would cut off %s\n", oneLine(c))
	}
	for _, n := range a.Notes {
		fmt.Fprintln(w, oneLine(n))
	}
	printDifference(w, f.Diff)
	if len(a.Cut)+len(f.Diff) == 0 {
		fmt.Fprintf(w, "the rules are as they should be; those of the settings (%d) cut off nobody\n", a.Rules)
	}
}

func printApplied(w io.Writer, ask api.FirewallApply, a api.FirewallApplied) {
	for _, c := range a.Cut {
		fmt.Fprintf(w, "it cuts off %s\n", oneLine(c))
	}
	for _, n := range a.Notes {
		fmt.Fprintln(w, oneLine(n))
	}
	if ask.DryRun {
		for _, t := range a.Texts {
			fmt.Fprint(w, t)
		}
		fmt.Fprintf(w, "# set %d by %s: %d rules, %s addresses in block lists; nothing was done\n", a.Set, a.Backend, a.Rules, count(int64(a.Addresses)))
		return
	}
	fmt.Fprintf(w, "set %d is in force by %s: %d rules, %s addresses in block lists\n", a.Set, a.Backend, a.Rules, count(int64(a.Addresses)))
	if a.Confirm > 0 {
		fmt.Fprintf(w, "it is taken back in %s unless you run: freshet firewall confirm\n", time.Duration(a.Confirm))
	}
}

// printFirewallStatus is the firewall's line of the status.
func printFirewallStatus(w io.Writer, st api.Status) {
	if st.Firewall == nil {
		return
	}
	text := st.Firewall.State
	if st.Firewall.Set > 0 {
		text += fmt.Sprintf(", set %d", st.Firewall.Set)
	}
	if st.Firewall.Drift {
		text += "; others changed the rules: freshet firewall check"
	}
	if st.Firewall.Error != "" {
		text += "; " + st.Firewall.Error
	}
	fmt.Fprintf(w, "firewall:\t%s\n", oneLine(text))
}
