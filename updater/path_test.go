package updater

import (
	"fmt"
	"testing"

	"github.com/freshet/freshet/bases"
)

func hash(n int64) (h bases.Hash) {
	h[0], h[1] = byte(n), byte(n>>8)
	return h
}

func edge(from, to, size int64) bases.Edge {
	return bases.Edge{From: from, To: to, Blob: bases.Blob{Size: size, SHA256: hash(from*1000 + to)}}
}

func TestTheCheapestWayIsTaken(t *testing.T) {
	m := &bases.Manifest{
		Version: 10, Image: bases.Image{SHA256: hash(10)}, Full: bases.Blob{Size: 1000, SHA256: hash(9999)},
		Deltas: []bases.Delta{{From: 9, Blob: bases.Blob{Size: 10, SHA256: hash(9010)}}, {From: 8, Blob: bases.Blob{Size: 25, SHA256: hash(8010)}}},
	}
	index := &bases.Index{Edges: []bases.Edge{edge(8, 9, 10), edge(2, 5, 100), edge(5, 9, 100), edge(2, 9, 500), edge(3, 10, 2000)}}
	for v := int64(1); v <= 9; v++ {
		index.Versions = append(index.Versions, bases.IndexVersion{Version: v, SHA256: hash(v)})
	}
	have := func(vs ...int64) map[int64]bases.Hash {
		out := map[int64]bases.Hash{}
		for _, v := range vs {
			out[v] = hash(v)
		}
		return out
	}
	rows := []struct {
		name  string
		have  map[int64]bases.Hash
		index *bases.Index
		avoid []int64
		want  string
	}{
		{"nothing at hand: the full image", nil, index, nil, "0>10"},
		{"the version itself at hand: nothing to fetch", have(10), index, nil, ""},
		{"one behind: its delta", have(9), nil, nil, "9>10"},
		{"two small deltas are cheaper than one", have(8), index, nil, "8>9 9>10"},
		{"without the index the direct one", have(8), nil, nil, "8>10"},
		{"far behind: a chain by the index", have(2), index, nil, "2>5 5>9 9>10"},
		{"a way dearer than the full image is not taken", have(3), index, nil, "0>10"},
		{"a version that no delta leads from: the full image", have(1), index, nil, "0>10"},
		{"of two versions at hand the cheaper start", have(2, 9), index, nil, "9>10"},
		{"a delta that failed is gone around", have(2), index, []int64{5009}, "2>9 9>10"},
		{"all deltas failed: the full image", have(9), nil, []int64{9010}, "0>10"},
		{"everything failed: no way", have(9), nil, []int64{9010, 9999}, ""},
		{"a version with another image than the index names starts nothing", map[int64]bases.Hash{2: hash(77)}, index, nil, "0>10"},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			avoid := map[bases.Hash]bool{}
			for _, n := range r.avoid {
				avoid[hash(n)] = true
			}
			got := ""
			for i, s := range cheapest(m, r.index, r.have, avoid) {
				if i > 0 {
					got += " "
				}
				got += fmt.Sprintf("%d>%d", s.From, s.To)
			}
			if got != r.want {
				t.Errorf("got %q, want %q", got, r.want)
			}
		})
	}
}
