package delta_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/delta"
)

func roundTrip(t testing.TB, old, new []byte, opt delta.Options) []byte {
	t.Helper()
	var d, out bytes.Buffer
	st, err := delta.Make(context.Background(), &d, old, new, opt)
	if err != nil {
		t.Fatalf("making: %v", err)
	}
	if st.Size != int64(d.Len()) {
		t.Errorf("Stats say %d bytes, the delta has %d", st.Size, d.Len())
	}
	if err := apply(&out, old, d.Bytes(), len(new)); err != nil {
		t.Fatalf("applying: %v", err)
	}
	if !bytes.Equal(out.Bytes(), new) {
		t.Fatal("the outcome is not the new image")
	}
	return d.Bytes()
}

func apply(w *bytes.Buffer, old, patch []byte, newSize int) error {
	return delta.Apply(context.Background(), w, bytes.NewReader(old), int64(len(old)),
		bytes.NewReader(patch), int64(len(patch)), int64(newSize))
}

// list is a sorted list of n names.
func list(n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, "%07d.host-%x.example\n", i*7, uint32(i)*2654435761)
	}
	return b.Bytes()
}

func noise(seed uint64, n int) []byte {
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	b := make([]byte, n)
	r.Read(b)
	return b
}

func TestRoundTrip(t *testing.T) {
	text, bin := list(3000), noise(1, 40_000)
	insert := func(b []byte, at int, s string) []byte {
		return append(append(append([]byte(nil), b[:at]...), s...), b[at:]...)
	}
	rows := []struct {
		name     string
		old, new []byte
		atMost   int
	}{
		{"both empty", nil, nil, 2},
		{"from empty to one byte", nil, []byte("x"), 8},
		{"from one byte to empty", []byte("x"), nil, 2},
		{"identical", text, text, 2},
		{"identical noise", bin, bin, 2},
		{"a line inserted", text, insert(text, 31*1000, "0006999.new.example\n"), 40},
		{"a line put before all", text, insert(text, 0, "0.new.example\n"), 40},
		{"a line appended", text, insert(text, len(text), "9.new.example\n"), 40},
		{"half cut off", text, text[:len(text)/2], 2},
		{"the first half cut off", text, text[len(text)/2:], 12},
		{"old far larger", noise(2, 300_000), noise(2, 300_000)[100_000:100_300], 20},
		{"nothing in common", noise(3, 5000), noise(4, 5000), 5300},
		{"a full image of noise", nil, noise(5, 100_000), 100_020},
		{"halves swapped", bin, append(append([]byte(nil), bin[20_000:]...), bin[:20_000]...), 25},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			for _, ms := range [][]delta.Matcher{{delta.Hash{}}, {delta.Suffix{}}, nil} {
				d := roundTrip(t, r.old, r.new, delta.Options{Matchers: ms})
				if ms == nil && len(d) > r.atMost {
					t.Errorf("the delta has %d bytes, want at most %d", len(d), r.atMost)
				}
			}
		})
	}
}

// TestCorporaSizes prints the size of deltas between versions of a corpus, for
// comparison with other tools: FRESHET_CORPUS is a folder of versions, and
// FRESHET_PAIRS lists pairs of them.
func TestCorporaSizes(t *testing.T) {
	dir := os.Getenv("FRESHET_CORPUS")
	if dir == "" {
		t.Skip("FRESHET_CORPUS names no folder of versions")
	}
	for _, pair := range strings.Fields(os.Getenv("FRESHET_PAIRS")) {
		a, b, _ := strings.Cut(pair, "-")
		old, new := read(t, dir, a), read(t, dir, b)
		for _, m := range []delta.Matcher{delta.Hash{}, delta.Suffix{}} {
			if m.Name() == "suffix" && len(old) > 8<<20 {
				continue
			}
			var d, out bytes.Buffer
			start := time.Now()
			st, err := delta.Make(t.Context(), &d, old, new, delta.Options{Matchers: []delta.Matcher{m}})
			if err != nil {
				t.Fatal(err)
			}
			made := time.Since(start)
			start = time.Now()
			if err := apply(&out, old, d.Bytes(), len(new)); err != nil {
				t.Fatal(err)
			}
			fmt.Printf("%s\t%s\t%s\tours-%s\t%d\t%d\t%d\t%.3f\t%.3f\n", filepath.Base(dir), a, b, m.Name(), st.Size, st.Ops, st.Inserted, made.Seconds(), time.Since(start).Seconds())
		}
	}
}

func read(t *testing.T, dir, version string) []byte {
	t.Helper()
	names, _ := filepath.Glob(filepath.Join(dir, version+"*"))
	if len(names) != 1 {
		t.Fatalf("%d files in %s begin with %s", len(names), dir, version)
	}
	b, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	return b
}
