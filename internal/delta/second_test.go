package delta_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"io"
	"math/bits"
	"os"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// TestSecondApplier reads the vectors by an applier that shares no code with the package: second was
// written from docs/design.md alone. It is for reading beside that page, holds all in memory, looks
// models up in maps and panics on a corrupt delta.
func TestSecondApplier(t *testing.T) {
	b, err := os.ReadFile(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	var vs []vector
	if err := json.Unmarshal(b, &vs); err != nil {
		t.Fatal(err)
	}
	for _, v := range vs {
		out := newSecond(unhex(t, v.Old), unhex(t, v.Delta), v.Size).apply()
		if sum := sha256.Sum256(out); hex.EncodeToString(sum[:]) != v.SHA256 {
			t.Errorf("%s: the outcome, %d bytes, has hash %x", v.Name, len(out), sum)
		}
	}
}

type (
	key   [4]int               // what an adaptive bit is chosen by: kind, then contexts
	bit22 struct{ v, k int64 } // adaptive bit
	ctr12 struct{ c, k int64 } // counter
	slot2 struct {             // of counters
		check uint32
		c     [16]ctr12
	}
)

type second struct {
	in, old, out, dense, section []byte
	low, high, x                 uint64
	at, size, unit, pos          int
	flags                        byte
	bit                          map[key]*bit22
	weights                      map[key][]int64
	near, before, quiet          int
	recent, values               uint32
	text                         *secondText
}

const unknown, endless = -1, 1 << 60

func newSecond(old, in []byte, size int) *second {
	s := &second{in: in, old: old, size: size, unit: 1, flags: in[0] & 15, high: ^uint64(0), near: 32, quiet: unknown,
		bit: map[key]*bit22{}, weights: map[key][]int64{}, at: 1}
	varint := func() int { v, n := binary.Uvarint(in[s.at:]); s.at += n; return int(v) }
	if s.flags&8 != 0 {
		s.unit = varint()
	}
	var coder, raw, stored [2]int
	for i := range 2 {
		if s.flags&(2<<i) != 0 {
			coder[i], raw[i], stored[i] = varint(), varint(), varint()
		}
	}
	for i, into := range []*[]byte{&s.dense, &s.section} {
		*into = in[s.at : s.at+stored[i]]
		if s.at += stored[i]; coder[i] == 1 {
			log := max(10, min(bits.Len(uint(raw[i]-1)), 20+3*i))
			d, err := zstd.NewReader(io.MultiReader(bytes.NewReader([]byte{0x28, 0xb5, 0x2f, 0xfd, 0, byte(log-10) << 3}), bytes.NewReader(*into)))
			if err != nil {
				panic(err)
			}
			defer d.Close()
			if *into, err = io.ReadAll(d); err != nil {
				panic(err)
			}
		}
	}
	for range 8 {
		s.x = s.x<<8 | s.next()
	}
	s.text = &secondText{second: s, history: []byte{0}, slots: map[key]*slot2{}, found: map[uint32]int{}}
	return s
}

func (s *second) next() uint64 {
	if s.at++; s.at > len(s.in) {
		return 0
	}
	return uint64(s.in[s.at-1])
}

func (s *second) decode(p int64) int64 {
	mid, bit := s.low+(s.high-s.low)>>16*uint64(p), int64(0)
	if s.x <= mid {
		s.high, bit = mid, 1
	} else {
		s.low = mid + 1
	}
	for s.low>>56 == s.high>>56 {
		s.low, s.high, s.x = s.low<<8, s.high<<8|255, s.x<<8|s.next()
	}
	return bit
}

func rate(k int64) int64 { return 1 << 17 / (2*k + 3) }

func (s *second) adaptive(k key, unlikely bool) *bit22 {
	if s.bit[k] == nil {
		s.bit[k] = &bit22{v: 1 << 21}
		if unlikely {
			*s.bit[k] = bit22{1 << 17, 5}
		}
	}
	return s.bit[k]
}

func (b *bit22) learn(bit, limit int64) {
	b.v += (bit*(1<<22-1) - b.v) * rate(b.k) >> 16
	b.k = min(b.k+1, limit)
}

func (s *second) simple(k key, unlikely bool, limit int64) int {
	b := s.adaptive(k, unlikely)
	bit := s.decode(max(1, b.v>>6))
	b.learn(bit, limit)
	return int(bit)
}

// Kinds of adaptive bits.
const (
	more = iota
	copies
	insert
	seek
	move
	gap     // to gap+7
	differs = iota + 10
	value   = differs + 10
	sure    = value + 10
	right   = sure + 1
	between = right + 3
)

func (s *second) number(kind int, few bool) int {
	node := 1
	for range 6 {
		node = node<<1 | s.simple(key{kind, node}, node == 1 || few && (node == 2 || node == 4 || node == 8), 60)
	}
	w, v := node&63, 1
	for i := range w {
		if i < 2 {
			v = v<<1 | s.simple(key{kind, 100 + w, v}, false, 60)
		} else {
			v = v<<1 | int(s.decode(32768))
		}
	}
	return v - 1
}

func (s *second) length(kind int, few, signed bool) int {
	rest, unit := 0, max(s.unit, 1)
	if unit > 1 && kind != move {
		node, n := 1, bits.Len(uint(unit-1))
		for range n {
			node = node<<1 | s.simple(key{kind, -1, node}, false, 60)
		}
		rest = node - 1<<n
	} else {
		unit = 1
	}
	q := s.number(kind, few)
	if signed {
		q = q>>1 ^ -(q & 1)
	}
	return q*unit + rest
}

func (s *second) apply() []byte {
	for s.simple(key{more}, false, 60) == 0 {
		c, lines := s.length(copies, false, false), s.unit == 0
		if lines {
			c = linesIn(s.old[s.pos:], c)
		}
		s.copy(c)
		i := s.length(insert, lines, false)
		by := s.length(seek, lines, !lines)
		if i > 0 && s.flags&4 == 0 {
			s.text.prepare(s.pos)
		}
		for left := i; left > 0 && len(s.out) < s.size; {
			b := byte(0)
			if s.flags&4 != 0 {
				b, s.section = s.section[0], s.section[1:]
			} else {
				b = s.text.byte()
			}
			if s.out = append(s.out, b); !lines || s.flags&4 != 0 || b == '\n' {
				left--
			}
		}
		if lines {
			k := by
			if by = linesIn(s.old[s.pos:], k); i == 0 && k == 0 {
				by = s.length(move, false, true)
			}
		}
		s.pos += by
	}
	s.copy(s.size - len(s.out))
	return s.out
}

// linesIn is the length of the first n lines of b.
func linesIn(b []byte, n int) int {
	at := 0
	for ; n > 0; n-- {
		if i := bytes.IndexByte(b[at:], '\n'); i >= 0 {
			at += i + 1
		} else {
			at = len(b)
		}
	}
	return at
}

func (s *second) copy(n int) {
	for _, b := range s.old[s.pos : s.pos+n] {
		if s.flags&2 != 0 {
			b, s.dense = b+s.dense[0], s.dense[1:]
		} else if s.flags&1 != 0 {
			b = s.sparse(b)
		}
		s.out, s.pos = append(s.out, b), s.pos+1
	}
}
