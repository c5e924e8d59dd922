package main

import (
	"fmt"
	"strings"
	"time"
)

// Goals. Bytes are 10³ a KB, to be strict.
const (
	worstRatio   = 1.00
	meanRatio    = 0.90
	meanOverGo   = 0.75
	listRatio    = 1.15 // of the entropy
	listBytes    = 64   // above that
	applyMemory  = 32 << 20
	applyRatio   = 1.25
	applyOverGo  = 4
	wholeRatio   = 2
	makeRatio    = 50
	makeMemory   = 5
	hourOverhead = 3000
	manyOverhead = 20000
	nothingBytes = 1000
	nothingAsked = 2
	nearVersions = 24
	farDeltas    = 3
	farLimit     = 1.3
	storageRatio = 8
	publishCPU   = 3 * time.Minute
)

func (r *report) writeGoals(b *strings.Builder) {
	t := &table{head: []string{"goal", "measured", "verdict"}}
	r.bytesGoals(t)
	r.applyGoals(t)
	r.hourGoals(t)
	r.manyGoals(t)
	r.monthGoals(t)
	r.publishingGoals(t)
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
		t.add(fmt.Sprintf("bytes ≤ %.2f × the best peer, geometric mean", meanRatio), times(geomean(ratios)), verdict(geomean(ratios) <= meanRatio))
	}
	if len(overGo) > 0 {
		t.add(fmt.Sprintf("bytes ≤ %.2f × go-bsdiff, geometric mean", meanOverGo), times(geomean(overGo)), verdict(geomean(overGo) <= meanOverGo))
	}
	if h := r.hashList; h != nil {
		t.add(fmt.Sprintf("bytes of a sorted hash list ≤ %.2f × its entropy + %d", listRatio, listBytes),
			fmt.Sprintf("%.2f × the entropy", float64(h.Bytes)/h.Bound), verdict(float64(h.Bytes) <= listRatio*h.Bound+listBytes))
	}
	r.makeGoals(t)
}

func (r *report) makeGoals(t *table) {
	if m := r.makings(); len(m) > 0 {
		least := m[0]
		for _, x := range m {
			if x.ratio() < least.ratio() {
				least = x
			}
		}
		t.add(fmt.Sprintf("hash matcher ≥ %d × less CPU than go-bsdiff at %s", makeRatio, mb(least.size)),
			fmt.Sprintf("%.0f × at least", least.ratio()), verdict(least.ratio() >= makeRatio))
		memory, more := 0.0, 0
		for i, x := range m {
			if q := float64(x.gob.Make.RSS) / float64(x.hash.Make.RSS); i == 0 || q < memory {
				memory = q
			}
			if x.hash.Bytes > x.gob.Bytes {
				more++
			}
		}
		t.add(fmt.Sprintf("hash matcher ≤ 1/%d of go-bsdiff's memory, no more bytes", makeMemory),
			fmt.Sprintf("1/%.1f at most, more bytes on %d pairs", memory, more), verdict(memory >= makeMemory && more == 0))
	}
	if least := r.overGoBspatch(); least > 0 {
		t.add(fmt.Sprintf("applying ≥ %d × less CPU than go-bspatch, images ≥ %s", applyOverGo, mb(large)),
			fmt.Sprintf("%.1f × at least", least), verdict(least >= applyOverGo))
	}
}

// overGoBspatch is how many times less CPU applying takes than go-bspatch, at
// least, on large images; 0: not measured.
func (r *report) overGoBspatch() float64 {
	least := 0.0
	for _, row := range r.rows {
		g := row.peer(goBsdiff)
		if g == nil || row.Size < large || !g.Applied || row.Ours.Apply.CPU == 0 {
			continue
		}
		if q := float64(g.Apply.CPU) / float64(row.Ours.Apply.CPU); least == 0 || q < least {
			least = q
		}
	}
	return least
}

func (r *report) applyGoals(t *table) {
	for _, a := range r.applies {
		if a.New < large {
			continue // the start of the process outweighs the work
		}
		kind := a.Title + ", " + mb(a.New)
		t.add(fmt.Sprintf("applying ≤ %s (%s)", mib(applyMemory), kind), mib(a.Apply.RSS), verdict(a.Apply.RSS <= applyMemory))
		t.add(fmt.Sprintf("applying ≤ %.2f × read + SHA-256 + write (%s)", applyRatio, kind), times(a.ratio()), verdict(a.ratio() <= applyRatio))
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
	if used, floor, ok := r.hours.whole(); ok {
		q := float64(used.CPU) / float64(floor.CPU)
		t.add(fmt.Sprintf("a whole update ≤ %d × read + SHA-256 + write", wholeRatio), times(q), verdict(q <= wholeRatio))
	}
	for _, s := range r.hours.Nothing {
		t.add(fmt.Sprintf("nothing new: %d requests, ≤ %d bytes (%s)", nothingAsked, nothingBytes, s.Server),
			fmt.Sprintf("%d requests, %d bytes", s.Requests, s.Bytes), verdict(s.Requests <= nothingAsked && s.Bytes <= nothingBytes))
	}
}
