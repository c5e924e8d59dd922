package main

import (
	"fmt"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/freshet/freshet/internal/api"
)

func size(n int64) string { return humanize.Bytes(uint64(max(n, 0))) }

// instead compares what was fetched with what the full images would have cost.
func instead(bytes, full int64) string {
	if full <= bytes || full <= 0 {
		return size(bytes)
	}
	return fmt.Sprintf("%s instead of %s (%s %%)", size(bytes), size(full), percent(bytes, full))
}

func percent(part, whole int64) string {
	p := 100 * float64(part) / float64(whole)
	switch {
	case p < 0.01:
		return "< 0.01"
	case p < 1:
		return fmt.Sprintf("%.2f", p)
	case p < 10:
		return fmt.Sprintf("%.1f", p)
	}
	return fmt.Sprintf("%.0f", p)
}

func took(r api.Result) string {
	return max(r.Ended.Sub(r.Started), 0).Round(10 * time.Millisecond).String()
}

// span is a length of time in its two largest units.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	switch d = d.Abs().Round(time.Second); {
	case d >= day:
		return fmt.Sprintf("%d d %d h", d/day, d%day/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%d min", d/time.Minute)
	}
	return fmt.Sprintf("%d s", d/time.Second)
}

// ago says when t was or will be, seen from now.
func ago(now, t time.Time) string {
	if t.After(now) {
		return "in " + span(t.Sub(now))
	}
	return span(now.Sub(t)) + " ago"
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

func count(n int64) string { return humanize.Comma(n) }
