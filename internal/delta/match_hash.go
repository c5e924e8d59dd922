package delta

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/bits"
)

// Hash is the matcher for images of any size. It walks old and new side by
// side, as they are mostly the same; where they part it looks for the place
// where they meet again, first near by, then in a hash index of all of old.
// Its work is linear in the sizes of both; the index takes 1/2 byte for each
// byte of old, 128 MiB at most, and is built only when a place far off is sought.
type Hash struct{}

func (Hash) Name() string { return "hash" }

func (Hash) Match(ctx context.Context, old, new []byte) ([]Op, error) {
	m := &walk{old: old, new: new, text: isText(new)}
	return m.run(ctx)
}

// isText tells text by the absence of zero bytes near the beginning.
func isText(b []byte) bool {
	return bytes.IndexByte(b[:min(len(b), 64<<10)], 0) < 0
}

type walk struct {
	old, new []byte
	text     bool
	near     nearIndex
	far      *farIndex
	ops      []Op
}

// A meeting is a stretch that is equal in both images.
type meeting struct {
	p, q, n int // in new, in old, bytes
}

func (w *walk) run(ctx context.Context) ([]Op, error) {
	start, p, q := 0, 0, 0 // the copy runs from start to p in new, q goes with p
	for steps := 0; ; steps++ {
		if steps&1023 == 0 {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
		}
		n := matchLen(w.new[p:], w.old[q:])
		p, q = p+n, q+n
		if p == len(w.new) {
			w.ops = append(w.ops, Op{Copy: int64(p - start)})
			return w.ops, nil
		}
		m, ok := w.meet(start, p, q)
		if !ok {
			fwd := w.forward(p, q, len(w.new))
			p += fwd
			w.ops = append(w.ops, Op{Copy: int64(p - start), Insert: int64(len(w.new) - p)})
			return w.ops, nil
		}
		start = w.bridge(start, p, q, m)
		p, q = m.p+m.n, m.q+m.n
	}
}

// bridge ends the copy that runs from start to p (q in old), appends what leads
// to the meeting m, and returns where in new the next copy starts.
func (w *walk) bridge(start, p, q int, m meeting) int {
	grown := (m.p - m.q) - (p - q) // bytes that new gained between the two
	from, to := p, m.p             // new[from:to] is in neither
	end := m.p + m.n
	switch shared := p + grown - m.p; { // bytes that both copies could cover
	case grown >= 0 && shared >= 0 && shared <= enough && p+grown <= end && (m.p > p || grown <= word):
		from = w.lineStart(max(start, m.p-grown), p)
		to = from + grown
	case m.p <= p:
		from = w.lineStart(max(start, m.p), p)
		to = from
	default:
		from, to = w.approximate(p, q, m)
	}
	w.ops = append(w.ops, Op{
		Copy:   int64(from - start),
		Insert: int64(to - from),
		Seek:   int64(to - from - grown),
	})
	return to
}

// lineStart returns the last start of a line in new[lo:hi], or hi.
func (w *walk) lineStart(lo, hi int) int {
	if lo > 0 {
		lo--
	}
	if i := bytes.LastIndexByte(w.new[lo:hi], '\n'); i >= 0 {
		return lo + i + 1
	}
	return hi
}

// approximate extends the copy before new[p:m.p] forward, and the one after it
// backward, over differences, and returns what remains between them.
func (w *walk) approximate(p, q int, m meeting) (from, to int) {
	fwd := w.forward(p, q, m.p)
	back := w.backward(p, m)
	from, to = p+fwd, m.p-back
	if from <= to {
		return from, to
	}
	// They overlap: cut where the first has gained most over the second.
	cut, best, s := to, 0, 0
	for i := to; i < from; i++ {
		if w.new[i] == w.old[q+i-p] {
			s++
		}
		if w.new[i] == w.old[m.q+i-m.p] {
			s--
		}
		if s > best {
			best, cut = s, i+1
		}
	}
	return cut, cut
}

// penalty is how many equal bytes make up for a different one.
func (w *walk) penalty() int {
	if w.text {
		return 3
	}
	return 1
}

// far enough that no better end will come
const giveUp = 256

func (w *walk) forward(p, q, end int) int {
	limit := min(end-p, len(w.old)-q)
	score, best, n, pen := 0, 0, 0, w.penalty()
	for i := 0; i < limit && score > best-giveUp; i++ {
		if w.new[p+i] == w.old[q+i] {
			score++
		} else {
			score -= pen
		}
		if score > best {
			best, n = score, i+1
		}
	}
	return n
}

func (w *walk) backward(p int, m meeting) int {
	limit := min(m.p-p, m.q)
	score, best, n, pen := 0, 0, 0, w.penalty()
	for i := 1; i <= limit && score > best-giveUp; i++ {
		if w.new[m.p-i] == w.old[m.q-i] {
			score++
		} else {
			score -= pen
		}
		if score > best {
			best, n = score, i
		}
	}
	return n
}

// meet looks for the next meeting after new[p] and old[q], which differ.
// What it returns may begin before p, but not before start.
func (w *walk) meet(start, p, q int) (meeting, bool) {
	for _, reach := range [...]int{1 << 10, 16 << 10} {
		if m, ok := w.meetNear(start, p, q, reach); ok {
			return m, true
		}
	}
	return w.meetFar(start, p, q)
}

const (
	enough = 64 // a meeting this long is no chance
	word   = 8  // bytes by which the near index finds
)

// extend makes of one equal word the whole meeting, back to start at most.
func (w *walk) extend(start, p, q int) meeting {
	n := matchLen(w.new[p:], w.old[q:])
	back := 0
	for p-back > start && q-back > 0 && w.new[p-back-1] == w.old[q-back-1] {
		back++
	}
	return meeting{p - back, q - back, n + back}
}

func (w *walk) meetNear(start, p, q, reach int) (meeting, bool) {
	lo, hi := max(0, q-enough), min(q+reach, len(w.old)-word)
	w.near.build(w.old, lo, hi)
	var short, last meeting
	for i, end := p, min(p+reach, len(w.new)-word); i <= end; i++ {
		j, ok := w.near.find(w.old, w.new[i:])
		if !ok || (last.n > 0 && j-i == last.q-last.p && i < last.p+last.n) {
			continue
		}
		m := w.extend(start, i, j)
		last = m
		if m.p+m.n <= p {
			continue
		}
		switch cover := m.p + m.n - max(m.p, p); {
		case cover >= enough:
			if short.n > 0 && short.p+short.n <= m.p {
				return short, true
			}
			return m, true
		case short.n == 0 && w.worth(m, max(m.p, p)):
			short = m
		}
	}
	return short, short.n > 0
}

// worth tells whether a short meeting is worth an operation: in text if it is
// a whole line, elsewhere from 16 bytes.
func (w *walk) worth(m meeting, from int) bool {
	b := w.new[from : m.p+m.n]
	if !w.text {
		return len(b) >= 16
	}
	if i := bytes.IndexByte(b, '\n'); i >= 0 && (from == 0 || w.new[from-1] != '\n') {
		b = b[i+1:]
	}
	return len(b) >= 12 && bytes.IndexByte(b, '\n') >= 0
}

// meetFar looks through all of old.
func (w *walk) meetFar(start, p, q int) (meeting, bool) {
	if w.far == nil {
		w.far = newFarIndex(w.old)
	}
	least := 32
	if w.text {
		least = enough
	}
	for i, end := p, len(w.new)-farWord; i <= end; i++ {
		j, ok := w.far.find(w.old, w.new[i:])
		if !ok {
			continue
		}
		if m := w.extend(start, i, j); m.p+m.n-max(m.p, p) >= least {
			return m, true
		}
	}
	return meeting{}, false
}

// matchLen returns how many bytes a and b have in common at their beginning.
func matchLen(a, b []byte) int {
	n := 0
	for len(a)-n >= 8 && len(b)-n >= 8 {
		x := binary.LittleEndian.Uint64(a[n:]) ^ binary.LittleEndian.Uint64(b[n:])
		if x != 0 {
			return n + bits.TrailingZeros64(x)>>3
		}
		n += 8
	}
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}
