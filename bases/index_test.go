package bases_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/freshet/freshet/bases"
)

const goodIndex = `{"type":"index","name":"list","version":50,
"deltas":[{"from":45,"size":5,"sha256":"` + zeros + `"},{"from":44,"size":6,"sha256":"` + zeros + `"}],
"checkpoints":[{"version":1},
{"version":25,"milestone":true,"far":{"size":400,"sha256":"` + zeros + `"}},
{"version":49,"far":{"size":401,"sha256":"` + zeros + `"}}],
"images":{"size":300,"sha256":"` + zeros + `"},"later":"field"}`

const goodFar = `{"type":"far-index","name":"list","version":25,"size":70,"sha256":"` + zeros + `",
"on":{"version":49,"size":71,"sha256":"` + zeros + `","delta":{"size":9,"sha256":"` + zeros + `"}},
"deltas":[{"from":24,"size":5,"sha256":"` + zeros + `"},{"from":22,"size":6,"sha256":"` + zeros + `"}],"later":"field"}`

func parseIndex(text string) error {
	_, err := bases.ParseIndex("list", 50, []byte(text))
	return err
}

func parseFar(text string) error {
	_, err := bases.ParseFarIndex("list", 25, []byte(text))
	return err
}

func TestAnIndexIsReadAndWhatIsSenselessRefused(t *testing.T) {
	rows := []struct {
		name, good string
		parse      func(string) error
		old, new   string
	}{
		{"an index of another type", goodIndex, parseIndex, `"type":"index"`, `"type":"far-index"`},
		{"an index for another base", goodIndex, parseIndex, `"name":"list"`, `"name":"other"`},
		{"an index for another version", goodIndex, parseIndex, `"version":50`, `"version":51`},
		{"a delta from the version itself", goodIndex, parseIndex, `"from":45`, `"from":50`},
		{"a delta from no version", goodIndex, parseIndex, `"from":44`, `"from":0`},
		{"two deltas from one version", goodIndex, parseIndex, `"from":44`, `"from":45`},
		{"deltas that ascend", goodIndex, parseIndex, `"from":44`, `"from":46`},
		{"an empty delta", goodIndex, parseIndex, `"size":5`, `"size":0`},
		{"a short hash", goodIndex, parseIndex, `"size":5,"sha256":"0`, `"size":5,"sha256":"`},
		{"one checkpoint twice", goodIndex, parseIndex, `{"version":1}`, `{"version":25}`},
		{"a checkpoint below 1", goodIndex, parseIndex, `{"version":1}`, `{"version":0}`},
		{"a checkpoint above the version", goodIndex, parseIndex, `"version":49`, `"version":59`},
		{"an empty far index", goodIndex, parseIndex, `"size":400`, `"size":0`},
		{"a far index above the bound", goodIndex, parseIndex, `"size":400`, `"size":131073`},
		{"a list of images above the bound", goodIndex, parseIndex, `"size":300`, `"size":131073`},
		{"an index cut off", goodIndex, parseIndex, `"later":"field"}`, `"later":`},
		{"an index with something behind it", goodIndex, parseIndex, `"later":"field"}`, `"later":"field"} {}`},
		{"an index above the bound", goodIndex, parseIndex, `"later":"field"`, `"later":"` + strings.Repeat("x", bases.MaxIndex) + `"`},

		{"a far index of another type", goodFar, parseFar, `"type":"far-index"`, `"type":"index"`},
		{"a far index for another base", goodFar, parseFar, `"name":"list"`, `"name":"other"`},
		{"a far index for another checkpoint", goodFar, parseFar, `"version":25`, `"version":49`},
		{"a far index with an empty image", goodFar, parseFar, `"size":70`, `"size":0`},
		{"a far delta from above the checkpoint", goodFar, parseFar, `"from":24`, `"from":26`},
		{"two far deltas from one version", goodFar, parseFar, `"from":22`, `"from":24`},
		{"a way on to the checkpoint itself", goodFar, parseFar, `"version":49`, `"version":25`},
		{"a way on to an empty image", goodFar, parseFar, `"size":71`, `"size":0`},
		{"an empty delta on", goodFar, parseFar, `"delta":{"size":9`, `"delta":{"size":0`},
		{"an empty far delta", goodFar, parseFar, `"size":6`, `"size":0`},
		{"a far index above the bound", goodFar, parseFar, `"later":"field"`, `"later":"` + strings.Repeat("x", bases.MaxIndex) + `"`},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			if err := r.parse(r.good); err != nil {
				t.Fatalf("the good one: %v", err)
			}
			text := strings.ReplaceAll(r.good, r.old, r.new)
			if text == r.good {
				t.Fatal("the row changes nothing")
			}
			if r.parse(text) == nil {
				t.Error("it was taken")
			}
		})
	}
}

func TestAnIndexWithoutCheckpointsIsRead(t *testing.T) {
	if err := parseIndex(`{"type":"index","name":"list","version":50}`); err != nil {
		t.Error(err)
	}
}

func FuzzIndex(f *testing.F) {
	f.Add([]byte(goodIndex))
	f.Add([]byte(`{"type":"index","name":"list","version":50}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		x, err := bases.ParseIndex("list", 50, data)
		if err != nil {
			return
		}
		checkDeltas(t, x.Deltas, 50)
		for i, c := range x.Checkpoints {
			if c.Version < 1 || c.Version > 50 || i > 0 && c.Version <= x.Checkpoints[i-1].Version {
				t.Fatalf("checkpoint %+v was taken", c)
			}
			if c.Far != nil && (c.Far.Size <= 0 || c.Far.Size > bases.MaxIndex) {
				t.Fatalf("far index %+v was taken", c.Far)
			}
		}
		readBack(t, x, func(text []byte) (*bases.Index, error) { return bases.ParseIndex("list", 50, text) })
	})
}

func FuzzFarIndex(f *testing.F) {
	f.Add([]byte(goodFar))
	f.Fuzz(func(t *testing.T, data []byte) {
		x, err := bases.ParseFarIndex("list", 25, data)
		if err != nil {
			return
		}
		checkDeltas(t, x.Deltas, 25)
		readBack(t, x, func(text []byte) (*bases.FarIndex, error) { return bases.ParseFarIndex("list", 25, text) })
	})
}

func checkDeltas(t *testing.T, deltas []bases.Delta, to int64) {
	t.Helper()
	seen := map[int64]bool{}
	for _, d := range deltas {
		if d.From < 1 || d.From >= to || d.Size <= 0 || seen[d.From] {
			t.Fatalf("delta %+v was taken", d)
		}
		seen[d.From] = true
	}
}

// readBack asserts that what was taken, written, is taken again. JSON may get
// longer when written, and so pass the bound.
func readBack[T any](t *testing.T, x *T, parse func([]byte) (*T, error)) {
	t.Helper()
	text, err := json.Marshal(x)
	if err != nil {
		t.Fatal(err)
	}
	again, err := parse(text)
	if len(text) > bases.MaxIndex {
		return
	}
	if err != nil {
		t.Fatalf("%s\nis not read back: %v", text, err)
	}
	if more, err := json.Marshal(again); err != nil || !reflect.DeepEqual(more, text) {
		t.Fatalf("%s\nis read back as\n%s: %v", text, more, err)
	}
}
