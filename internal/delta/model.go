package delta

import "math/bits"

// packed is the model of the packed stream: what it holds, in which order,
// and with which contexts. Make and Apply drive the same code from both ends.
type packed struct {
	c      bitCoder
	rates  *rates
	more   prob
	copies *numberModel
	insert *numberModel
	seek   *numberModel
	diff   *diffModel // nil without sparse differences
	text   *textModel // nil if a section holds the inserted bytes
}

func newPacked(c bitCoder, flags byte) *packed {
	r := newRates()
	p := &packed{
		c:      c,
		rates:  r,
		more:   probStart,
		copies: newNumberModel(r),
		insert: newNumberModel(r),
		seek:   newNumberModel(r),
	}
	if flags&flagSparse != 0 {
		p.diff = newDiffModel(r)
	}
	if flags&flagInserts == 0 {
		p.text = newTextModel(r)
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

func (p *packed) seekBy(n int64) int64 {
	v := p.seek.code(p.c, uint64(n<<1)^uint64(n>>63))
	return int64(v>>1) ^ -int64(v&1)
}

// diffModel codes sparse differences: how many equal bytes precede the next
// one, in the context of the gap before, and its value, in the contexts of the
// values before. In programs, addresses shift by the same amount again and again.
type diffModel struct {
	rates *rates
	gaps  [8]*numberModel
	gap   uint64    // the gap before
	last  [2]uint32 // the two values before
	one   [512][256]prob
	two   [1 << 10][256]prob
}

func newDiffModel(r *rates) *diffModel {
	m := &diffModel{rates: r}
	for i := range m.gaps {
		m.gaps[i] = newNumberModel(r)
	}
	for i := range m.one {
		fill(m.one[i][:])
	}
	for i := range m.two {
		fill(m.two[i][:])
	}
	return m
}

// codeGap codes a gap plus one, or 0 after the last difference.
func (m *diffModel) codeGap(c bitCoder, n uint64) uint64 {
	m.gap = m.gaps[min(bits.Len64(m.gap), len(m.gaps)-1)].code(c, n)
	return m.gap
}

func (m *diffModel) codeValue(c bitCoder, v byte) byte {
	var touching uint32
	if m.gap == 1 {
		touching = 256
	}
	one := &m.one[m.last[0]|touching]
	two := &m.two[(m.last[0]|m.last[1]<<8|touching<<8)*0x9e3779b1>>22]
	node := uint32(1)
	for i := 7; i >= 0; i-- {
		p, q := &one[node], &two[node]
		b := c.code(uint32(v)>>uint(i)&1, (p.p()+3*q.p())>>2)
		p.learn(b, m.rates, 250)
		q.learn(b, m.rates, 250)
		node = node<<1 | b
	}
	m.last[1], m.last[0] = m.last[0], node&255
	return byte(node)
}
