package updater

import (
	"slices"

	"github.com/freshet/freshet/bases"
)

// ways are the deltas that lead to a version, as far as its manifest and the
// indexes fetched name them.
type ways struct {
	edges  []Step
	images map[int64]bases.IndexVersion // of the checkpoints on the way
}

func newWays(m *bases.Manifest) *ways {
	w := &ways{images: map[int64]bases.IndexVersion{}}
	if m.Start != nil {
		w.knows(*m.Start)
	}
	w.add(m.Version, m.Deltas)
	return w
}

func (w *ways) add(to int64, deltas []bases.Delta) {
	for _, d := range deltas {
		w.edges = append(w.edges, Step{From: d.From, To: to, Blob: d.Blob})
	}
}

// knows notes the image of a version. What the manifest says of one stands,
// whatever an index says: it was judged by that.
func (w *ways) knows(v bases.IndexVersion) {
	if _, ok := w.images[v.Version]; !ok {
		w.images[v.Version] = v
	}
}

func (w *ways) addFar(x *bases.FarIndex) {
	w.knows(x.IndexVersion)
	w.add(x.Version, x.Deltas)
	if x.On != nil {
		w.knows(x.On.IndexVersion)
		w.edges = append(w.edges, Step{From: x.Version, To: x.On.Version, Blob: x.On.Delta})
	}
}

// whole is the way to m from nothing: its full image, and the delta on from
// there if that is an older version's.
func whole(m *bases.Manifest) []Step {
	d := m.FromStart()
	if d == nil {
		return []Step{{To: m.Version, Blob: m.Full}}
	}
	return []Step{{To: d.From, Blob: m.Full}, {From: d.From, To: m.Version, Blob: d.Blob}}
}

// cheapest finds the way to version m in the fewest bytes: a chain of deltas
// from one of the versions at hand, or the full image. It is a pure function.
//
// have maps versions at hand to their images: a checkpoint whose image differs
// from the one that is known starts no chain. Edges in avoid have failed and
// are not taken again.
//
// An empty result means that the version itself is at hand.
func cheapest(m *bases.Manifest, w *ways, have map[int64]bases.Hash, avoid map[bases.Hash]bool) []Step {
	if have[m.Version] == m.Image.SHA256 {
		return nil
	}
	best, cost := whole(m), m.Whole()
	if slices.ContainsFunc(best, func(s Step) bool { return avoid[s.SHA256] }) {
		best, cost = nil, 1<<62
	}
	dist, next := distances(m, w, avoid)
	for _, v := range starts(have, m, w) {
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

// distances gives the bytes of the cheapest chain from each version from which
// one leads to m, and its first step. Deltas no smaller than all that leads there
// from nothing, and images on the way of a size that cannot be, are passed over.
func distances(m *bases.Manifest, w *ways, avoid map[bases.Hash]bool) (map[int64]int64, map[int64]Step) {
	edges := map[int64][]Step{} // by the version they lead to
	for _, s := range w.edges {
		if !avoid[s.SHA256] && s.To <= m.Version && s.From < s.To &&
			s.Size < m.Whole() && w.images[s.To].Size <= maxImage {
			edges[s.To] = append(edges[s.To], s)
		}
	}
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
	return dist, next
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
func starts(have map[int64]bases.Hash, m *bases.Manifest, w *ways) []int64 {
	var out []int64
	for v, h := range have {
		if k, ok := w.images[v]; (!ok || k.SHA256 == h) && v < m.Version {
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

// wantsFar gives the checkpoint whose far index may pay: nothing known leads on
// from a version at hand, the checkpoint is the first above the newest of them,
// and its far index and the delta from it to m, where one is known, are below
// the full image. Nil: there is none.
func wantsFar(m *bases.Manifest, x *bases.Index, w *ways, have map[int64]bases.Hash) *bases.Checkpoint {
	dist, _ := distances(m, w, nil)
	at := starts(have, m, w)
	for _, v := range at {
		if _, ok := dist[v]; ok {
			return nil
		}
	}
	for _, c := range x.Checkpoints {
		if len(at) == 0 || c.Version <= at[0] {
			continue
		}
		if c.Far == nil || dist[c.Version]+c.Far.Size >= m.Full.Size {
			return nil
		}
		return &c
	}
	return nil
}
