package delta

import "math/bits"

// The difference model says which copied bytes differ, and by what. In
// programs differences come in swarms, as the addresses after an inserted
// function all move by the same amount. So after each difference the next
// bytes are asked one by one whether they differ too, given what surrounds
// them; where reach of them do not, the number of equal bytes that follow is
// coded at once, so that long equal stretches cost nothing.
const (
	reach      = 32
	diffInputs = 6
	flagBits   = 16 // at most, log2 of the contexts of "differs" for each input
	valueBits  = 2  // as many more for values

	// maxDiffs bounds the work: a difference takes up to a microsecond.
	maxDiffs = 4 << 20
)

type diffModel struct {
	*logistic
	gaps    [8]*numberModel
	flags   [diffInputs][]prob
	values  [diffInputs][]prob
	bits    uint // log2 of the places of a table of flags
	flagSet [reach][diffInputs]int32
	valSet  [8][diffInputs]int32

	near   int    // equal bytes since the last difference
	before int    // those before it
	recent uint32 // which of the last 32 bytes differed
	last   uint32 // the last four values, newest lowest
	count  int
}

// newDiffModel returns the model for an image of the given size.
func newDiffModel(l *logistic, size int64) *diffModel {
	m := &diffModel{logistic: l, near: reach, bits: tableBits(size, 8, flagBits)}
	for i := range m.gaps {
		m.gaps[i] = newNumberModel(l.rates)
	}
	for i := range diffInputs {
		m.flags[i] = make([]prob, 1<<m.bits)
		m.values[i] = make([]prob, 1<<(m.bits+valueBits))
		for k := range m.flagSet {
			m.flagSet[k][i] = 65536 / 3
		}
		for k := range m.valSet {
			m.valSet[k][i] = 65536 / 3
		}
	}
	return m
}

// gap codes the number of equal bytes before the next difference plus one, or
// 0 after the last one.
func (m *diffModel) gap(c bitCoder, n uint64) uint64 {
	return m.gaps[min(bits.Len(uint(m.before)), len(m.gaps)-1)].code(c, n)
}

// differs codes whether the next byte does. x is the old byte, p the four
// bytes of new before it, newest lowest.
func (m *diffModel) differs(c bitCoder, bit uint32, x byte, p uint32) bool {
	i := uint32(m.near)
	few := min(i, 4)
	ctx := [diffInputs]uint32{
		i<<8 | uint32(min(m.before, 31)),
		i<<8 | uint32(x),
		few<<16 | p&0xff<<8 | uint32(x),
		few<<16 | p&0xffff,
		m.recent & 0xffffff,
		p&0xffffff ^ few<<24,
	}
	var slot [diffInputs]*prob
	for k, v := range ctx {
		slot[k] = &m.flags[k][v*0x9e3779b1>>(32-m.bits)]
	}
	return m.mix(c, bit, &slot, &m.flagSet[i]) != 0
}

// pass takes note that the next byte does not differ.
func (m *diffModel) pass() {
	m.near++
	m.recent <<= 1
}

// value codes the difference of the next byte.
func (m *diffModel) value(c bitCoder, v, x byte, p uint32) byte {
	i := uint32(min(m.near, reach))
	touching := uint32(0)
	if i == 0 {
		touching = 1
	}
	ctx := [diffInputs]uint32{
		m.last&0xff | touching<<8,
		m.last&0xffff | touching<<16,
		m.last&0xff | uint32(x)<<8 | i<<16,
		uint32(x)<<8 | p&0xff | touching<<16,
		m.last&0xffffff | touching<<24,
		uint32(x) ^ p<<8,
	}
	for k := range ctx {
		ctx[k] *= 0x9e3779b1
	}
	node := uint32(1)
	for b := range m.valSet {
		var slot [diffInputs]*prob
		for k, h := range ctx {
			h = (h ^ node*0x85ebca6b) * 0xc2b2ae35
			slot[k] = &m.values[k][h>>(32-m.bits-valueBits)]
		}
		node = node<<1 | m.mix(c, uint32(v)>>(7-b)&1, &slot, &m.valSet[b])
	}
	m.last = m.last<<8 | node&255
	m.before, m.near = m.near, 0
	m.recent = m.recent<<1 | 1
	return byte(node)
}

func (m *diffModel) mix(c bitCoder, bit uint32, slot *[diffInputs]*prob, set *[diffInputs]int32) uint32 {
	var in [diffInputs]int32
	sum := int64(0)
	for k, s := range slot {
		in[k] = int32(m.stretch[s.p()>>4])
		sum += int64(in[k]) * int64(set[k])
	}
	p := m.squash(sum)
	bit = c.code(bit, uint32(p))
	err := (int32(bit)<<16 - p) * mixRate
	for k, s := range slot {
		set[k] += (in[k]*err + 1<<17) >> 18
		s.learn(bit, m.rates, 250)
	}
	return bit
}
