package delta_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"testing"

	"github.com/freshet/freshet/internal/delta"
)

// limited fails the test when more than max bytes are written.
type limited struct {
	t   testing.TB
	n   int64
	max int64
}

func (l *limited) Write(b []byte) (int, error) {
	if l.n += int64(len(b)); l.n > l.max {
		l.t.Errorf("%d bytes were written, %d are the most", l.n, l.max)
	}
	return len(b), nil
}

// checkHostile applies a delta of any bytes and asserts what must always hold:
// exactly newSize bytes and no error, or ErrCorrupt and no more than newSize.
func checkHostile(t testing.TB, old, patch []byte, newSize int64) error {
	t.Helper()
	w := &limited{t: t, max: newSize}
	err := delta.Apply(context.Background(), w, bytes.NewReader(old), int64(len(old)), bytes.NewReader(patch), int64(len(patch)), newSize)
	switch {
	case err == nil && w.n != newSize:
		t.Errorf("%d bytes were written without an error, not %d", w.n, newSize)
	case err != nil && !errors.Is(err, delta.ErrCorrupt):
		t.Errorf("error %v", err)
	}
	return err
}

// specimens are deltas that use every part of the container.
func specimens(t testing.TB) map[string]struct{ old, new, patch []byte } {
	out := map[string]struct{ old, new, patch []byte }{}
	add := func(name string, old, new []byte, m delta.Matcher) {
		opt := delta.Options{}
		if m != nil {
			opt.Matchers = []delta.Matcher{m}
		}
		out[name] = struct{ old, new, patch []byte }{old, new, roundTrip(t, old, new, opt)}
	}
	text := list(400)
	changed := bytes.Clone(text)
	changed[5000] ^= 1
	copy(changed[9000:], "some other line\n")
	dense := noise(1, 3000)
	moved := bytes.Clone(dense)
	for i := range moved {
		moved[i] += byte(i & 1)
	}
	add("packed inserts", text, append([]byte("a new first line\n"), text...), nil)
	add("sparse differences", text, changed, delta.Suffix{})
	add("dense differences", dense, moved, same{})
	l := list(40)
	add("lines", l, bytes.Join([][]byte{l[310:620], []byte("a line\n"), l[:310], l[620:]}, nil), delta.Hash{})
	add("records of one size", table(400), edited(table(400)), delta.Hash{})
	add("a swarm of differences", dense, swarm(dense), same{})
	add("raw inserts", dense, append(noise(2, 1500), dense...), nil)
	add("zstd inserts", nil, list(5000), nil)
	return out
}

func TestEveryTruncation(t *testing.T) {
	for name, s := range specimens(t) {
		t.Run(name, func(t *testing.T) {
			step := len(s.patch)/3000 + 1
			for n := 0; n < len(s.patch); n += step {
				checkHostile(t, s.old, s.patch[:n], int64(len(s.new)))
			}
			if err := checkHostile(t, s.old, nil, int64(len(s.new))); err == nil {
				t.Error("an empty delta was applied")
			}
		})
	}
}

func TestEveryFlippedBit(t *testing.T) {
	for name, s := range specimens(t) {
		t.Run(name, func(t *testing.T) {
			step := len(s.patch)/100 + 1
			for i := 0; i < len(s.patch); i++ {
				if i > 64 && i%step != 0 {
					continue
				}
				bad := bytes.Clone(s.patch)
				for bit := range 8 {
					bad[i] = s.patch[i] ^ 1<<bit
					checkHostile(t, s.old, bad, int64(len(s.new)))
				}
			}
		})
	}
}

func TestWrongSizes(t *testing.T) {
	for name, s := range specimens(t) {
		t.Run(name, func(t *testing.T) {
			for _, n := range []int64{0, 1, int64(len(s.new)) - 1, int64(len(s.new)) + 1, 1 << 20, math.MaxInt64} {
				if n == math.MaxInt64 && len(s.old) == 0 {
					continue // without old nothing bounds it but the delta: the row above shows that
				}
				if err := checkHostile(t, s.old, s.patch, n); err == nil && n > int64(len(s.new)) {
					t.Errorf("it gave %d bytes", n)
				}
			}
			if err := checkHostile(t, s.old[:len(s.old)/2], s.patch, int64(len(s.new))); err == nil && len(s.old) > 0 {
				t.Error("it was applied to half of old")
			}
		})
	}
}

func TestForgedHeaders(t *testing.T) {
	big := binary.AppendUvarint(nil, math.MaxUint64)
	cat := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	rows := []struct {
		name  string
		patch []byte
	}{
		{"no bytes", nil},
		{"another format", []byte{0x20}},
		{"an unknown flag", []byte{0x18}},
		{"sparse and dense at once", []byte{0x13}},
		{"a section that is cut off in its size", []byte{0x14, 0, 0x80}},
		{"a size beyond 64 bits", cat([]byte{0x14, 0}, bytes.Repeat([]byte{0xff}, 11))},
		{"a section of 2^64-1 bytes", cat([]byte{0x14, 0}, big, []byte{1})},
		{"stored in 2^64-1 bytes", cat([]byte{0x14, 0, 1}, big)},
		{"stored beyond the end", []byte{0x14, 0, 5, 5, 'a'}},
		{"raw bytes of another number than stored", []byte{0x14, 0, 5, 4, 'a', 'b', 'c', 'd'}},
		{"an unknown coder", []byte{0x14, 9, 4, 4, 'a', 'b', 'c', 'd'}},
		{"zstd blocks that are none", []byte{0x14, 1, 4, 4, 0xff, 0xff, 0xff, 0xff}},
		{"a section that no operation uses", []byte{0x14, 0, 4, 4, 'a', 'b', 'c', 'd'}},
		{"differences that no copy uses", []byte{0x12, 0, 4, 4, 1, 1, 1, 1}},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			if err := checkHostile(t, []byte("old image"), r.patch, 9); err == nil {
				t.Error("it was applied")
			}
		})
	}
}

// TestBomb feeds a section that unpacks to far more than it declares.
func TestBomb(t *testing.T) {
	zeros := make([]byte, 64<<20)
	var full bytes.Buffer
	if _, err := delta.Make(t.Context(), &full, nil, zeros, delta.Options{}); err != nil {
		t.Fatal(err)
	}
	if full.Len() > 32<<10 {
		t.Fatalf("64 MiB of zeros take %d bytes", full.Len())
	}
	for _, size := range []int64{0, 1, 1000, 1 << 20, 64<<20 - 1} {
		if err := checkHostile(t, nil, full.Bytes(), size); err == nil {
			t.Errorf("it gave %d bytes", size)
		}
	}
	// The declared size, too, is forged: 1 MiB, of which all is asked for.
	b := full.Bytes()
	_, n := binary.Uvarint(b[2:])
	forged := append(append(bytes.Clone(b[:2]), binary.AppendUvarint(nil, 1<<20)...), b[2+n:]...)
	if err := checkHostile(t, nil, forged, 1<<20); err == nil {
		t.Error("the forged size was believed")
	}
}

// TestMemoryIsBounded applies a delta between images far larger than the bound.
func TestMemoryIsBounded(t *testing.T) {
	const size = 256 << 20
	old := pattern(size)
	var d bytes.Buffer
	{
		small := make([]byte, 33<<20) // with the tables of a large image
		old.ReadAt(small, 0)
		if _, err := delta.Make(t.Context(), &d, small, append([]byte("a line\n"), small...), delta.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := delta.Apply(t.Context(), io.Discard, old, size, bytes.NewReader(d.Bytes()), int64(d.Len()), size+7)
	if err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 16<<20 {
		t.Errorf("%d bytes were allocated", got)
	}
}

// pattern is an image of that many bytes that is held nowhere.
type pattern int64

func (p pattern) ReadAt(b []byte, at int64) (int, error) {
	for i := range b {
		if at+int64(i) >= int64(p) {
			return i, io.EOF
		}
		b[i] = byte((at + int64(i)) * 2654435761 >> 13)
	}
	return len(b), nil
}

func TestNegativeSizes(t *testing.T) {
	for i := range 3 {
		sizes := [3]int64{1, 1, 1}
		sizes[i] = -1
		t.Run(fmt.Sprint(sizes), func(t *testing.T) {
			r := bytes.NewReader([]byte{0x10})
			if err := delta.Apply(t.Context(), io.Discard, r, sizes[0], r, sizes[1], sizes[2]); err == nil {
				t.Error("no error")
			}
		})
	}
}
