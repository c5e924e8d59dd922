package main

import (
	"fmt"
	"strings"
)

// Goals. Bytes are 10³ a KB, to be strict.
const (
	worstRatio   = 1.25
	applyMemory  = 32 << 20
	applyRatio   = 1.5
	makeRatio    = 50
	hourOverhead = 4000
	nothingBytes = 1000
	nothingAsked = 2
)

func (r *report) writeGoals(b *strings.Builder) {
	t := &table{head: []string{"goal", "measured", "verdict"}}
	r.bytesGoals(t)
	r.applyGoals(t)
	r.hourGoals(t)
	if t.empty() {
		return
	}
	fmt.Fprintf(b, "## Goals\n\n%s\n", t)
}

func (r *report) bytesGoals(t *table) {
	worst := row{}
	var ratios, overGo []float64
	for _, row := range r.rows {
		if q := row.ratio(); q > 0 {
			ratios = append(ratios, q)
			if q > worst.ratio() {
				worst = row
			}
		}
		if g := row.peer(goBsdiff); g != nil {
			overGo = append(overGo, float64(row.Ours.Bytes)/float64(g.Bytes))
		}
	}
	if len(ratios) > 0 {
		t.add(fmt.Sprintf("no pair above %.2f × the best peer", worstRatio),
			fmt.Sprintf("%.2f at worst (%s %s)", worst.ratio(), worst.Corpus, worst.title()), verdict(worst.ratio() <= worstRatio))
		t.add("bytes to the best peer, geometric mean", times(geomean(ratios)), "")
	}
	if len(overGo) > 0 {
		t.add("bytes to go-bsdiff, geometric mean", times(geomean(overGo)), "")
	}
	if h := r.hashList; h != nil {
		t.add("bytes of a sorted hash list to its entropy", times(float64(h.Bytes)/h.Bound), "")
	}
	if m := r.makings(); len(m) > 0 {
		least := m[0]
		for _, x := range m {
			if x.ratio() < least.ratio() {
				least = x
			}
		}
		t.add(fmt.Sprintf("hash matcher ≥ %d × less CPU than go-bsdiff at %s", makeRatio, mb(least.size)),
			fmt.Sprintf("%.0f × at least", least.ratio()), verdict(least.ratio() >= makeRatio))
	}
}

func (r *report) applyGoals(t *table) {
	for _, a := range r.applies {
		if a.New < large {
			continue // the start of the process outweighs the work
		}
		kind := a.Title + ", " + mb(a.New)
		t.add(fmt.Sprintf("applying ≤ %s (%s)", mib(applyMemory), kind), mib(a.Apply.RSS), verdict(a.Apply.RSS <= applyMemory))
		t.add(fmt.Sprintf("applying ≤ %.1f × read + SHA-256 + write (%s)", applyRatio, kind), times(a.ratio()), verdict(a.ratio() <= applyRatio))
	}
}

func (r *report) hourGoals(t *table) {
	if r.hours == nil {
		return
	}
	worst := int64(0)
	for _, s := range r.hours.Steps {
		worst = max(worst, s.overhead())
	}
	t.add(fmt.Sprintf("an hour of %s ≤ delta + %d bytes of bodies", r.hours.Corpus, hourOverhead),
		fmt.Sprintf("delta + %d bytes at most", worst), verdict(worst <= hourOverhead))
	for _, s := range r.hours.Nothing {
		t.add(fmt.Sprintf("nothing new: %d requests, ≤ %d bytes (%s)", nothingAsked, nothingBytes, s.Server),
			fmt.Sprintf("%d requests, %d bytes", s.Requests, s.Bytes), verdict(s.Requests <= nothingAsked && s.Bytes <= nothingBytes))
	}
}
