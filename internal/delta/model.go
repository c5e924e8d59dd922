package delta

import "math/bits"

// packed is the model of the packed stream: what it holds, in which order,
// and with which contexts. Make and Apply drive the same code from both ends.
type packed struct {
	c      bitCoder
	unit   int
	rates  *rates
	more   prob
	copies *lengthModel
	insert *lengthModel
	seek   *lengthModel
	move   *lengthModel
	diff   *diffModel // nil without sparse differences
	text   *textModel // nil if a section holds the inserted bytes
}

func newPacked(c bitCoder, flags byte, unit int, size int64) *packed {
	r := newRates()
	p := &packed{
		c:      c,
		unit:   unit,
		rates:  r,
		copies: newLengthModel(r, unit),
		insert: newLengthModel(r, unit),
		seek:   newLengthModel(r, unit),
		move:   newLengthModel(r, unitBytes),
	}
	if unit == unitLines {
		p.insert.few()
		p.seek.few()
	}
	l := newLogistic(r)
	if flags&flagSparse != 0 {
		p.diff = newDiffModel(l, size)
	}
	if flags&flagInserts == 0 {
		p.text = newTextModel(l, unit, size)
	}
	return p
}

// another codes whether one more operation follows.
func (p *packed) another(more bool) bool {
	b := uint32(1) // the end is a one, which the zeros after the stream say for nothing
	if more {
		b = 0
	}
	b = p.c.code(b, p.more.p())
	p.more.learn(b, p.rates, numberLimit)
	return b == 0
}

// A lengthModel codes lengths. In records of one size they are mostly whole
// multiples of it, so that the rest is coded apart, and first.
type lengthModel struct {
	numberModel
	unit int
	rest []prob
}

func newLengthModel(r *rates, unit int) *lengthModel {
	m := &lengthModel{unit: unit}
	m.rates = r
	m.reset()
	if unit > unitBytes {
		m.rest = make([]prob, 1<<bits.Len(uint(unit-1)))
	}
	return m
}

// code codes n ≥ 0; decoded it is at most 1<<62.
func (m *lengthModel) code(c bitCoder, n int64) int64 {
	return m.codeRest(c, n, func(n int64) int64 { return int64(min(m.numberModel.code(c, uint64(n)), 1<<62)) })
}

// codeSigned codes a number of either sign; decoded it is at most 1<<62 and at
// least its negative.
func (m *lengthModel) codeSigned(c bitCoder, n int64) int64 {
	return m.codeRest(c, n, func(n int64) int64 {
		v := m.numberModel.code(c, uint64(n<<1)^uint64(n>>63))
		return int64(v>>1) ^ -int64(v&1)
	})
}

func (m *lengthModel) codeRest(c bitCoder, n int64, number func(int64) int64) int64 {
	if len(m.rest) == 0 {
		return number(n)
	}
	unit := int64(m.unit)
	rest := ((n % unit) + unit) % unit
	node := uint32(1)
	for i := bits.Len(uint(len(m.rest))) - 2; i >= 0; i-- {
		b := c.code(uint32(rest>>uint(i))&1, m.rest[node].p())
		m.rest[node].learn(b, m.rates, numberLimit)
		node = node<<1 | b
	}
	v := number((n - rest) / unit)
	const most = 1 << 62 / unitMax / 2
	return max(-most, min(v, most))*unit + int64(node) - int64(len(m.rest))
}

// tableBits is log2 of a table's places: as many as the new image has bytes,
// within bounds, so that small images cost little memory.
func tableBits(size int64, least, most int) uint {
	return uint(max(least, min(bits.Len64(uint64(size)), most)))
}
