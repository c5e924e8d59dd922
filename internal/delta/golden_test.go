package delta_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
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
	Times  int    `json:",omitempty"` // old is repeated so often, 0 is once
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
			old, patch := v.old(t), unhex(t, v.Delta)
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

func (v *vector) old(t *testing.T) []byte {
	return bytes.Repeat(unhex(t, v.Old), max(v.Times, 1))
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
		times    int
	}{
		{"nothing changed", text, text, delta.Hash{}, 0},
		{"nothing at all", nil, nil, nil, 0},
		{"one line inserted", text, lines("0000140.a-new-one.example\n"), delta.Hash{}, 0},
		{"many lines inserted", text[:300], text, delta.Hash{}, 0},
		{"lines removed", text, append(bytes.Clone(text[:310]), text[620:]...), delta.Hash{}, 0},
		{"lines moved and the last without its end", append(bytes.Clone(text), "end"...), append(append(bytes.Clone(text[310:930]), text[:310]...), "the end"...), delta.Hash{}, 0},
		{"records of one size", table(400), edited(table(400)), delta.Hash{}, 0},
		{"a swarm of differences", bin, swarm(bin), same{}, 0},
		{"sparse differences", text, changed, same{}, 0},
		{"dense differences", bin, moved, same{}, 0},
		{"halves swapped", text, append(bytes.Clone(text[600:]), text[:600]...), delta.Hash{}, 0},
		{"raw section", bin, append(bytes.Clone(bin), noise(2, 300)...), delta.Hash{}, 0},
		{"zstd section", text, bytes.Repeat(list(30), 160), delta.Hash{}, 0},
		{"whole image, packed", nil, text, nil, 0},
		{"whole image, zstd", nil, bytes.Repeat(list(30), 160), nil, 0},
		{"a large image", list(200), scattered(bytes.Repeat(list(200), large)), delta.Hash{}, large},
	}
	var vs []vector
	for _, r := range rows {
		opt := delta.Options{}
		if r.m != nil {
			opt.Matchers = []delta.Matcher{r.m}
		}
		v := vector{Name: r.name, Old: hex.EncodeToString(r.old), Times: r.times, Size: len(r.new)}
		v.Delta = hex.EncodeToString(roundTrip(t, v.old(t), r.new, opt))
		sum := sha256.Sum256(r.new)
		v.SHA256 = hex.EncodeToString(sum[:])
		vs = append(vs, v)
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

// large is how often a list of 200 lines is repeated to be more than 32 MiB.
const large = 5700

// scattered is text with lines more at some places.
func scattered(text []byte) []byte {
	var b []byte
	for i := range 12 {
		at := bytes.IndexByte(text[len(text)/30:], '\n') + 1 + len(text)/30
		b = append(b, text[:at]...)
		b = fmt.Appendf(b, "%07d.host-%x.example\n%07d.new-%d.example\n", i*31+3, uint32(i)*2654435761>>3, i*31+4, i)
		text = text[at:]
	}
	return append(b, text...)
}

// table is a binary table: n records of ten bytes, an ascending number, one
// close to it and two letters.
func table(n int) []byte {
	var b []byte
	at, r := uint32(1<<24), noise(3, 2*n)
	for i := range n {
		b = binary.BigEndian.AppendUint32(b, at)
		at += uint32(r[2*i]) + 1
		b = binary.BigEndian.AppendUint32(b, at-1)
		b = append(b, 'A'+r[2*i+1]&7, 'C')
	}
	return b
}

// edited is a table with a record more, one less, and some changed.
func edited(t []byte) []byte {
	b := append(bytes.Clone(t[:700]), "\x01\x00\x40\x00\x01\x00\x40\x07DE"...)
	b = append(b, t[700:2000]...)
	b = append(b, t[2010:]...)
	for i := 2508; i < 2900; i += 50 {
		b[i] ^= 2
	}
	return b
}

// swarm is b with the differences of moved addresses.
func swarm(b []byte) []byte {
	b = bytes.Clone(b)
	for i := 40; i+1 < len(b)-100; i += 13 {
		b[i] += 0x30
		b[i+1]++
	}
	return b
}
