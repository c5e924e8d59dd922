package main

import (
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func near(a, b float64) bool { return math.Abs(a-b) < 1e-9*math.Max(math.Abs(a), math.Abs(b)) }

func TestGeometricMean(t *testing.T) {
	if got := geomean([]float64{0.5, 2, 8}); !near(got, 2) {
		t.Errorf("the geometric mean of 1/2, 2 and 8 is %v, want 2", got)
	}
	if got := geomean(nil); !math.IsNaN(got) {
		t.Errorf("the geometric mean of nothing is %v", got)
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		name   string
		values []time.Duration
		want   time.Duration
	}{
		{"of nothing it is zero", nil, 0},
		{"of an odd number it is the middle", []time.Duration{9, 1, 5}, 5},
		{"of an even number it is the upper of the two", []time.Duration{9, 1, 5, 7}, 7},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := median(c.values); got != c.want {
				t.Errorf("median of %v: %v, want %v", c.values, got, c.want)
			}
		})
	}
}

func TestHashListBound(t *testing.T) {
	// One of 8 is gone: 3 bits. Two of 16 bits are new: 32 bits less the 1 bit
	// of their order.
	if got, want := hashListBound(8, 1, 2, 16), 34.0/8; !near(got, want) {
		t.Errorf("bound %v, want %v", got, want)
	}
}

func TestPairsChosen(t *testing.T) {
	for _, c := range []struct {
		name      string
		n         int
		distances []int
		all       bool
		want      []pair
	}{
		{"of neighbours the first, middle and last", 19, []int{1}, false, []pair{{0, 1}, {9, 10}, {17, 18}}},
		{"of other distances the first and last", 19, []int{3}, false, []pair{{0, 3}, {15, 18}}},
		{"first to last", 19, []int{firstToLast}, false, []pair{{0, 18}}},
		{"all of them if asked for", 4, []int{1}, true, []pair{{0, 1}, {1, 2}, {2, 3}}},
		{"a pair only once", 2, []int{1, firstToLast}, false, []pair{{0, 1}}},
		{"none of a distance that does not occur", 3, []int{7}, false, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := choose(c.n, c.distances, c.all); !slices.Equal(got, c.want) {
				t.Errorf("pairs %v, want %v", got, c.want)
			}
		})
	}
}

func TestTableIsAligned(t *testing.T) {
	tab := &table{head: []string{"pair", "bytes", "ratio"}}
	tab.add("1→2", "591", "0.60")
	tab.add("short")
	want := "| pair  | bytes | ratio |\n| ----- | ----: | ----: |\n| 1→2   |   591 |  0.60 |\n| short |       |       |\n"
	if got := tab.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestBestPeerIsTheSmallestThatRan(t *testing.T) {
	r := row{Ours: outcome{Bytes: 90}, Peers: []outcome{
		{Tool: "a", Bytes: 200}, {Tool: "b", Skipped: "not installed"}, {Tool: "c", Bytes: 100},
	}}
	if b := r.best(); b == nil || b.Tool != "c" {
		t.Errorf("best peer %+v, want c", b)
	}
	if got := r.ratio(); !near(got, 0.9) {
		t.Errorf("ratio %v, want 0.9", got)
	}
	if r := (row{Ours: outcome{Bytes: 1}, Peers: []outcome{{Skipped: "not installed"}}}); r.ratio() != 0 {
		t.Errorf("a ratio without any peer: %v", r.ratio())
	}
}

func TestRequestsAreSummedByKind(t *testing.T) {
	delta := strings.Repeat("a", 64)
	parts, all := blobs{delta: kindDelta}.sum([]exchange{
		{"/metadata/2.root.json", 404, 10},
		{"/metadata/timestamp.json", 200, 514},
		{"/metadata/3.snapshot.json", 200, 700},
		{"/metadata/3.bases.json", 200, 400},
		{"/targets/bases/" + delta + ".x.json", 200, 600},
		{"/blobs/" + delta, 200, 100},
		{"/blobs/" + delta, 206, 50},
		{"/blobs/" + strings.Repeat("b", 64), 200, 1000},
		{"/index.html", 404, 3},
	})
	want := []part{
		{kindRoot, 1, 10}, {kindTimestamp, 1, 514}, {kindSnapshot, 1, 700}, {kindBases, 1, 400},
		{kindManifest, 1, 600}, {kindDelta, 2, 150}, {kindFull, 1, 1000}, {kindOther, 1, 3},
	}
	if !reflect.DeepEqual(parts, want) || all != 3377 {
		t.Errorf("parts %v, %d bytes in all; want %v, 3377", parts, all, want)
	}
	s := step{Parts: parts, Bytes: all}
	if s.overhead() != 3377-150 {
		t.Errorf("all but the delta is %d", s.overhead())
	}
}

func TestDocumentKeepsWhatStandsAroundTheMarks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "benchmarks.md")
	if err := writeDoc(path, "first\n"); err != nil {
		t.Fatal(err)
	}
	made, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("before\n"+string(made)+"after\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := writeDoc(path, "second\n"); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := "before\n# Benchmarks\n\n" + beginMark + "\n\nsecond\n\n" + endMark + "\nafter\n"; string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if _, err := merge("no marks", "text"); err == nil {
		t.Error("a document without marks was taken")
	}
}

func TestManifestOfACorpus(t *testing.T) {
	path := filepath.Join(t.TempDir(), "MANIFEST")
	text := "# version\tpublished\tsha256\tsize\tkind\n001\t2026-07-14T18:22:54Z\tabc\t26552320\ttar\n002\t2026-07-19T18:17:57Z\tdef\t26552321\ttar\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := readManifest(path)
	if err != nil {
		t.Fatal(err)
	}
	if v := last(c); !c.Tree || v.Number != 2 || v.SHA256 != "def" || v.Size != 26552321 || v.Published.Day() != 19 {
		t.Errorf("read %+v", c)
	}
	if err := os.WriteFile(path, []byte(text+"003\tnow\tdef\t1\ttar\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readManifest(path); err == nil {
		t.Error("a version without a time was taken")
	}
}

func TestSyntheticImagesAreTheSameEachTime(t *testing.T) {
	read := func() string {
		dir := t.TempDir()
		a, b := filepath.Join(dir, "old"), filepath.Join(dir, "new")
		if err := synthesize(t.Context(), []string{"3300000", a, b}); err != nil {
			t.Fatal(err)
		}
		old, err := os.ReadFile(a)
		if err != nil {
			t.Fatal(err)
		}
		img, err := os.ReadFile(b)
		if err != nil {
			t.Fatal(err)
		}
		if len(old) != 3300000 || string(old) == string(img) || string(old[:recordSize]) != string(img[:recordSize]) {
			t.Errorf("images of %d and %d bytes are no version and the next", len(old), len(img))
		}
		return string(old) + string(img)
	}
	if first := read(); read() != first {
		t.Error("two runs gave different images")
	}
}
