package delta_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

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

// TestRecordsInAnotherOrder makes deltas of feeds that are sorted by what changed
// last: what is copied is not in old's order any more.
func TestRecordsInAnotherOrder(t *testing.T) {
	t.Parallel()
	record := func(i int) string {
		return fmt.Sprintf("  {\n    \"id\": %d,\n    \"url\": \"http://host-%x.example/login\",\n    \"verified\": \"yes\"\n  },\n", 8000000+3*i, uint32(i)*2654435761)
	}
	for _, n := range []int{150, 1500} {
		var records []string
		for i := range n {
			records = append(records, record(i))
		}
		old := []byte(strings.Join(records, ""))
		for seed := range uint64(6) {
			r := rand.New(rand.NewPCG(seed, 1))
			bumped, swapped, blocks := slices.Clone(records), slices.Clone(records), []string(nil)
			for range 8 {
				i := r.IntN(n)
				bumped = slices.Insert(slices.Delete(bumped, i, i+1), 0, records[r.IntN(n)])
				i, j := r.IntN(n), r.IntN(n)
				swapped[i], swapped[j] = swapped[j], swapped[i]
			}
			k := n / (2 * (2 + int(seed)))
			for i := 0; i+k <= n/2; i += k {
				blocks = append(append(blocks, records[n/2+i:n/2+i+k]...), records[i:i+k]...)
			}
			for name, list := range map[string][]string{"bumped": bumped, "swapped": swapped, "blocks in turn": blocks} {
				for _, m := range []delta.Matcher{nil, delta.Hash{}, delta.Suffix{}} {
					opt := delta.Options{}
					if m != nil {
						opt.Matchers = []delta.Matcher{m}
					}
					if d := roundTrip(t, old, []byte(strings.Join(list, "")), opt); len(d) > len(old)/20+200 {
						t.Errorf("%d records %s, seed %d: %d bytes", n, name, seed, len(d))
					}
				}
			}
		}
	}
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

// TestRandomEdits makes deltas between images that differ by random cuts,
// moves, insertions and changed bytes, in text and in noise.
func TestRandomEdits(t *testing.T) {
	for seed := range uint64(80) {
		r := rand.New(rand.NewPCG(seed, 7))
		old := noise(seed, 1+r.IntN(30_000))
		if seed%2 == 0 {
			old = list(1 + r.IntN(900))
		}
		new := edit(r, old)
		matchers := []delta.Matcher{delta.Hash{}, delta.Suffix{}}
		if seed >= 20 {
			matchers = matchers[:1] // the other one is slow
		}
		for _, m := range matchers {
			t.Run(fmt.Sprintf("seed %d by %s", seed, m.Name()), func(t *testing.T) {
				roundTrip(t, old, new, delta.Options{Matchers: []delta.Matcher{m}})
			})
		}
	}
}

func edit(r *rand.Rand, old []byte) []byte {
	new := bytes.Clone(old)
	for range r.IntN(40) {
		at := r.IntN(len(new) + 1)
		n := min(r.IntN(1<<r.IntN(12)), len(new)-at)
		piece := bytes.Clone(new[at : at+n])
		switch r.IntN(5) {
		case 0: // cut
			new = append(new[:at], new[at+n:]...)
		case 1: // move or double
			to := r.IntN(len(new) + 1)
			new = append(new[:to], append(piece, new[to:]...)...)
		case 2: // insert
			new = append(new[:at], append(noise(r.Uint64(), n), new[at:]...)...)
		case 3: // change a byte here and there
			for i := at; i < at+n; i += 1 + r.IntN(20) {
				new[i] += byte(r.IntN(3))
			}
		case 4: // a run of one byte
			new = append(new[:at], append(bytes.Repeat([]byte{byte(at)}, n), new[at:]...)...)
		}
	}
	return new
}

func TestRunsOfZerosCostNothing(t *testing.T) {
	old := bytes.Repeat([]byte{0}, 1<<20)
	new := bytes.Clone(old)
	new[700_000] = 1
	d := roundTrip(t, old, new, delta.Options{Matchers: []delta.Matcher{delta.Hash{}}})
	if len(d) > 12 {
		t.Errorf("one changed byte in a megabyte of zeros costs %d bytes", len(d))
	}
}

func TestDenseDifferences(t *testing.T) {
	// A program whose addresses moved: one byte in four differs, by one of two amounts.
	old := noise(9, 200_000)
	new := bytes.Clone(old)
	r := rand.New(rand.NewPCG(1, 1))
	for i := 0; i < len(new); i += 4 {
		new[i] += byte(16 + r.IntN(2))
	}
	d := roundTrip(t, old, new, delta.Options{Matchers: []delta.Matcher{same{}}})
	if len(d) > 20_000 {
		t.Errorf("the delta has %d bytes", len(d))
	}
}

// same matches each byte of new with the one at the same place in old.
type same struct{}

func (same) Name() string { return "same" }
func (same) Match(_ context.Context, _, new []byte) ([]delta.Op, error) {
	return []delta.Op{{Copy: int64(len(new))}}, nil
}

// way is a matcher that says what it was told.
type way []delta.Op

func (way) Name() string { return "way" }
func (w way) Match(context.Context, []byte, []byte) ([]delta.Op, error) {
	return w, nil
}

func TestMakeRefusesAnImpossibleWay(t *testing.T) {
	rows := []struct {
		name string
		way  way
	}{
		{"copies beyond old", way{{Copy: 9, Insert: 1}}},
		{"copies beyond new", way{{Copy: 7, Insert: 1}}},
		{"copies a negative number", way{{Copy: -1, Insert: 1}}},
		{"inserts beyond new", way{{Copy: 1, Insert: 6}}},
		{"inserts a negative number", way{{Copy: 2, Insert: -1}, {Copy: 1, Insert: 1}}},
		{"seeks before old", way{{Copy: 1, Insert: 1, Seek: -2}}},
		{"seeks beyond old", way{{Copy: 1, Insert: 1, Seek: 8}}},
		{"ends with a copy that old does not hold", way{{Copy: 1, Insert: 1, Seek: 7}}},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			var d bytes.Buffer
			_, err := delta.Make(t.Context(), &d, []byte("old image")[:8], []byte("a newer")[:6], delta.Options{Matchers: []delta.Matcher{r.way}})
			if err == nil || d.Len() > 0 {
				t.Errorf("error %v, %d bytes written", err, d.Len())
			}
		})
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	old, new := list(2000), list(2001)
	d := roundTrip(t, old, new, delta.Options{})
	cancel()
	var out bytes.Buffer
	if _, err := delta.Make(ctx, &out, old, new, delta.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("making: %v", err)
	}
	err := delta.Apply(ctx, &out, bytes.NewReader(old), int64(len(old)), bytes.NewReader(d), int64(len(d)), int64(len(new)))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("applying: %v", err)
	}
}

func TestProgressReachesItsTotal(t *testing.T) {
	var last, all int64
	opt := delta.Options{Progress: func(done, total int64) {
		if done < last || done > total {
			t.Errorf("progress went from %d to %d of %d", last, done, total)
		}
		last, all = done, total
	}}
	roundTrip(t, list(500), list(600), opt)
	if last != all || all == 0 {
		t.Errorf("it ended at %d of %d", last, all)
	}
}

func TestApplyHashed(t *testing.T) {
	old, new := list(300), list(310)
	d := roundTrip(t, old, new, delta.Options{})
	sum, err := delta.ApplyHashed(t.Context(), io.Discard, bytes.NewReader(old), int64(len(old)), bytes.NewReader(d), int64(len(d)), int64(len(new)))
	if err != nil || sum != sha256.Sum256(new) {
		t.Errorf("sum %x, error %v", sum, err)
	}
}

func TestErrorsOfInputsAndOutputAreNotCorruption(t *testing.T) {
	old, new := list(3000), list(3001)
	d := roundTrip(t, old, new, delta.Options{})
	broken := errors.New("broken")
	rows := []struct {
		name       string
		w          io.Writer
		old, patch io.ReaderAt
	}{
		{"old cannot be read", io.Discard, failing{broken}, bytes.NewReader(d)},
		{"old is shorter than said", io.Discard, bytes.NewReader(old[:100]), bytes.NewReader(d)},
		{"the delta cannot be read", io.Discard, bytes.NewReader(old), failing{broken}},
		{"the delta is shorter than said", io.Discard, bytes.NewReader(old), bytes.NewReader(d[:1])},
		{"the output cannot be written", failing{broken}, bytes.NewReader(old), bytes.NewReader(d)},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			err := delta.Apply(t.Context(), r.w, r.old, int64(len(old)), r.patch, int64(len(d)), int64(len(new)))
			if err == nil || errors.Is(err, delta.ErrCorrupt) || !errors.Is(err, broken) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("error %v", err)
			}
		})
	}
}

type failing struct{ err error }

func (f failing) ReadAt([]byte, int64) (int, error) { return 0, f.err }
func (f failing) Write([]byte) (int, error)         { return 0, f.err }

// TestTheSlowMatcherIsLeftOutWhereItCannotHelp holds both ways: what no matcher
// can find costs no second search, and what the hash matcher misses gets one.
func TestTheSlowMatcherIsLeftOutWhereItCannotHelp(t *testing.T) {
	packed := func(seed uint64) []byte { return append(list(40), noise(seed, 60_000)...) }
	old := noise(1, 60_000)
	moved := bytes.Clone(old)
	for i := 0; i < len(moved); i += 40 { // as addresses are in a program that grew
		moved[i] += 64
	}
	for _, row := range []struct {
		name     string
		old, new []byte
		tries    int // matchers that were tried
	}{
		{"nothing in common", noise(2, 60_000), noise(3, 60_000), 1},
		{"alike at first, then noise, as a gzip file is", append(noise(4, 60_000), noise(5, 60_000)...), append(noise(4, 60_000), noise(6, 60_000)...), 1},
		{"a header in front of noise", packed(7), packed(8), 1},
		{"moved addresses", old, moved, 2},
	} {
		t.Run(row.name, func(t *testing.T) {
			last := int64(0)
			_, err := delta.Make(t.Context(), io.Discard, row.old, row.new, delta.Options{
				Progress: func(done, _ int64) {
					if done < 3*int64(len(row.new)) { // all three: it is done
						last = done
					}
				},
			})
			if tries := int(last / int64(len(row.new))); err != nil || tries != row.tries {
				t.Errorf("%d matchers were tried, want %d; %v", tries, row.tries, err)
			}
		})
	}
}
