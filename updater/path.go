package updater

import (
	"slices"

	"github.com/freshet/freshet/bases"
)

// cheapest finds the way to version m in the fewest bytes: a chain of deltas
// from one of the versions at hand, or the full image. It is a pure function.
//
// have maps versions at hand to their images: a version whose image differs
// from the one the index names is not the same and starts no chain. index may
// be nil. Edges in avoid have failed and are not taken again.
//
// An empty result means that the version itself is at hand.
func cheapest(m *bases.Manifest, index *bases.Index, have map[int64]bases.Hash, avoid map[bases.Hash]bool) []Step {
	if have[m.Version] == m.Image.SHA256 {
		return nil
	}
	full := []Step{{From: 0, To: m.Version, Blob: m.Full}}
	best, cost := full, m.Full.Size
	if avoid[m.Full.SHA256] {
		best, cost = nil, 1<<62
	}
	edges := edgesInto(m, index, avoid)
	dist := map[int64]int64{m.Version: 0}
	next := map[int64]Step{}
	// Deltas lead from lower to higher versions, so that going down the
	// versions once settles each before it is used.
	for _, v := range descending(edges, m.Version) {
		if _, ok := dist[v]; !ok {
			continue // nothing leads on from v
		}
		for _, e := range edges[v] {
			d := dist[v] + e.Size
			if old, ok := dist[e.From]; !ok || d < old {
				dist[e.From], next[e.From] = d, e
			}
		}
	}
	for _, v := range starts(have, m, index) {
		d, ok := dist[v]
		if !ok || d >= cost {
			continue
		}
		best, cost = nil, d
		for at := v; at != m.Version; at = next[at].To {
			best = append(best, next[at])
		}
	}
	return best
}

// edgesInto lists the usable deltas by the version that they lead to.
func edgesInto(m *bases.Manifest, index *bases.Index, avoid map[bases.Hash]bool) map[int64][]Step {
	edges := map[int64][]Step{}
	add := func(s Step) {
		if !avoid[s.SHA256] && s.To <= m.Version && s.From < s.To {
			edges[s.To] = append(edges[s.To], s)
		}
	}
	for _, d := range m.Deltas {
		add(Step{From: d.From, To: m.Version, Blob: d.Blob})
	}
	if index != nil {
		for _, e := range index.Edges {
			add(Step(e))
		}
	}
	return edges
}

func descending(edges map[int64][]Step, top int64) []int64 {
	versions := []int64{top}
	for v := range edges {
		if v != top {
			versions = append(versions, v)
		}
	}
	slices.Sort(versions)
	slices.Reverse(versions)
	return versions
}

// starts gives the versions at hand that a chain may begin at, highest first.
// Where the index knows a version's image, it must be the one at hand.
func starts(have map[int64]bases.Hash, m *bases.Manifest, index *bases.Index) []int64 {
	known := map[int64]bases.Hash{}
	if index != nil {
		for _, v := range index.Versions {
			known[v.Version] = v.SHA256
		}
	}
	var out []int64
	for v, h := range have {
		if k, ok := known[v]; (!ok || k == h) && v < m.Version {
			out = append(out, v)
		}
	}
	slices.Sort(out)
	slices.Reverse(out)
	return out
}

// wantsIndex says whether the index may pay: the manifest's own deltas do not
// start at a version at hand, some version is, and the index and the least
// that a delta can cost are below the full image.
func wantsIndex(m *bases.Manifest, have map[int64]bases.Hash) bool {
	if m.Index == nil || len(have) == 0 || m.Index.Size >= m.Full.Size || have[m.Version] == m.Image.SHA256 {
		return false
	}
	for _, d := range m.Deltas {
		if _, ok := have[d.From]; ok {
			return false
		}
	}
	return true
}
