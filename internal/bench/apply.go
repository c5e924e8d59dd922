package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// applied compares applying with its floor: the same new image read, hashed
// and written.
type applied struct {
	Title     string
	Synthetic bool
	Old, New  int64 // bytes
	Delta     int64
	Make      usage
	Apply     usage // medians; the memory is the largest
	Floor     usage
}

// ratio is the CPU of applying to that of the floor.
func (a applied) ratio() float64 { return float64(a.Apply.CPU) / float64(a.Floor.CPU) }

func (l *lab) applies(ctx context.Context, list []*corpus) ([]applied, error) {
	var done []applied
	for _, c := range list {
		if c.Tree || last(c).Size < large && c != largest(list) {
			continue
		}
		n := len(c.Versions)
		for _, p := range choose(n, []int{1, firstToLast}, false) {
			if !chosenForSlow(p, n) {
				continue
			}
			from, to := c.Versions[p.From], c.Versions[p.To]
			title := fmt.Sprintf("%s %d→%d", c.Name, from.Number, to.Number)
			a, err := l.applied(ctx, title, files{old: from.Path, new: to.Path})
			if err != nil {
				return nil, err
			}
			done = append(done, a)
		}
	}
	f := files{old: filepath.Join(l.work, "synthetic-old"), new: filepath.Join(l.work, "synthetic-new")}
	defer os.Remove(f.old)
	defer os.Remove(f.new)
	if _, err := l.meter.own(ctx, nil, "synthetic", fmt.Sprint(l.synthetic), f.old, f.new); err != nil {
		return nil, err
	}
	a, err := l.applied(ctx, "synthetic records", f)
	a.Synthetic = true
	return append(done, a), err
}

// applied makes a delta and then runs applying and the floor in turns.
func (l *lab) applied(ctx context.Context, title string, f files) (applied, error) {
	a := applied{Title: title}
	dir, err := os.MkdirTemp(l.work, "apply-")
	if err != nil {
		return a, err
	}
	defer os.RemoveAll(dir)
	f = f.in(dir)
	if a.Make, err = l.meter.own(ctx, nil, "make", "auto", f.old, f.new, f.patch); err != nil {
		return a, err
	}
	for path, size := range map[string]*int64{f.old: &a.Old, f.new: &a.New, f.patch: &a.Delta} {
		st, err := os.Stat(path)
		if err != nil {
			return a, err
		}
		*size = st.Size()
	}
	var applies, floors []usage
	for range l.runs {
		var got, want string
		u, err := l.meter.own(ctx, &got, "apply", f.old, f.patch, fmt.Sprint(a.New), f.out)
		if err != nil {
			return a, err
		}
		v, err := l.meter.own(ctx, &want, "copy", f.new, f.out)
		if err != nil {
			return a, err
		}
		if got != want {
			return a, fmt.Errorf("%s: the delta leads to another content than the new version", title)
		}
		applies, floors = append(applies, u), append(floors, v)
	}
	a.Apply, a.Floor = middle(applies), middle(floors)
	l.note("applying %s: %.2f s CPU, %.2f × the floor, %s", title, a.Apply.CPU.Seconds(), a.ratio(), mib(a.Apply.RSS))
	return a, nil
}

// middle is the medians of the times and the largest memory.
func middle(list []usage) usage {
	var cpu, wall []time.Duration
	var rss int64
	for _, u := range list {
		cpu, wall, rss = append(cpu, u.CPU), append(wall, u.Wall), max(rss, u.RSS)
	}
	return usage{CPU: median(cpu), Wall: median(wall), RSS: rss}
}
