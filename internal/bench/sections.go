package main

import (
	"fmt"
	"strings"
	"time"
)

// corporaOf gives the rows of each corpus, in order.
func corporaOf(rows []row) (names []string, by map[string][]row) {
	by = map[string][]row{}
	for _, r := range rows {
		if by[r.Corpus] == nil {
			names = append(names, r.Corpus)
		}
		by[r.Corpus] = append(by[r.Corpus], r)
	}
	return names, by
}

func (r *report) writeBytes(b *strings.Builder) {
	if len(r.rows) == 0 {
		return
	}
	b.WriteString("## Bytes of a delta\n\n")
	names, by := corporaOf(r.rows)
	for _, name := range names {
		fmt.Fprintf(b, "### %s\n\n%s\n", name, bytesTable(by[name]))
	}
	b.WriteString("“–”: not run. On images of more than 32 MiB the tools of minutes (bsdiff, go-bsdiff, full compression) run on the first pair of neighbours and on first→last alone, unless `-all` is given. " +
		"xdelta3 runs without file names in its output. The line diff is the smallest of `diff`, `diff -n` and `diff -e` and was not decoded back; all others were.\n\n")
	if r.hashList != nil {
		fmt.Fprintf(b, "Synthetic: a sorted list of n = %d random hashes of 128 bits as hexadecimal lines, r = %d gone and a = %d new: %d bytes. "+
			"The entropy of that change is log₂ C(n, r) + 128·a − log₂ a! bits = %.0f bytes; ours is %.2f × that.\n\n",
			listRecords, listRemoved, listAdded, r.hashList.Bytes, r.hashList.Bound, float64(r.hashList.Bytes)/r.hashList.Bound)
	}
	writeFlagged(b, r.rows)
}

func bytesTable(rows []row) *table {
	t := &table{head: []string{"pair", ours}}
	tree := rows[0].Tree
	if tree {
		t.head = append(t.head, "as a tree")
	}
	var shown []int
	for i, p := range rows[0].Peers {
		for _, r := range rows {
			if r.Peers[i].Skipped == "" || r.Peers[i].Failed {
				shown, t.head = append(shown, i), append(t.head, p.Tool)
				break
			}
		}
	}
	t.head = append(t.head, "best peer", "ratio")
	for _, r := range rows {
		cells := []string{r.title(), fmt.Sprint(r.Ours.Bytes)}
		if tree {
			cells = append(cells, fmt.Sprint(r.Image.Bytes))
		}
		for _, i := range shown {
			cells = append(cells, bytesCell(r.Peers[i]))
		}
		best := "–"
		if p := r.best(); p != nil {
			best = p.Tool
		}
		t.add(append(cells, best, times(r.ratio()))...)
	}
	return t
}

func bytesCell(o outcome) string {
	switch {
	case o.Failed:
		return "failed"
	case o.Skipped != "":
		return "–"
	}
	return fmt.Sprint(o.Bytes)
}

// writeFlagged lists the pairs on which a peer is smaller.
func writeFlagged(b *strings.Builder, rows []row) {
	t := &table{head: []string{"pair", "ratio", "best peer", "matcher kept", "reason"}}
	for _, r := range rows {
		if r.ratio() > worstRatio {
			t.add(r.Corpus+" "+r.title(), times(r.ratio()), r.best().Tool, r.Ours.Remark, reason(r.Corpus, r.From, r.To))
		}
	}
	if t.empty() {
		b.WriteString("No peer is smaller on any pair.\n\n")
		return
	}
	fmt.Fprintf(b, "### Pairs on which a peer is smaller\n\n%s\n", t)
}

// reason is why a peer is smaller on a pair, once someone has found out.
func reason(corpus string, from, to int) string {
	known := map[string]string{}
	if why, ok := known[fmt.Sprintf("%s %d→%d", corpus, from, to)]; ok {
		return why
	}
	return "not yet known"
}

func (r *report) writeCosts(b *strings.Builder) {
	if len(r.rows) == 0 {
		return
	}
	b.WriteString("## CPU and memory of making and applying\n\nMedians over the pairs on which a tool ran; the memory is the largest.\n\n")
	names, by := corporaOf(r.rows)
	for _, name := range names {
		rows := by[name]
		t := &table{head: []string{"tool", "pairs", "make CPU", "make memory", "apply CPU", "apply memory"}}
		costs(t, ours, rows, func(r row) *outcome { return &r.Ours })
		costs(t, ours+", hash matcher alone", rows, func(r row) *outcome { return r.Hash })
		for i, p := range rows[0].Peers {
			costs(t, p.Tool, rows, func(r row) *outcome { return &r.Peers[i] })
		}
		fmt.Fprintf(b, "### %s, %s\n\n%s\n", name, mb(rows[len(rows)-1].Size), t)
	}
}

func costs(t *table, name string, rows []row, of func(row) *outcome) {
	var makes, applies []usage
	for _, r := range rows {
		o := of(r)
		if o == nil || o.Skipped != "" {
			continue
		}
		makes = append(makes, o.Make)
		if o.Applied {
			applies = append(applies, o.Apply)
		}
	}
	if len(makes) == 0 {
		return
	}
	cells := []string{name, fmt.Sprint(len(makes)), seconds(middle(makes).CPU), mib(middle(makes).RSS), "–", "–"}
	if len(applies) > 0 {
		cells[4], cells[5] = seconds(middle(applies).CPU), mib(middle(applies).RSS)
	}
	t.add(cells...)
}

// making compares our hash matcher with go-bsdiff on one pair.
type making struct {
	title     string
	size      int64
	hash, gob outcome
}

func (m making) ratio() float64 { return float64(m.gob.Make.CPU) / float64(m.hash.Make.CPU) }

// makings are those on large images.
func (r *report) makings() []making {
	var list []making
	for _, x := range r.rows {
		if g := x.peer(goBsdiff); g != nil && x.Hash != nil && x.Size >= large {
			list = append(list, making{x.Corpus + " " + x.title(), x.Size, *x.Hash, *g})
		}
	}
	return list
}

func (r *report) writeMaking(b *strings.Builder) {
	t := &table{head: []string{"pair", "hash matcher", "memory", "bytes", goBsdiff, "memory", "bytes", "CPU, times less", "memory, times less"}}
	for _, m := range r.makings() {
		t.add(m.title, seconds(m.hash.Make.CPU), mib(m.hash.Make.RSS), fmt.Sprint(m.hash.Bytes),
			seconds(m.gob.Make.CPU), mib(m.gob.Make.RSS), fmt.Sprint(m.gob.Bytes),
			fmt.Sprintf("%.0f", m.ratio()), fmt.Sprintf("%.1f", float64(m.gob.Make.RSS)/float64(m.hash.Make.RSS)))
	}
	if !t.empty() {
		fmt.Fprintf(b, "## Making by the hash matcher alone\n\n%s\n", t)
	}
}

func (r *report) writeApplies(b *strings.Builder) {
	if len(r.applies) == 0 {
		return
	}
	t := &table{head: []string{"image", "size", "delta", "apply CPU", "memory", "floor CPU", "ratio", "make CPU", "make memory"}}
	for _, a := range r.applies {
		title := a.Title
		if a.Synthetic {
			title += " (synthetic)"
		}
		t.add(title, mb(a.New), fmt.Sprint(a.Delta), seconds(a.Apply.CPU), mib(a.Apply.RSS), seconds(a.Floor.CPU), times(a.ratio()), seconds(a.Make.CPU), mib(a.Make.RSS))
	}
	fmt.Fprintf(b, "## Applying\n\nApplying reads the old image and the delta, hashes the new image while writing it to a file. "+
		"The floor is a process that reads the new image, hashes it by SHA-256 and writes it. Medians of %d interleaved runs. "+
		"The synthetic images are records of 32 random digits, of which one in %d is gone, changed or followed by a new one.\n\n%s\n", r.settings.runs, editEvery, t)
}

func (r *report) writeHour(b *strings.Builder) {
	h := r.hours
	if h == nil {
		return
	}
	fmt.Fprintf(b, "## An hourly update\n\nA repository of one base, %s (%s), published version by version; one endpoint behind each server updates after each. "+
		"Bytes are those of response bodies, counted by the server; the agent counts the same.\n\n", h.Corpus, mb(h.Size))
	t := &table{head: []string{"update", "server", "requests"}}
	shown := hourKinds(h)
	t.head = append(append(t.head, shown...), "all", "all but the delta")
	for _, s := range h.Steps {
		t.add(hourCells(s, fmt.Sprintf("%d→%d", s.From, s.To), shown)...)
	}
	for _, s := range h.Nothing {
		t.add(hourCells(s, "nothing new", shown)...)
	}
	fmt.Fprintf(b, "%s\n", t)
	writeWhole(b, h)
}

// hourKinds are the kinds of files that any update asked for.
func hourKinds(h *hourly) []string {
	var shown []string
	for _, k := range kinds() {
		for _, s := range h.Steps {
			if s.of(k) > 0 {
				shown = append(shown, k)
				break
			}
		}
	}
	return shown
}

func hourCells(s step, title string, shown []string) []string {
	cells := []string{title, s.Server, fmt.Sprint(s.Requests)}
	for _, k := range shown {
		cells = append(cells, fmt.Sprint(s.of(k)))
	}
	return append(cells, fmt.Sprint(s.Bytes), fmt.Sprint(s.overhead()))
}

// whole is what an update with one delta cost, and its floor: medians.
func (h *hourly) whole() (used, floor usage, ok bool) {
	var us, fs []usage
	for _, s := range h.Steps {
		us, fs = append(us, s.Used), append(fs, s.Floor)
	}
	if len(us) == 0 {
		return usage{}, usage{}, false
	}
	return middle(us), middle(fs), true
}

// writeWhole compares whole updates with the floor.
func writeWhole(b *strings.Builder, h *hourly) {
	u, f, ok := h.whole()
	if !ok {
		return
	}
	fmt.Fprintf(b, "The whole update with one delta, from the first request to the switch and in a process of its own, took %s of CPU and %s of memory; "+
		"reading, hashing and writing the new image took %s: %.2f × that floor (medians). It took %s by the clock.\n\n",
		seconds(u.CPU), mib(u.RSS), seconds(f.CPU), float64(u.CPU)/float64(f.CPU), u.Wall.Round(10*time.Millisecond))
}
