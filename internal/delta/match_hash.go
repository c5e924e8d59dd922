package delta

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/bits"
)

// Hash is the matcher for images of any size. It walks old and new side by
// side, as they are mostly the same. Where they part it looks for the place
// where they meet again for long, first near by, then in a hash index of all
// of old; then, within what lies between, for shorter meetings, and so on, so
// that a chance likeness cannot lead it astray for longer than one gap.
//
// Its work is linear in the sizes of both; the index takes 1/2 byte for each
// byte of old, 128 MiB at most, and is built only when a place far off is sought.
type Hash struct{}

func (Hash) Name() string { return "hash" }

func (Hash) Match(ctx context.Context, old, new []byte) ([]Op, error) {
	w := &walk{ctx: ctx, old: old, new: new, text: isText(new)}
	w.fill(gap{0, 0, len(new), len(old)}, 0)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return w.bridges(), nil
}

// isText tells text by the absence of zero bytes near the beginning.
func isText(b []byte) bool {
	return bytes.IndexByte(b[:min(len(b), 64<<10)], 0) < 0
}

type walk struct {
	ctx      context.Context
	old, new []byte
	text     bool
	near     nearIndex
	far      *farIndex
	found    []meeting // in the order of new, not overlapping there
	ops      []Op
}

// A meeting is a stretch that is equal in both images.
type meeting struct {
	p, q, n int // in new, in old, bytes
}

// A gap is a stretch of new for which nothing was found yet, and the stretch
// of old that lies between the meetings around it (toOld < fromOld after a move).
type gap struct {
	from, fromOld int
	to, toOld     int
}

// levels are the least lengths of meetings that are sought, one after the other.
var levels = [...]int{2048, 256, 32}

// fill finds meetings in a gap, those of the level's length first.
func (w *walk) fill(g gap, level int) {
	p, q := g.from, g.fromOld
	for p < g.to {
		n := min(matchLen(w.new[p:g.to], w.old[q:]), g.to-p)
		if n > 0 {
			w.found = append(w.found, meeting{p, q, n})
			p, q = p+n, q+n
			continue
		}
		rest := gap{p, q, g.to, g.toOld}
		m, ok := w.meet(rest, level)
		if ok {
			rest.to, rest.toOld = m.p, m.q
		}
		if level+1 < len(levels) && rest.to > rest.from {
			w.fill(rest, level+1)
		}
		if !ok || w.ctx.Err() != nil {
			return
		}
		p, q = m.p, m.q
	}
}

// bridges makes operations of the meetings.
func (w *walk) bridges() []Op {
	start, p, q := 0, 0, 0 // the copy runs from start to p in new, q goes with p
	for _, m := range w.found {
		if m.p+m.n <= p {
			continue // a bridge went past it
		}
		for m.p > start && m.q > 0 && w.new[m.p-1] == w.old[m.q-1] {
			m.p, m.q, m.n = m.p-1, m.q-1, m.n+1
		}
		if m.p-m.q == p-q && m.p <= p {
			p, q = m.p+m.n, m.q+m.n
			continue
		}
		start = w.bridge(start, p, q, m)
		p, q = max(start, m.p+m.n), max(start-m.p, m.n)+m.q
	}
	end := p + w.forward(p, q, len(w.new))
	return append(w.ops, Op{Copy: int64(end - start), Insert: int64(len(w.new) - end)})
}

// bridge ends the copy that runs from start to p (q in old), appends what leads
// to the meeting m, and returns where in new the next copy starts.
func (w *walk) bridge(start, p, q int, m meeting) int {
	grown := (m.p - m.q) - (p - q) // bytes that new gained between the two
	var from, to int               // new[from:to] is inserted
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

const (
	enough = 64 // bytes that two copies may share
	word   = 8  // bytes by which the near index finds
)

// meet looks for the first meeting in a gap that has the level's length.
func (w *walk) meet(g gap, level int) (meeting, bool) {
	for _, reach := range [...]int{1 << 10, 16 << 10} {
		if m, ok := w.meetNear(g, level, reach); ok {
			return m, true
		}
		if g.to-g.from <= reach && g.toOld-g.fromOld <= reach {
			break
		}
	}
	return w.meetFar(g, level)
}

// extend makes of one equal word the whole meeting within the gap.
func (w *walk) extend(g gap, p, q int) meeting {
	n := matchLen(w.new[p:g.to], w.old[q:])
	back := 0
	for p-back > g.from && q-back > 0 && w.new[p-back-1] == w.old[q-back-1] {
		back++
	}
	return meeting{p - back, q - back, n + back}
}

func (w *walk) meetNear(g gap, level, reach int) (meeting, bool) {
	lo, hi := max(0, g.fromOld-enough), min(g.fromOld+reach, len(w.old)-word)
	if g.toOld >= g.fromOld {
		hi = min(hi, g.toOld+enough)
	}
	w.near.build(w.old, lo, hi)
	last := meeting{n: -1}
	for i, end := g.from, min(g.from+reach, g.to-word, len(w.new)-word); i <= end; i++ {
		j, ok := w.near.find(w.old, w.new[i:])
		if !ok || j-i == last.q-last.p && i < last.p+last.n {
			continue
		}
		last = w.extend(g, i, j)
		if last.n >= levels[level] || level == len(levels)-1 && w.worth(last) {
			return last, true
		}
	}
	return meeting{}, false
}

// worth tells whether a short meeting near by is worth an operation: in text
// if it is a whole line, elsewhere from 16 bytes.
func (w *walk) worth(m meeting) bool {
	b := w.new[m.p : m.p+m.n]
	if !w.text {
		return len(b) >= 16
	}
	if m.p > 0 && w.new[m.p-1] != '\n' {
		i := bytes.IndexByte(b, '\n')
		b = b[i+1:]
	}
	return len(b) >= 12 && bytes.IndexByte(b, '\n') >= 0
}

// meetFar looks through all of old.
func (w *walk) meetFar(g gap, level int) (meeting, bool) {
	if g.to-g.from < farWord {
		return meeting{}, false
	}
	if w.far == nil {
		w.far = newFarIndex(w.old)
	}
	least := levels[level]
	if w.text {
		least = max(least, enough)
	}
	last := meeting{n: -1}
	for i, end := g.from, g.to-farWord; i <= end; i++ {
		j, ok := w.far.find(w.old, w.new[i:])
		if !ok || j-i == last.q-last.p && i < last.p+last.n {
			continue
		}
		if last = w.extend(g, i, j); last.n >= least {
			return last, true
		}
	}
	return meeting{}, false
}

// matchLen returns how many bytes a and b have in common at their beginning.
func matchLen(a, b []byte) int {
	n := equalBlocks(a, b)
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

// equalBlocks is how many bytes at their beginning are equal by blocks, which
// are compared many times faster than words: they grow while they are equal, and
// shrink to find the end.
func equalBlocks(a, b []byte) int {
	const least, most = 64, 8 << 10
	n, size, grow := 0, least, true
	for size >= least {
		if n+size <= min(len(a), len(b)) && bytes.Equal(a[n:n+size], b[n:n+size]) {
			if n += size; grow && size < most {
				size *= 2
			}
			continue
		}
		size, grow = size/2, false
	}
	return n
}
