package delta_test

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/freshet/freshet/internal/delta"
)

const corpora = "../../../shared/corpora"

// TestCorpora makes deltas between the first versions of real bases. The bound
// is what the best of xdelta3, zstd --patch-from, bsdiff and diff with zstd
// needs for the pair.
func TestCorpora(t *testing.T) {
	if _, err := os.Stat(corpora); err != nil {
		t.Skipf("the corpora are not here: %v", err)
	}
	rows := []struct {
		corpus string
		best   []int // of each version to the next
	}{
		{"email-domains", []int{978, 278, 1462, 448, 464}},
		{"phishing-json", []int{240, 178, 46, 234, 711}},
		{"maltrail-hourly", []int{64, 60}},
	}
	for _, r := range rows {
		t.Run(r.corpus, func(t *testing.T) {
			if os.Getenv("FRESHET_SOAK") == "" && strings.HasPrefix(r.corpus, "maltrail") {
				t.Skip("61 MB are for make soak; make system and make bench take each version of them")
			}
			vs := versions(t, r.corpus, len(r.best)+1)
			for i, best := range r.best {
				d := roundTrip(t, vs[i], vs[i+1], delta.Options{})
				if len(d) > best {
					t.Errorf("version %d to %d: %d bytes, the best peer needs %d", i+1, i+2, len(d), best)
				}
			}
		})
	}
}

// versions unpacks the first n versions of a corpus: each is a zstd patch from the one before.
func versions(t *testing.T, corpus string, n int) [][]byte {
	t.Helper()
	m, err := os.Open(filepath.Join(corpora, corpus, "MANIFEST"))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	var out [][]byte
	for s := bufio.NewScanner(m); len(out) < n && s.Scan(); {
		name, _, _ := strings.Cut(s.Text(), "\t")
		if strings.HasPrefix(name, "#") {
			continue
		}
		packed, err := os.ReadFile(filepath.Join(corpora, corpus, name+".zst"))
		if err != nil {
			t.Fatal(err)
		}
		opts := []zstd.DOption{zstd.WithDecoderMaxWindow(1 << 30)}
		if len(out) > 0 {
			opts = append(opts, zstd.WithDecoderDictRaw(0, out[len(out)-1]))
		}
		d, err := zstd.NewReader(bytes.NewReader(packed), opts...)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(d)
		d.Close()
		if err != nil {
			t.Fatalf("unpacking %s of %s: %v", name, corpus, err)
		}
		out = append(out, b)
	}
	return out
}
