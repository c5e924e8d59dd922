package publish_test

import (
	"testing"
	"time"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/publish"
)

// hops is the least number of deltas from each version to the newest.
func hops(x bases.Index, newest int64) map[int64]int {
	dist := map[int64]int{newest: 0}
	for range 10 {
		for _, e := range x.Edges {
			if d, ok := dist[e.To]; ok {
				if old, ok := dist[e.From]; !ok || d+1 < old {
					dist[e.From] = d + 1
				}
			}
		}
	}
	return dist
}

func TestHistoryReaches(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 3, 1, 0, 30, 0, 0, time.UTC)
	for _, row := range []struct {
		name     string
		every    time.Duration
		versions int
		behind   int // as far behind as this, 3 deltas lead to the newest
	}{
		{"an hourly base is reached from 720 versions behind", time.Hour, 1000, 720},
		{"a base published each half hour is reached from 720 versions behind", 30 * time.Minute, 1000, 720},
		{"a base that drifts by a minute an hour is reached from 696 versions behind", 61 * time.Minute, 1000, 696},
		{"a daily base is reached from 30 versions behind", 24 * time.Hour, 100, 30},
	} {
		t.Run(row.name, func(t *testing.T) {
			var times []time.Time
			for i := range row.versions {
				times = append(times, start.Add(time.Duration(i)*row.every))
			}
			plans := publish.Planned(times)
			for i, x := range plans {
				if i < row.versions-60 {
					continue // the last 60 show each phase of the day
				}
				newest := int64(i + 1)
				dist := hops(x, newest)
				for behind := 1; behind <= row.behind; behind++ {
					d, ok := dist[newest-int64(behind)]
					if !ok || d > 3 || behind <= 24 && d != 1 {
						t.Fatalf("version %d from %d behind: %d deltas, reached: %v", newest, behind, d, ok)
					}
				}
			}
			last := plans[len(plans)-1]
			if n := len(last.Edges); n > 24+31*24+30 {
				t.Errorf("the index has %d edges: it must not grow without end", n)
			}
			if n := len(last.Versions); n > 800 {
				t.Errorf("the index has %d versions: it must not grow without end", n)
			}
		})
	}
}
