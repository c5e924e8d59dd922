package delta

import "math/bits"

// numberModel codes whole numbers. A number n ≥ 0 is coded as the bit length
// of n+1 (by a binary tree of adaptive bits), then the bits below its top
// bit: the first two adaptive, the rest as they are.
type numberModel struct {
	rates  *rates
	length [64]prob
	upper  [64][4]prob
}

// numberLimit lets the bits of numbers go on learning: they drift.
const numberLimit = 60

func newNumberModel(r *rates) *numberModel {
	m := &numberModel{rates: r}
	m.reset()
	return m
}

func (m *numberModel) reset() {
	m.length[1] = unlikely // 2^32 and above
}

// few makes small numbers likely from the start.
func (m *numberModel) few() {
	for node := 1; node < 16; node <<= 1 {
		m.length[node] = unlikely
	}
}

// unlikely is one in 32, held for sure as if five bits had been seen.
const unlikely prob = (1<<27 | 5) ^ probFlip

// code codes n, or when decoding returns the number found. 0 ≤ n < 1<<62.
func (m *numberModel) code(c bitCoder, n uint64) uint64 {
	n++
	width := uint32(bits.Len64(n)) - 1 // bits below the top one, 0..62
	node := uint32(1)
	for i := 5; i >= 0; i-- {
		b := c.code(width>>uint(i)&1, m.length[node].p())
		m.length[node].learn(b, m.rates, numberLimit)
		node = node<<1 | b
	}
	width = node & 63
	v := uint64(1)
	for i := int(width) - 1; i >= 0; i-- {
		b := uint32(n>>uint(i)) & 1
		if depth := int(width) - 1 - i; depth < 2 {
			ctx := &m.upper[width][v-1]
			b = c.code(b, ctx.p())
			ctx.learn(b, m.rates, numberLimit)
		} else {
			b = c.code(b, 1<<(probBits-1))
		}
		v = v<<1 | uint64(b)
	}
	return v - 1
}
