package publish_test

import (
	"slices"
	"testing"
	"time"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/publish"
)

// hops is the least number of deltas from each version to the newest, by all
// indexes together.
func hops(p publish.Plan) map[int64]int {
	newest := p.Index.Version
	type edge struct{ from, to int64 }
	var edges []edge
	add := func(to int64, deltas []bases.Delta) {
		for _, d := range deltas {
			edges = append(edges, edge{d.From, to})
		}
	}
	add(newest, p.Manifest)
	add(newest, p.Index.Deltas)
	for _, x := range p.Far {
		add(x.Version, x.Deltas)
		if x.On != nil {
			edges = append(edges, edge{x.Version, x.On.Version})
		}
	}
	dist := map[int64]int{newest: 0}
	for range 4 {
		for _, e := range edges {
			if d, ok := dist[e.to]; ok {
				if old, ok := dist[e.from]; !ok || d+1 < old {
					dist[e.from] = d + 1
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
			for i, p := range plans {
				if i < row.versions-60 {
					continue // the last 60 show each phase of the day
				}
				newest := int64(i + 1)
				dist := hops(p)
				for behind := 1; behind <= row.behind; behind++ {
					d, ok := dist[newest-int64(behind)]
					if !ok || d > 3 || behind <= 24 && d != 1 {
						t.Fatalf("version %d from %d behind: %d deltas, reached: %v", newest, behind, d, ok)
					}
				}
			}
			checkSizes(t, plans)
		})
	}
}

// checkSizes asserts what an agent fetches to learn its way, however long the
// history is.
func checkSizes(t *testing.T, plans []publish.Plan) {
	t.Helper()
	most, far := 0, 0
	for _, p := range plans {
		most = max(most, p.Bytes)
		for _, n := range p.FarBytes {
			far = max(far, n)
		}
		if n := len(p.Index.Checkpoints); n > 31 {
			t.Fatalf("version %d: %d checkpoints are kept", p.Index.Version, n)
		}
		if len(p.Manifest) > 4 {
			t.Fatalf("version %d: %d deltas in the manifest", p.Index.Version, len(p.Manifest))
		}
	}
	t.Logf("near %d bytes, far %d", most, far)
	if most > 7<<10 {
		t.Errorf("the delta index grows to %d bytes", most)
	}
	if far > 3<<10 {
		t.Errorf("a far index has %d bytes", far)
	}
}

// TestAFarIndexIsWrittenAgainOnce: with the checkpoint, and with the milestone
// that follows it.
func TestAFarIndexIsWrittenAgainOnce(t *testing.T) {
	t.Parallel()
	var times []time.Time
	for i := range 450 {
		times = append(times, time.Date(2026, 3, 1, i, 30, 0, 0, time.UTC))
	}
	seen := map[int64][]bases.Blob{}
	for _, p := range publish.Planned(times) {
		next := 0
		for _, c := range p.Index.Checkpoints {
			if c.Far == nil {
				continue
			}
			if !slices.Contains(seen[c.Version], *c.Far) {
				seen[c.Version] = append(seen[c.Version], *c.Far)
				next++
			}
		}
		if next > 7 {
			t.Errorf("version %d stores %d far indexes", p.Index.Version, next)
		}
	}
	once, twice := 0, 0
	for v, list := range seen {
		switch len(list) {
		case 1:
			once++
		case 2:
			twice++
		default:
			t.Errorf("the far index of checkpoint %d was written %d times", v, len(list))
		}
	}
	if twice < 10 || once < 3 {
		t.Errorf("%d far indexes were written once, %d twice", once, twice)
	}
}

// TestHistoryKeepsOneFullImage counts what the images of 1,000 versions are built
// from: one is kept whole, the others lead from it, back or on.
func TestHistoryKeepsOneFullImage(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 3, 1, 0, 30, 0, 0, time.UTC)
	for _, every := range []time.Duration{time.Hour, 20 * time.Minute, 24 * time.Hour} {
		var times []time.Time
		for i := range 1000 {
			times = append(times, start.Add(time.Duration(i)*every))
		}
		for i, p := range publish.Planned(times) {
			full := 0
			for _, blobs := range p.Images {
				if blobs == 0 {
					t.Fatalf("every %v, version %d: an image cannot be built", every, i+1)
				}
				if blobs == 1 {
					full++
				}
				if blobs > 33 {
					t.Errorf("every %v, version %d: an image is built from %d blobs", every, i+1, blobs)
				}
			}
			if full != 1 {
				t.Errorf("every %v, version %d: %d full images are kept", every, i+1, full)
			}
			if n := len(p.Images); n > 25+31 {
				t.Errorf("every %v, version %d: %d images are kept", every, i+1, n)
			}
		}
	}
}
