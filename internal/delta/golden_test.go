package delta_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/freshet/freshet/internal/delta"
)

var update = flag.Bool("update", false, "write testdata/vectors.json anew: only when the format itself is changed")

// A vector is one line of testdata/vectors.json, which pins the format: any
// applier must make of old and delta an image of that size and hash.
type vector struct {
	Name   string
	Old    string // hex
	Delta  string // hex
	Size   int
	SHA256 string
}

const vectorsFile = "testdata/vectors.json"

func TestVectors(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	b, err := os.ReadFile(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	var vs []vector
	if err := json.Unmarshal(b, &vs); err != nil {
		t.Fatal(err)
	}
	if len(vs) < 8 {
		t.Fatalf("%d vectors", len(vs))
	}
	for _, v := range vs {
		t.Run(v.Name, func(t *testing.T) {
			old, patch := unhex(t, v.Old), unhex(t, v.Delta)
			var out bytes.Buffer
			if err := apply(&out, old, patch, v.Size); err != nil {
				t.Fatal(err)
			}
			if sum := sha256.Sum256(out.Bytes()); hex.EncodeToString(sum[:]) != v.SHA256 {
				t.Errorf("the outcome has hash %x", sum)
			}
		})
	}
}

func unhex(t *testing.T, s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeVectors(t *testing.T) {
	text, bin := list(40), noise(1, 600)
	changed := bytes.Clone(text)
	changed[300] ^= 1
	changed[700] ^= 2
	moved := bytes.Clone(bin)
	for i := range moved {
		moved[i] += byte(i & 1)
	}
	lines := func(s string) []byte {
		return append(append(bytes.Clone(text[:620]), s...), text[620:]...)
	}
	rows := []struct {
		name     string
		old, new []byte
		m        delta.Matcher
	}{
		{"nothing changed", text, text, delta.Hash{}},
		{"nothing at all", nil, nil, nil},
		{"one line inserted", text, lines("0000140.a-new-one.example\n"), delta.Hash{}},
		{"many lines inserted", text[:300], text, delta.Hash{}},
		{"lines removed", text, append(bytes.Clone(text[:310]), text[620:]...), delta.Hash{}},
		{"sparse differences", text, changed, same{}},
		{"dense differences", bin, moved, same{}},
		{"halves swapped", text, append(bytes.Clone(text[600:]), text[:600]...), delta.Hash{}},
		{"raw section", bin, append(bytes.Clone(bin), noise(2, 300)...), delta.Hash{}},
		{"zstd section", text, bytes.Repeat(list(30), 160), delta.Hash{}},
		{"whole image, packed", nil, text, nil},
		{"whole image, zstd", nil, bytes.Repeat(list(30), 160), nil},
	}
	var vs []vector
	for _, r := range rows {
		opt := delta.Options{}
		if r.m != nil {
			opt.Matchers = []delta.Matcher{r.m}
		}
		d := roundTrip(t, r.old, r.new, opt)
		sum := sha256.Sum256(r.new)
		vs = append(vs, vector{r.name, hex.EncodeToString(r.old), hex.EncodeToString(d), len(r.new), hex.EncodeToString(sum[:])})
	}
	b, err := json.MarshalIndent(vs, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll("testdata", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(vectorsFile, append(b, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}
