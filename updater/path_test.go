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

func step(from, to, size int64) Step {
	return Step{From: from, To: to, Blob: bases.Blob{Size: size, SHA256: hash(from*1000 + to)}}
}

func TestTheCheapestWayIsTaken(t *testing.T) {
	m := &bases.Manifest{
		Version: 10, Image: bases.Image{SHA256: hash(10)}, Full: bases.Blob{Size: 1000, SHA256: hash(9999)},
		Deltas: []bases.Delta{{From: 9, Blob: bases.Blob{Size: 10, SHA256: hash(9010)}}, {From: 8, Blob: bases.Blob{Size: 25, SHA256: hash(8010)}}},
	}
	none := newWays(m)
	index := newWays(m)
	index.edges = append(index.edges, step(8, 9, 10), step(2, 5, 100), step(5, 9, 100), step(2, 9, 500), step(3, 10, 2000))
	for v := int64(1); v <= 9; v++ {
		index.images[v] = bases.IndexVersion{Version: v, SHA256: hash(v)}
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
		ways  *ways
		avoid []int64
		want  string
	}{
		{"nothing at hand: the full image", nil, index, nil, "0>10"},
		{"the version itself at hand: nothing to fetch", have(10), index, nil, ""},
		{"one behind: its delta", have(9), none, nil, "9>10"},
		{"two small deltas are cheaper than one", have(8), index, nil, "8>9 9>10"},
		{"without the index the direct one", have(8), none, nil, "8>10"},
		{"far behind: a chain by the index", have(2), index, nil, "2>5 5>9 9>10"},
		{"a way dearer than the full image is not taken", have(3), index, nil, "0>10"},
		{"a version that no delta leads from: the full image", have(1), index, nil, "0>10"},
		{"of two versions at hand the cheaper start", have(2, 9), index, nil, "9>10"},
		{"a delta that failed is gone around", have(2), index, []int64{5009}, "2>9 9>10"},
		{"all deltas failed: the full image", have(9), none, []int64{9010}, "0>10"},
		{"everything failed: no way", have(9), none, []int64{9010, 9999}, ""},
		{"a version with another image than an index names starts nothing", map[int64]bases.Hash{2: hash(77)}, index, nil, "0>10"},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			avoid := map[bases.Hash]bool{}
			for _, n := range r.avoid {
				avoid[hash(n)] = true
			}
			got := ""
			for i, s := range cheapest(m, r.ways, r.have, avoid) {
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

// TestAFullImageOfAnOlderVersionLeadsOn has the full image be that of version 5.
func TestAFullImageOfAnOlderVersionLeadsOn(t *testing.T) {
	m := &bases.Manifest{
		Version: 10, Image: bases.Image{SHA256: hash(10)}, Full: bases.Blob{Size: 1000, SHA256: hash(9999)},
		Start:  &bases.IndexVersion{Version: 5, SHA256: hash(5)},
		Deltas: []bases.Delta{{From: 9, Blob: bases.Blob{Size: 10, SHA256: hash(9010)}}, {From: 5, Blob: bases.Blob{Size: 50, SHA256: hash(5010)}}},
	}
	rows := []struct {
		name  string
		have  map[int64]bases.Hash
		avoid int64
		want  string
	}{
		{"nothing at hand", nil, 0, "0>5 5>10 "},
		{"its version at hand", map[int64]bases.Hash{5: hash(5)}, 0, "5>10 "},
		{"another image of that version at hand", map[int64]bases.Hash{5: hash(77)}, 0, "0>5 5>10 "},
		{"its delta failed", map[int64]bases.Hash{5: hash(5)}, 5010, ""},
		{"another delta failed", map[int64]bases.Hash{9: hash(9)}, 9010, "0>5 5>10 "},
		{"it failed itself", nil, 9999, ""},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			w, got := newWays(m), ""
			for _, s := range cheapest(m, w, r.have, map[bases.Hash]bool{hash(r.avoid): r.avoid > 0}) {
				got += fmt.Sprintf("%d>%d ", s.From, s.To)
				if _, ok := w.images[s.To]; !ok && s.To != m.Version {
					t.Errorf("the image of version %d on the way is not known", s.To)
				}
			}
			if got != r.want {
				t.Errorf("got %q, want %q", got, r.want)
			}
		})
	}
	if m.Whole() != 1050 {
		t.Errorf("%d bytes lead there from nothing", m.Whole())
	}
}

// farWorld is a base at version 60 with the checkpoints 1 and 25 and the
// milestone 49.
func farWorld() (*bases.Manifest, *bases.Index) {
	blob := func(size, n int64) bases.Blob { return bases.Blob{Size: size, SHA256: hash(n)} }
	m := &bases.Manifest{
		Version: 60, Image: bases.Image{SHA256: hash(60)}, Full: blob(10000, 9999), Index: &bases.Blob{Size: 900},
		Deltas: []bases.Delta{{From: 59, Blob: blob(10, 5960)}},
	}
	f25, f49 := blob(500, 25), blob(500, 49)
	x := &bases.Index{
		Version:     60,
		Checkpoints: []bases.Checkpoint{{Version: 1}, {Version: 25, Far: &f25}, {Version: 49, Milestone: true, Far: &f49}},
	}
	for v := int64(58); v >= 36; v-- { // 49 among them
		x.Deltas = append(x.Deltas, bases.Delta{From: v, Blob: blob(50, v*1000+60)})
	}
	return m, x
}

func TestAnIndexIsFetchedWhereItMayPay(t *testing.T) {
	rows := []struct {
		name   string
		have   int64
		change func(*bases.Manifest, *bases.Index)
		near   bool
		far    int64 // the checkpoint whose far index is wanted
	}{
		{"nothing at hand: none", 0, nil, false, 0},
		{"the manifest's own delta leads: none", 59, nil, false, 0},
		{"the version itself at hand: none", 60, nil, false, 0},
		{"within the last 24: the near one alone", 36, nil, true, 0},
		{"a milestone: the near one alone", 49, nil, true, 0},
		{"a checkpoint below the milestone: that one's far index", 25, nil, true, 49},
		{"below the newest checkpoint: its far one", 35, nil, true, 49},
		{"further behind: that of the first checkpoint above", 24, nil, true, 25},
		{"a near index as large as the full image: none", 24, func(m *bases.Manifest, _ *bases.Index) { m.Full.Size = 900 }, false, 0},
		{"a far way that is as dear as the full image: the near one alone", 24, func(m *bases.Manifest, _ *bases.Index) { m.Full.Size, m.Index.Size = 500, 100 }, true, 0},
		{"a way by the milestone as dear as the full image: the near one alone", 35, func(m *bases.Manifest, _ *bases.Index) { m.Full.Size, m.Index.Size = 550, 100 }, true, 0},
		{"no far index of the checkpoint above: the near one alone", 24, func(_ *bases.Manifest, x *bases.Index) { x.Checkpoints[1].Far = nil }, true, 0},
		{"a version above all checkpoints from which nothing leads: the near one alone", 59, func(m *bases.Manifest, _ *bases.Index) { m.Deltas = nil }, true, 0},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			m, x := farWorld()
			if r.change != nil {
				r.change(m, x)
			}
			have := map[int64]bases.Hash{}
			if r.have > 0 {
				have[r.have] = hash(r.have)
			}
			if got := wantsIndex(m, have); got != r.near {
				t.Fatalf("the near index is wanted: %v", got)
			}
			if !r.near {
				return
			}
			w := newWays(m)
			w.add(x.Version, x.Deltas)
			got := int64(0)
			if c := wantsFar(m, x, w, have); c != nil {
				got = c.Version
			}
			if got != r.far {
				t.Errorf("the far index of %d is wanted, want %d", got, r.far)
			}
		})
	}
}

func TestAFarIndexLeadsOn(t *testing.T) {
	m, x := farWorld()
	w := newWays(m)
	w.add(x.Version, x.Deltas)
	have := map[int64]bases.Hash{20: hash(20)}
	if got := cheapest(m, w, have, nil); len(got) != 1 || got[0].From != 0 {
		t.Errorf("without the far index: %+v", got)
	}
	w.addFar(&bases.FarIndex{
		IndexVersion: bases.IndexVersion{Version: 25, SHA256: hash(25)},
		On:           &bases.On{IndexVersion: bases.IndexVersion{Version: 49, SHA256: hash(49)}, Delta: bases.Blob{Size: 100, SHA256: hash(2549)}},
		Deltas:       []bases.Delta{{From: 20, Blob: bases.Blob{Size: 30, SHA256: hash(2025)}}},
	})
	got := ""
	for _, s := range cheapest(m, w, have, nil) {
		got += fmt.Sprintf("%d>%d ", s.From, s.To)
		if _, ok := w.images[s.To]; !ok && s.To != m.Version {
			t.Errorf("the image of version %d on the way is not known", s.To)
		}
	}
	if got != "20>25 25>49 49>60 " {
		t.Errorf("by %s", got)
	}
}
