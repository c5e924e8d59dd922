package delta

// The text model predicts inserted bytes, bit by bit, by mixing the opinions
// of several contexts, as the PAQ family of compressors does. All of it is
// integer arithmetic, so that both ends agree on every machine.
//
// What makes it strong on the few hundred bytes that a delta inserts is the
// old image, which both ends have: before an insertion its surroundings in
// old are learned, and the lines around it are followed as guesses.

const (
	textOrders = 7 // contexts of the last 1, 2, 3, 4 and 6 bytes, of the current word, and of the place in the record
	textInputs = textOrders + 5
	slotBits   = 15  // slots of 16 counters for each order
	fewSlots   = 13  // for large images, whose deltas are small: what is not touched costs no time
	matchBits  = 16  // places by the hash of the last four bytes
	around     = 160 // bytes of old before and after an insertion that are followed

	startWeight = 15000 // of the mix, in 1/65536
	mixRate     = 5     // how fast the weights of the mix change
	sure        = 16    // bytes after which the match decides a byte at once

	learnBudget  = 16 << 10 // bytes of old learned for one delta
	learnWindow  = 8 << 10  // at most these on either side of one insertion
	scanAhead    = 4 << 10  // bytes of old after an insertion in which matches are sought
	scanBudget   = 1 << 20  // bytes of old in which they are; none for large images
	followBudget = 1 << 20  // bytes of old put into the history
)

// counter is an adaptive probability of a one: 12 bits of probability above 4
// of count, flipped at the top so that zero is one half.
type counter uint16

func (c counter) p() int32 { return int32(c^0x8000) >> 4 }

// after returns the counter when bit was seen. There is no branch on the bit,
// which a processor could not foresee.
func (c counter) after(bit uint32, r *rates) counter {
	v := uint32(c ^ 0x8000)
	n := v & 15
	p := int32(v >> 4)
	p += (int32(-bit&4095) - p) * r[n] >> 16
	n += (n - 15) >> 31 // up to 15
	return counter(uint32(p)<<4|n) ^ 0x8000
}

// A slot holds the counters of four bits after one context.
type slot [16]counter

// textModel is used from both ends of the range coder; prepare comes before
// the bytes of each insertion.
type textModel struct {
	*logistic
	slots   [textOrders][]slot
	base    [textOrders]*slot // of the half byte being coded
	last    uint32            // the last four bytes
	older   uint32            // the four before them
	unit    int               // of records
	column  int               // bytes since the record began
	word    uint32            // hash of the current word
	history []byte            // all bytes seen, after one that stands for none
	found   []uint32          // where in the history the same four bytes were followed, 0 is nowhere
	whole   [32]prob          // whether a byte of which the match is sure comes
	match   guess
	before  guess // the line before
	after   guess // the line that follows in old
	afterAt int   // where in the history old goes on after the insertion
	lineAt  int   // where in the history the current line began
	weights [4][textInputs]int32
	bound   [9 * 16]prob // by what both neighbours expect and how long they were right
	input   [textInputs]int32

	learned             int // bytes
	followed            int // bytes
	slotBits, matchBits uint

	learn   int   // most bytes to study
	scan    int   // most bytes to scan
	scanned int   // bytes
	ahead   int64 // old is scanned up to here
	until   int64 // old is learned up to here
}

// newTextModel returns the model for an image of the given size.
func newTextModel(l *logistic, unit int, size int64) *textModel {
	t := &textModel{logistic: l, unit: unit, learn: learnBudget, scan: scanBudget}
	t.slotBits, t.matchBits = tableBits(size, 8, slotBits), tableBits(size, 8, matchBits)
	if size >= largeImage {
		t.slotBits, t.learn, t.scan = fewSlots, learnBudget/2, 0
	}
	for o := range t.slots {
		t.slots[o] = make([]slot, 1<<t.slotBits)
		clear(t.slots[o]) // a page that is read before it is written to costs two faults
	}
	for s := range t.weights {
		for i := range t.weights[s] {
			t.weights[s][i] = startWeight
		}
	}
	t.found = make([]uint32, 1<<t.matchBits)
	t.history = append(make([]byte, 0, 64<<10), 0)
	return t
}

// code codes one inserted byte, or when decoding returns the byte found.
func (t *textModel) code(c bitCoder, v byte) byte {
	if t.match.n >= sure {
		// One decision for the whole byte: nearly as good, and eight times faster.
		expect := t.history[t.match.at]
		var hit uint32
		if v == expect {
			hit = 1
		}
		hit = c.code(hit, t.whole[t.match.n].p())
		t.whole[t.match.n].learn(hit, t.rates, 255)
		if hit != 0 {
			t.seen(expect)
			return expect
		}
		t.match.restart(0)
	}
	set := &t.weights[0]
	switch {
	case t.match.n >= 8:
		set = &t.weights[3]
	case t.match.at > 0:
		set = &t.weights[2]
	case t.after.at > 0 || t.before.at > 0:
		set = &t.weights[1]
	}
	t.match.begin(t.history)
	t.before.begin(t.history)
	t.after.begin(t.history)
	t.place(1)
	t.input[textOrders+4] = 256
	node, low := uint32(1), uint32(1)
	for i := 7; i >= 0; i-- {
		if i == 3 {
			t.place(node)
			low = 1
		}
		in := &t.input
		for o, s := range &t.base {
			in[o] = int32(t.stretch[s[low&15].p()&4095])
		}
		in[textOrders] = t.match.opinion(t, node, i)
		in[textOrders+1] = t.before.opinion(t, node, i)
		in[textOrders+2] = t.after.opinion(t, node, i)
		between := t.between(i)
		in[textOrders+3] = int32(t.stretch[between.p()>>4])
		p := t.squash(dot(in, set))
		b := c.code(uint32(v)>>uint(i)&1, uint32(p))

		train(in, set, (int32(b)<<16-p)*mixRate)
		for _, s := range &t.base {
			s[low&15] = s[low&15].after(b, t.rates)
		}
		between.learn(b, t.rates, 255)
		t.match.learn(t, b, i)
		t.before.learn(t, b, i)
		t.after.learn(t, b, i)
		node, low = node<<1|b, low<<1|b
	}
	v = byte(node)
	t.seen(v)
	return v
}

// between is the probability of a one in bit i, given what the records before
// and after expect there: in a sorted list what comes lies between them.
func (t *textModel) between(i int) *prob {
	c, n := 0, 0
	if t.before.live {
		c, n = 3+3*int(t.before.expect>>uint(i)&1), t.before.n
	}
	if t.after.live {
		c += 1 + int(t.after.expect>>uint(i)&1)
		n = max(n, t.after.n)
	}
	return &t.bound[c<<4|min(n, 15)]
}

// dot weighs and adds the inputs.
func dot(in, set *[textInputs]int32) int64 {
	return int64(in[0])*int64(set[0]) + int64(in[1])*int64(set[1]) + int64(in[2])*int64(set[2]) + int64(in[3])*int64(set[3]) +
		int64(in[4])*int64(set[4]) + int64(in[5])*int64(set[5]) + int64(in[6])*int64(set[6]) + int64(in[7])*int64(set[7]) +
		int64(in[8])*int64(set[8]) + int64(in[9])*int64(set[9]) + int64(in[10])*int64(set[10]) + int64(in[11])*int64(set[11])
}

// train moves the weights towards the inputs that were right.
func train(in, set *[textInputs]int32, err int32) {
	for k := range set {
		set[k] += (in[k]*err + 1<<17) >> 18
	}
}

// place finds the slots for the byte's upper half (node 1) or lower half.
func (t *textModel) place(node uint32) {
	ctx := [textOrders]uint32{t.last & 0xff, t.last & 0xffff, t.last & 0xffffff, t.last, (t.older&0xffff)*0x2c1b3c6d + t.last, t.word, uint32(min(t.column, 255))}
	if t.unit > unitBytes {
		column, above := uint32(t.column), uint32(t.history[max(len(t.history)-t.unit, 0)])
		ctx[4], ctx[5], ctx[6] = column<<8|above, column<<8|t.last&0xff, column<<16|above<<8|t.last&0xff
	}
	for o, x := range ctx {
		h := x*0x9e3779b1 ^ node*0x85ebca6b
		h ^= h >> 15
		h *= 0xc2b2ae35
		s := &t.slots[o][h>>(32-t.slotBits)]
		if check := counter(h); s[0] != check {
			*s = slot{check}
		}
		t.base[o] = s
	}
}

// seen takes note of a byte that was coded.
func (t *textModel) seen(v byte) {
	t.match.next(v, t.history)
	t.before.next(v, t.history)
	t.after.next(v, t.history)
	t.remember(v)
	if t.column == 0 {
		t.before.restart(t.lineAt)
		t.lineAt = len(t.history)
		t.after.restart(t.afterAt)
	}
	if t.match.at == 0 {
		if at := int(t.found[t.hash()]); at > 0 {
			t.match.restart(at)
		}
	}
	t.found[t.hash()] = uint32(len(t.history))
}

func (t *textModel) hash() uint32 { return t.last * 0x9e3779b1 >> (32 - t.matchBits) }

// remember appends v to the contexts.
func (t *textModel) remember(v byte) {
	t.history = append(t.history, v)
	if t.column++; v == '\n' && t.unit <= unitBytes || t.column == t.unit && t.unit > unitBytes {
		t.column = 0
	}
	t.older = t.older<<8 | t.last>>24
	t.last = t.last<<8 | uint32(v)
	if v|0x20 >= 'a' && v|0x20 <= 'z' || v >= '0' && v <= '9' || v >= 0x80 {
		t.word = (t.word + uint32(v) + 1) * 0x2c1b3c6d
	} else {
		t.word = 0
	}
}

// prepare learns what surrounds an insertion at pos of an old image of the
// given size. read returns a stretch of it.
func (t *textModel) prepare(pos, size int64, read func(at, n int64) ([]byte, error)) error {
	if w := int64(min(learnWindow, (t.learn-t.learned)/8)); w >= 64 {
		lo, hi := max(pos-w, t.until, 0), min(pos+w, size)
		if lo < hi {
			b, err := read(lo, hi-lo)
			if err != nil {
				return err
			}
			t.phase(lo)
			t.study(b)
			t.until = hi
		}
	}
	if t.followed >= followBudget {
		return nil
	}
	lo, hi := max(pos-around, 0), min(pos+around, size)
	if from, to := max(hi, t.ahead), min(pos+scanAhead, size); from < to && t.scanned+int(to-from) <= t.scan {
		b, err := read(from, to-from)
		if err != nil {
			return err
		}
		t.scanned += len(b)
		t.phase(from)
		for _, v := range b {
			t.remember(v)
			t.found[t.hash()] = uint32(len(t.history))
		}
		t.ahead = to
	}
	b, err := read(lo, hi-lo)
	if err != nil {
		return err
	}
	t.phase(pos)
	t.follow(b[pos-lo:], b[:pos-lo], lo)
	return nil
}

// phase sets the column for a place in old, where records have one size.
func (t *textModel) phase(at int64) {
	if t.unit > unitBytes {
		t.column = int(at % int64(t.unit))
	}
}

// study learns b as if it had been coded.
func (t *textModel) study(b []byte) {
	t.learned += len(b)
	for _, v := range b {
		t.place(1)
		node, low := uint32(1), uint32(1)
		for i := 7; i >= 0; i-- {
			if i == 3 {
				t.place(node)
				low = 1
			}
			bit := uint32(v) >> uint(i) & 1
			for _, s := range &t.base {
				s[low&15] = s[low&15].after(bit, t.rates)
			}
			node, low = node<<1|bit, low<<1|bit
		}
		t.remember(v)
		t.found[t.hash()] = uint32(len(t.history))
	}
}

// follow sets the guesses to the lines of old after and before an insertion.
func (t *textModel) follow(after, before []byte, from int64) {
	t.followed += len(after) + len(before)
	t.afterAt = len(t.history)
	for _, v := range after {
		t.remember(v)
		t.found[t.hash()] = uint32(len(t.history))
	}
	t.phase(from)
	line, prev := len(t.history), 0
	for _, v := range before {
		t.remember(v)
		t.found[t.hash()] = uint32(len(t.history))
		if t.column == 0 {
			prev, line = line, len(t.history)
		}
	}
	t.lineAt = line
	if line < len(t.history) {
		prev = 0 // within a line
	}
	t.before.restart(prev)
	t.after.restart(t.afterAt)
	t.match.restart(0)
}
