package delta

// packed is the model of the packed stream: what it holds, in which order,
// and with which contexts. Make and Apply drive the same code from both ends.
type packed struct {
	c      bitCoder
	rates  *rates
	more   prob
	copies *numberModel
	insert *numberModel
	seek   *numberModel
	gap    *numberModel
	value  *byteModel
	text   *textModel
}

func newPacked(c bitCoder) *packed {
	r := newRates()
	return &packed{
		c:      c,
		rates:  r,
		more:   probStart,
		copies: newNumberModel(r),
		insert: newNumberModel(r),
		seek:   newNumberModel(r),
		gap:    newNumberModel(r),
		value:  newByteModel(r),
		text:   newTextModel(r),
	}
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

// byteModel codes bytes in the context of the byte before.
type byteModel struct {
	rates *rates
	last  byte
	probs [256][256]prob
}

func newByteModel(r *rates) *byteModel {
	m := &byteModel{rates: r}
	for i := range m.probs {
		for j := range m.probs[i] {
			m.probs[i][j] = probStart
		}
	}
	return m
}

func (m *byteModel) code(c bitCoder, v byte) byte {
	node := uint32(1)
	for i := 7; i >= 0; i-- {
		p := &m.probs[m.last][node]
		b := c.code(uint32(v)>>uint(i)&1, p.p())
		p.learn(b, m.rates, 250)
		node = node<<1 | b
	}
	m.last = byte(node)
	return m.last
}
