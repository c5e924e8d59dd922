package delta

import "fmt"

// Op is one step of a way from old to new: copy bytes of old, with whatever
// differences new has there; insert bytes of new; move in old by Seek.
// Positions in both images start at 0; after the last Op the rest of new is
// copied.
type Op struct{ Copy, Insert, Seek int64 }

// tidy merges operations that are one, and leaves off a copy at the end,
// which is implied.
func tidy(ops []Op, newSize int64) []Op {
	var out []Op
	for _, op := range ops {
		if newSize -= op.Copy + op.Insert; newSize == 0 {
			op.Seek = 0
		}
		if op == (Op{}) {
			continue
		}
		if n := len(out); n > 0 && out[n-1].Insert == 0 && out[n-1].Seek == 0 {
			out[n-1].Copy += op.Copy
			out[n-1].Insert, out[n-1].Seek = op.Insert, op.Seek
			continue
		}
		if n := len(out); n > 0 && op.Copy == 0 && op.Insert == 0 {
			out[n-1].Seek += op.Seek
			continue
		}
		out = append(out, op)
	}
	if n := len(out); n > 0 && out[n-1].Insert == 0 {
		out = out[:n-1]
	}
	return out
}

// possible checks that operations stay within both images and fill the new one.
func possible(ops []Op, oldSize, newSize int64) error {
	var p, q int64
	for i, op := range append(ops[:len(ops):len(ops)], Op{Copy: -1}) {
		if i == len(ops) {
			op.Copy = newSize - p // the copy that ends the image
		}
		if op.Copy < 0 || op.Copy > newSize-p || op.Copy > oldSize-q {
			return fmt.Errorf("operation %d copies %d bytes from %d to %d", i, op.Copy, q, p)
		}
		p, q = p+op.Copy, q+op.Copy
		if op.Insert < 0 || op.Insert > newSize-p {
			return fmt.Errorf("operation %d inserts %d bytes at %d of %d", i, op.Insert, p, newSize)
		}
		if p += op.Insert; op.Seek < -q || op.Seek > oldSize-q {
			return fmt.Errorf("operation %d seeks from %d by %d of %d", i, q, op.Seek, oldSize)
		}
		q += op.Seek
	}
	return nil
}

// columns are the bytes of a delta before they are coded.
type columns struct {
	diffs   []diffByte
	copied  int64
	inserts []byte
}

type diffByte struct {
	gap   int64 // equal bytes before it
	value byte
}

func split(old, new []byte, ops []Op) columns {
	var c columns
	var p, q, gap int64
	copyRun := func(n int64) {
		a, b := new[p:p+n], old[q:q+n]
		for len(a) > 0 {
			same := int64(matchLen(a, b))
			gap += same
			if same == int64(len(a)) {
				break
			}
			c.diffs = append(c.diffs, diffByte{gap, a[same] - b[same]})
			gap = 0
			a, b = a[same+1:], b[same+1:]
		}
		p, q, c.copied = p+n, q+n, c.copied+n
	}
	for _, op := range ops {
		copyRun(op.Copy)
		c.inserts = append(c.inserts, new[p:p+op.Insert]...)
		p += op.Insert
		q += op.Seek
	}
	copyRun(int64(len(new)) - p)
	return c
}

// packedInserts is the most inserted bytes that may be in the packed stream,
// which is dense but slow to read: a third of a microsecond a byte.
const packedInserts = 128 << 10

// packable is the most that Make puts there. Images from largeImage on are
// held to applying in 1.5 times the CPU of read, SHA-256 and write.
func packable(newSize int) int {
	if newSize >= largeImage {
		return packedLarge
	}
	return packedInserts
}

const (
	largeImage  = 32 << 20
	packedLarge = 48 << 10
)

// sparseDiffs is the most differences that are always stored sparsely.
const sparseDiffs = 256

// encode returns the smallest delta that ops can be written as.
func encode(old, new []byte, ops []Op) ([]byte, error) {
	ops = tidy(ops, int64(len(new)))
	if err := possible(ops, int64(len(old)), int64(len(new))); err != nil {
		return nil, err
	}
	cols := split(old, new, ops)
	var sparse header
	if len(cols.diffs) > 0 {
		sparse.flags |= flagSparse
	}
	inserts, body, err := encodeSection(cols.inserts, insertWindowLog)
	if err != nil {
		return nil, err
	}
	apart := sparse
	apart.flags |= flagInserts
	apart.inserts = inserts
	best := cols.assemble(old, ops, apart, nil, body)
	if len(cols.inserts) <= packable(len(new)) {
		if d := cols.assemble(old, ops, sparse, nil, nil); len(d) < len(best) {
			best, apart, body = d, sparse, nil
		}
	}
	if len(cols.diffs) > sparseDiffs {
		dense, diffs, err := encodeSection(cols.dense(), denseWindowLog)
		if err != nil {
			return nil, err
		}
		h := apart
		h.flags = h.flags&^flagSparse | flagDense
		h.dense = dense
		if d := cols.assemble(old, ops, h, diffs, body); len(d) < len(best) {
			best = d
		}
	}
	return best, nil
}

// dense returns the differences of all copied bytes.
func (c columns) dense() []byte {
	d := make([]byte, c.copied)
	at := int64(0)
	for _, x := range c.diffs {
		at += x.gap
		d[at] = x.value
		at++
	}
	return d
}

// assemble puts a delta together.
func (c columns) assemble(old []byte, ops []Op, h header, diffs, inserts []byte) []byte {
	out := h.append(nil)
	out = append(out, diffs...)
	out = append(out, inserts...)
	return append(out, c.pack(old, ops, h.flags)...)
}

// pack codes the packed stream.
func (c columns) pack(old []byte, ops []Op, flags byte) []byte {
	enc := newRangeEncoder()
	p := newPacked(enc, flags)
	diffs, inserts := c.diffs, c.inserts
	gap := func() {
		if len(diffs) == 0 {
			p.diff.codeGap(enc, 0)
			return
		}
		p.diff.codeGap(enc, uint64(diffs[0].gap)+1)
	}
	left := int64(0)
	if flags&flagSparse != 0 {
		gap()
	}
	// copyRun codes the differences within the next n copied bytes; left is
	// how many bytes before the next difference were copied already.
	copyRun := func(n int64) {
		for flags&flagSparse != 0 && len(diffs) > 0 && diffs[0].gap-left < n {
			n -= diffs[0].gap - left + 1
			left = 0
			p.diff.codeValue(enc, diffs[0].value)
			diffs = diffs[1:]
			gap()
		}
		left += n
	}
	copied, pos := c.copied, int64(0)
	for _, op := range ops {
		p.another(true)
		p.copies.code(enc, uint64(op.Copy))
		copyRun(op.Copy)
		copied -= op.Copy
		p.insert.code(enc, uint64(op.Insert))
		p.seekBy(op.Seek)
		pos += op.Copy
		if flags&flagInserts == 0 && op.Insert > 0 {
			p.text.prepare(pos, int64(len(old)), func(at, n int64) ([]byte, error) { return old[at : at+n], nil })
			for _, b := range inserts[:op.Insert] {
				p.text.code(enc, b)
			}
			inserts = inserts[op.Insert:]
		}
		pos += op.Seek
	}
	p.another(false)
	copyRun(copied)
	return enc.finish()
}
