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
// which is dense but slow to read: about a microsecond a byte.
const packedInserts = 128 << 10

// packable is the most that Make puts there.
func packable(newSize int) int {
	if newSize >= largeImage {
		return packedLarge
	}
	return packedInserts
}

// Images from largeImage on are held to applying in 1.25 times the CPU of
// read, SHA-256 and write, which leaves time for so much text.
const (
	largeImage  = 32 << 20
	packedLarge = 16 << 10
)

// sparseDiffs is the most differences that are always stored sparsely.
const sparseDiffs = 256

// encode returns the smallest delta that ops can be written as.
func encode(old, new []byte, ops []Op) ([]byte, error) {
	ops = tidy(ops, int64(len(new)))
	if err := possible(ops, int64(len(old)), int64(len(new))); err != nil {
		return nil, err
	}
	best, err := encodeIn(unitBytes, old, new, ops)
	if err != nil {
		return nil, err
	}
	if isText(new) && len(old) > 0 {
		if lines := lineOps(old, new, ops); lines != nil {
			d, err := encodeIn(unitLines, old, new, tidy(lines, int64(len(new))))
			if err == nil && len(d) < len(best) {
				best = d
			}
		}
	}
	if unit := recordSize(new); unit > 0 && len(old) > 0 {
		d, err := encodeIn(unit, old, new, ops)
		if err == nil && len(d) < len(best) {
			best = d
		}
	}
	return best, nil
}

// encodeIn returns the smallest delta whose operations, tidy ones, count in a unit.
func encodeIn(unit int, old, new []byte, ops []Op) ([]byte, error) {
	cols := split(old, new, ops)
	inserts, body, err := encodeSection(cols.inserts, insertWindowLog)
	if err != nil {
		return nil, err
	}
	var best []byte
	try := func(h header, diffs, body []byte) bool {
		d := append(append(h.append(nil), diffs...), body...)
		d = append(d, cols.pack(old, new, ops, h)...)
		if best != nil && len(d) >= len(best) {
			return false
		}
		best = d
		return true
	}
	h := header{unit: unit, flags: flagInserts, inserts: inserts}
	if unit != unitBytes {
		h.flags |= flagUnit
	}
	if n := len(cols.diffs); 0 < n && n <= maxDiffs {
		h.flags |= flagSparse
	}
	if len(cols.diffs) <= maxDiffs {
		try(h, nil, body)
	}
	if len(cols.inserts) <= packable(len(new)) {
		packed := h
		packed.flags &^= flagInserts
		if len(cols.diffs) > maxDiffs || try(packed, nil, nil) {
			h, body = packed, nil
		}
	}
	if len(cols.diffs) > sparseDiffs {
		dense, diffs, err := encodeSection(cols.dense(), denseWindowLog)
		if err != nil {
			return nil, err
		}
		h.flags = h.flags&^flagSparse | flagDense
		h.dense = dense
		try(h, diffs, body)
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
