package delta

import (
	"bytes"
	"io"
	"testing"
)

// forge packs a delta of operations by hand, without differences and insertions
// that a section would have.
func forge(unit int, size int64, do func(*packed, bitCoder)) []byte {
	enc := newRangeEncoder()
	h := header{unit: unit, flags: flagInserts}
	if unit != unitBytes {
		h.flags |= flagUnit
	}
	p := newPacked(enc, h.flags, unit, size)
	do(p, enc)
	p.another(false)
	return append(h.append(nil), enc.finish()...)
}

// counting is an image that counts the bytes that are read of it.
type counting struct {
	*bytes.Reader
	n int64
}

func (c *counting) ReadAt(b []byte, at int64) (int, error) {
	n, err := c.Reader.ReadAt(b, at)
	c.n += int64(n)
	return n, err
}

// TestJumpsReadLittle has deltas jump for each byte or two that they give.
func TestJumpsReadLittle(t *testing.T) {
	const size = 1 << 20
	backward := forge(unitBytes, size, func(p *packed, c bitCoder) {
		op := func(copied, seek int64) {
			p.another(true)
			p.copies.code(c, copied)
			p.insert.code(c, 0)
			p.seek.codeSigned(c, seek)
		}
		op(0, size-1)
		for range size - 1 {
			op(1, -2)
		}
	})
	const rounds = 1 << 16
	overTheEnd := forge(unitLines, 2*rounds+2, func(p *packed, c bitCoder) {
		op := func(lines, move int64) {
			p.another(true)
			p.copies.code(c, lines)
			p.insert.code(c, 0)
			p.seek.code(c, 0)
			p.move.codeSigned(c, move)
		}
		op(1, oldBuffer-2)
		for range rounds {
			op(2, -2)
		}
	})
	for _, row := range []struct {
		name  string
		old   []byte
		patch []byte
		size  int64
	}{
		{"backward", bytes.Repeat([]byte("0123456789abcdef"), size/16), backward, size},
		{"over the end of what was read", bytes.Repeat([]byte("\n"), size), overTheEnd, 2*rounds + 2},
	} {
		old := &counting{Reader: bytes.NewReader(row.old)}
		if err := Apply(t.Context(), io.Discard, old, size, bytes.NewReader(row.patch), int64(len(row.patch)), row.size); err != nil {
			t.Errorf("%s: %v", row.name, err)
		}
		if old.n > 4*size {
			t.Errorf("%s: %d bytes of old were read for %d of new, by %d of a delta", row.name, old.n, row.size, len(row.patch))
		}
	}
}

// TestSkipsPassOverOldOnce holds the bound to the byte: one line more is refused.
func TestSkipsPassOverOldOnce(t *testing.T) {
	old := bytes.Repeat([]byte("a line\n"), 20000)
	all := int64(len(old))
	for _, more := range []int64{0, 1} {
		patch := forge(unitLines, 14, func(p *packed, c bitCoder) {
			op := func(copied, skipped int64) {
				p.another(true)
				p.copies.code(c, copied)
				p.insert.code(c, 0)
				p.seek.code(c, skipped)
			}
			op(1, all/7-1)
			op(0, 0)
			p.move.codeSigned(c, -all)
			op(1, 1+more) // once more over what was skipped
		})
		err := Apply(t.Context(), io.Discard, bytes.NewReader(old), all, bytes.NewReader(patch), int64(len(patch)), 14)
		if (err != nil) != (more > 0) {
			t.Errorf("%d lines more than old has: %v", more, err)
		}
	}
}

// TestNumbersBeyondAllSizes has a count that is negative in 64 bits.
func TestNumbersBeyondAllSizes(t *testing.T) {
	old := []byte("one line\nanother\n")
	size := int64(len(old))
	for _, unit := range []int{unitBytes, unitLines} {
		patch := forge(unit, size, func(p *packed, c bitCoder) {
			p.another(true)
			p.copies.numberModel.code(c, 1<<64-5)
			p.insert.code(c, 0)
			p.seek.code(c, 1)
		})
		if err := Apply(t.Context(), io.Discard, bytes.NewReader(old), size, bytes.NewReader(patch), int64(len(patch)), size); err == nil {
			t.Errorf("unit %d: it was taken for nothing", unit)
		}
	}
}

// TestLinesEndWhereOldHasThem has differences make a line feed of the last byte
// that is copied, or take one away: lines are counted in old all the same.
func TestLinesEndWhereOldHasThem(t *testing.T) {
	for _, row := range []struct {
		name, end string
		to        byte
		more      int64 // lines beyond those that are there
	}{
		{"made", "the end", '\n', 0},
		{"taken away", "the end\n", 'x', 0},
		{"taken away, and a line beyond", "the end\n", 'x', 1},
	} {
		for _, lines := range []int{100, 40000} {
			old := append(bytes.Repeat([]byte("a line\n"), lines), row.end...)
			img := append(bytes.Clone(old), "tail"...)
			img[len(old)-1] = row.to
			diffs := make([]byte, len(old))
			diffs[len(old)-1] = row.to - old[len(old)-1]
			h := header{
				unit: unitLines, flags: flagInserts | flagUnit | flagDense,
				dense: section{raw: int64(len(diffs)), stored: int64(len(diffs))}, inserts: section{raw: 4, stored: 4},
			}
			enc := newRangeEncoder()
			p := newPacked(enc, h.flags, h.unit, int64(len(img)))
			p.another(true)
			p.copies.code(enc, int64(lines)+1+row.more)
			p.insert.code(enc, 4)
			p.seek.code(enc, 0)
			p.another(false)
			patch := append(append(append(h.append(nil), diffs...), "tail"...), enc.finish()...)
			var out bytes.Buffer
			err := Apply(t.Context(), &out, bytes.NewReader(old), int64(len(old)), bytes.NewReader(patch), int64(len(patch)), int64(len(img)))
			if (err != nil) != (row.more > 0) || err == nil && !bytes.Equal(out.Bytes(), img) {
				t.Errorf("%s, %d lines: %v", row.name, lines, err)
			}
		}
	}
}

// TestEmptyOperationsEnd has operations that give nothing, more than any delta
// needs: a small delta must not keep an endpoint at work for ever.
func TestEmptyOperationsEnd(t *testing.T) {
	old := []byte("one line\nanother\n")
	size := int64(len(old))
	for _, unit := range []int{unitBytes, unitLines} {
		for _, empty := range []int{0, 1, 2, 1 << 16} {
			patch := forge(unit, size, func(p *packed, c bitCoder) {
				for range empty {
					p.another(true)
					p.copies.code(c, 0)
					p.insert.code(c, 0)
					if unit == unitLines {
						p.seek.code(c, 0)
						p.move.codeSigned(c, 0)
					} else {
						p.seek.codeSigned(c, 0)
					}
				}
			})
			var out bytes.Buffer
			err := Apply(t.Context(), &out, bytes.NewReader(old), size, bytes.NewReader(patch), int64(len(patch)), size)
			if (err != nil) != (empty > 1) || err == nil && !bytes.Equal(out.Bytes(), old) {
				t.Errorf("unit %d, %d empty operations in a delta of %d bytes: %v", unit, empty, len(patch), err)
			}
		}
	}
}

// TestBytesLeftOverAreRefused appends to a delta that is valid without them. The
// decoder reads a few bytes ahead, and takes fewer than those for its own.
func TestBytesLeftOverAreRefused(t *testing.T) {
	old := bytes.Repeat([]byte("a line\n"), 100)
	size := int64(len(old))
	for _, unit := range []int{unitBytes, unitLines} {
		valid := forge(unit, size, func(*packed, bitCoder) {})
		for _, more := range []int{0, readAhead, readAhead + 1, 4096} {
			for _, fill := range []byte{0, 'x', 0xff} {
				patch := append(bytes.Clone(valid), bytes.Repeat([]byte{fill}, more)...)
				err := Apply(t.Context(), io.Discard, bytes.NewReader(old), size, bytes.NewReader(patch), int64(len(patch)), size)
				if (err != nil) != (more > 0) {
					t.Errorf("unit %d, %d bytes of %#x more: %v", unit, more, fill, err)
				}
			}
		}
	}
}
