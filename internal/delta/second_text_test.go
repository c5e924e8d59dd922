package delta_test

import "math/bits"

func (s *second) sparse(x byte) byte {
	p := uint32(0)
	for _, b := range s.out[max(0, len(s.out)-4):] {
		p = p<<8 | uint32(b)
	}
	d, m, o := uint32(s.near), uint32(min(s.near, 4)), uint32(x)
	if s.near == 32 {
		if s.quiet == unknown {
			if s.quiet = s.number(gap+min(bits.Len(uint(s.before)), 7), false) - 1; s.quiet < 0 {
				s.quiet = endless
			}
		}
		if s.quiet > 0 {
			s.quiet--
			return x
		}
		s.quiet = unknown
	} else if s.mixed(differs, s.near, 0, [6]uint32{d<<8 | uint32(min(s.before, 31)), d<<8 | o, m<<16 | (p&255)<<8 | o,
		m<<16 | p&0xffff, s.recent & 0xffffff, (p & 0xffffff) ^ m<<24}) == 0 {
		s.near, s.recent = s.near+1, s.recent<<1
		return x
	}
	u, a := uint32(0), s.values
	if s.near == 0 {
		u = 1
	}
	node := 1
	for i := range 8 {
		node = node<<1 | s.mixed(value, i, node, [6]uint32{a&255 | u<<8, a&0xffff | u<<16, a&255 | o<<8 | d<<16,
			o<<8 | p&255 | u<<16, a&0xffffff | u<<24, o ^ p<<8})
	}
	s.values, s.before, s.near, s.recent = a<<8|uint32(node&255), s.near, 0, s.recent<<1|1
	return x + byte(node)
}

func (s *second) bits(least, most int) int { return max(least, min(bits.Len(uint(s.size)), most)) }

func (s *second) mixed(kind, set, node int, contexts [6]uint32) int {
	var in []int64
	var chosen []*bit22
	for i, c := range contexts {
		h := c * 0x9e3779b1
		place := h >> (32 - s.bits(8, 16))
		if node > 0 {
			place = (h ^ uint32(node)*0x85ebca6b) * 0xc2b2ae35 >> (30 - s.bits(8, 16))
		}
		b := s.adaptive(key{kind + i, int(place)}, false)
		chosen, in = append(chosen, b), append(in, stretch2(b.v>>10))
	}
	bit := s.mix(in, key{kind, set}, 21845)
	for _, b := range chosen {
		b.learn(bit, 250)
	}
	return int(bit)
}

// mix decodes a bit by the inputs and a set of weights.
func (s *second) mix(in []int64, set key, first int64) int64 {
	w := s.weights[set]
	sum := int64(0)
	for i := range in {
		if len(w) <= i {
			w = append(w, first)
		}
		sum += in[i] * w[i]
	}
	s.weights[set] = w
	p := squash2(sum >> 16)
	bit := s.decode(p)
	for i := range in {
		w[i] += (in[i]*(bit<<16-p)*5 + 1<<17) >> 18
	}
	return bit
}

func squash2(x int64) int64 {
	t := []int64{22, 36, 60, 98, 162, 267, 439, 720, 1179, 1921, 3108, 4971, 7812, 11955, 17625, 24743, 32768, 40793, 47911,
		53581, 57724, 60565, 62428, 63615, 64357, 64816, 65097, 65269, 65374, 65438, 65476, 65500, 65514}
	x = max(-2047, min(x, 2047)) + 2048
	return t[x>>7] + (t[x>>7+1]-t[x>>7])*(x&127)>>7
}

func stretch2(c int64) int64 {
	lo, hi := int64(-2047), int64(2047)
	for lo < hi {
		if mid := (lo + hi) >> 1; squash2(mid)>>4 >= c {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}

type guess2 struct{ at, g int }

type secondText struct {
	*second
	history                    []byte
	last, older, word          uint32
	column, line, oldAfter     int
	slots                      map[key]*slot2
	found                      map[uint32]int
	guesses                    [3]guess2 // match, before, after
	studied, scanned, followed int
	studiedTo, scannedTo       int
}

func (t *secondText) remember(b byte) (ends bool) {
	t.history = append(t.history, b)
	t.older, t.last = t.older<<8|t.last>>24, t.last<<8|uint32(b)
	if b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b >= 128 {
		t.word = (t.word + uint32(b) + 1) * 0x2c1b3c6d
	} else {
		t.word = 0
	}
	t.column++
	if ends = t.unit < 2 && b == '\n' || t.unit > 1 && t.column == t.unit; ends {
		t.column = 0
	}
	return ends
}

func (t *secondText) hash() uint32 { return t.last * 0x9e3779b1 >> (32 - t.bits(8, 16)) }

// take remembers old[from:to], which learns first if study is set, and returns
// where the last two records that end in it began and it ends.
func (t *secondText) take(from, to int, study bool) (prev, line int) {
	if line = len(t.history); t.unit > 1 {
		t.column = from % t.unit
	}
	for _, b := range t.old[from:to] {
		for half := range 2 {
			if !study {
				break
			}
			node := 1
			if half == 1 {
				node = 16 + int(b>>4)
			}
			slots, low := t.place(node), 1
			for i := 3; i >= 0; i-- {
				bit := int64(b) >> (4*(1-half) + i) & 1
				for _, s := range slots {
					s.c[low].learn(bit)
				}
				low = low<<1 | int(bit)
			}
		}
		if t.remember(b) {
			prev, line = line, len(t.history)
		}
		t.found[t.hash()] = len(t.history)
	}
	return prev, line
}

func (t *secondText) prepare(pos int) {
	large, end := t.size >= 1<<25, len(t.old)
	limit := 16384
	if large {
		limit = 8192
	}
	if w := min(8192, (limit-t.studied)/8); w >= 64 {
		if from, to := max(pos-w, t.studiedTo, 0), min(pos+w, end); from < to {
			t.studied, t.studiedTo = t.studied+to-from, to
			t.take(from, to, true)
		}
	}
	if t.followed >= 1<<20 {
		return
	}
	if from, to := max(min(pos+160, end), t.scannedTo), min(pos+4096, end); !large && from < to && t.scanned+to-from <= 1<<20 {
		t.scanned, t.scannedTo = t.scanned+to-from, to
		t.take(from, to, false)
	}
	t.oldAfter = len(t.history)
	t.take(pos, min(pos+160, end), false)
	var prev int
	prev, t.line = t.take(max(pos-160, 0), pos, false)
	if t.line < len(t.history) {
		prev = 0
	}
	t.followed += min(pos+160, end) - max(pos-160, 0)
	t.guesses = [3]guess2{{}, {at: prev}, {at: t.oldAfter}}
}

func (c *ctr12) learn(bit int64) {
	c.c += (bit*4095 - c.c) * rate(c.k) >> 16
	c.k = min(c.k+1, 15)
}

func (t *secondText) place(node int) (slots []*slot2) {
	c := []uint32{t.last & 0xff, t.last & 0xffff, t.last & 0xffffff, t.last, t.older&0xffff*0x2c1b3c6d + t.last, t.word, uint32(min(t.column, 255))}
	if t.unit > 1 {
		column, above, one := uint32(t.column), uint32(t.history[max(0, len(t.history)-t.unit)]), t.last&0xff
		copy(c[4:], []uint32{column<<8 | above, column<<8 | one, column<<16 | above<<8 | one})
	}
	for i, x := range c {
		h := x*0x9e3779b1 ^ uint32(node)*0x85ebca6b
		h = (h ^ h>>15) * 0xc2b2ae35
		k := key{i, int(h >> (32 - t.bits(8, 15)))}
		if s := t.slots[k]; s == nil || s.check != h&0xffff {
			t.slots[k] = &slot2{check: h & 0xffff}
			for j := range t.slots[k].c {
				t.slots[k].c[j].c = 2048
			}
		}
		slots = append(slots, t.slots[k])
	}
	return slots
}

func (t *secondText) byte() byte {
	if m := t.guesses[0]; m.g >= 16 {
		if t.simple(key{sure, m.g}, false, 255) == 1 {
			return t.seen(t.history[m.at])
		}
		t.guesses[0] = guess2{}
	}
	set := 0
	switch g := t.guesses; {
	case g[0].g >= 8:
		set = 3
	case g[0].at > 0:
		set = 2
	case g[1].at > 0 || g[2].at > 0:
		set = 1
	}
	slots, node, low := t.place(1), 1, 1
	for i := 7; i >= 0; i-- {
		if i == 3 {
			slots, low = t.place(node), 1
		}
		var in []int64
		for _, s := range slots {
			in = append(in, stretch2(s.c[low].c))
		}
		learn, expects, g := map[*bit22]int{}, [3]int{}, 0
		for j, v := range t.guesses {
			if in = append(in, 0); v.at == 0 || v.at >= len(t.history) || (int(t.history[v.at])|256)>>(i+1) != node {
				continue
			}
			e := int(t.history[v.at]) >> i & 1
			b := t.adaptive(key{right + j, e, min(v.g, 15)}, false)
			in[7+j], learn[b], expects[j] = stretch2(b.v>>10)*int64(2*e-1), e, e+1
			if j > 0 {
				g = max(g, min(v.g, 15))
			}
		}
		b := t.adaptive(key{between, expects[1], expects[2], g}, false)
		bit := t.mix(append(in, stretch2(b.v>>10), 256), key{100, set}, 15000)
		for _, s := range slots {
			s.c[low].learn(bit)
		}
		b.learn(bit, 255)
		for b, e := range learn {
			b.learn(1^bit^int64(e), 255)
		}
		node, low = node<<1|int(bit), low<<1|int(bit)
	}
	return t.seen(byte(node))
}

func (t *secondText) seen(b byte) byte {
	for i, g := range t.guesses {
		if t.guesses[i] = (guess2{}); g.at > 0 && g.at < len(t.history) && t.history[g.at] == b {
			t.guesses[i] = guess2{g.at + 1, min(g.g+1, 31)}
		}
	}
	if t.remember(b) {
		t.guesses[1], t.guesses[2] = guess2{at: t.line}, guess2{at: t.oldAfter}
		t.line = len(t.history)
	}
	if t.guesses[0].at == 0 {
		t.guesses[0] = guess2{at: t.found[t.hash()]}
	}
	t.found[t.hash()] = len(t.history)
	return b
}
