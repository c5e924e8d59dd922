package delta

import (
	"encoding/binary"
	"io"
)

// The range coder is the carryless binary arithmetic coder of Mahoney's
// PAQ family, widened to 64 bits. An interval [low, high] is split by each
// bit in proportion to its probability; leading bytes on which both ends
// agree are final and leave. 64 bits make the loss at the few places where
// the interval straddles a byte boundary too small to measure.
//
// Beyond its last byte a coded stream reads as zeros, so the encoder leaves
// off what zeros would say: a stream of a few symbols has one byte of overhead.

// probBits is the precision of a probability: 1<<16 is certainty.
const probBits = 16

// readAhead is how many bytes a decoder holds beyond those that are decided.
const readAhead = 8

type rangeEncoder struct {
	low, high uint64
	out       []byte
}

func newRangeEncoder() *rangeEncoder {
	return &rangeEncoder{high: ^uint64(0)}
}

// encode codes bit, where p1 in (0, 1<<16) is the probability of a one.
func (e *rangeEncoder) encode(bit, p1 uint32) {
	mid := e.low + (e.high-e.low)>>probBits*uint64(p1)
	if bit != 0 {
		e.high = mid
	} else {
		e.low = mid + 1
	}
	for (e.low^e.high)>>56 == 0 {
		e.out = append(e.out, byte(e.low>>56))
		e.low <<= 8
		e.high = e.high<<8 | 0xff
	}
}

// finish returns the stream, ended by the shortest bytes that fall into the
// interval when zeros follow.
func (e *rangeEncoder) finish() []byte {
	for n := 0; n <= 8; n++ {
		// The smallest number ≥ low whose last 8-n bytes are zero.
		var mask uint64
		if n < 8 {
			mask = ^uint64(0) >> (8 * uint(n))
		}
		v := (e.low + mask) &^ mask
		if v < e.low && e.low != 0 || v > e.high {
			continue // carried out of 64 bits, or beyond the interval
		}
		var b [8]byte
		binary.BigEndian.PutUint64(b[:], v)
		e.out = append(e.out, b[:n]...)
		break
	}
	for len(e.out) > 0 && e.out[len(e.out)-1] == 0 {
		e.out = e.out[:len(e.out)-1]
	}
	return e.out
}

// rangeDecoder reads what rangeEncoder wrote. Its errors are sticky: after
// one, bits are zeros and err says why.
type rangeDecoder struct {
	low, high, x uint64
	in           io.ByteReader
	beyond       int // bytes read past the end
	err          error
}

func newRangeDecoder(in io.ByteReader) *rangeDecoder {
	d := &rangeDecoder{high: ^uint64(0), in: in}
	for range readAhead {
		d.x = d.x<<8 | uint64(d.next())
	}
	return d
}

func (d *rangeDecoder) next() byte {
	if d.beyond == 0 {
		b, err := d.in.ReadByte()
		if err == nil {
			return b
		}
		if err != io.EOF && d.err == nil {
			d.err = err
		}
	}
	d.beyond++
	if d.beyond > readAhead && d.err == nil {
		d.err = corrupt("the packed stream ends too early")
	}
	return 0
}

func (d *rangeDecoder) decode(p1 uint32) uint32 {
	mid := d.low + (d.high-d.low)>>probBits*uint64(p1)
	var bit uint32
	if d.x <= mid {
		bit = 1
		d.high = mid
	} else {
		d.low = mid + 1
	}
	for (d.low^d.high)>>56 == 0 {
		d.low <<= 8
		d.high = d.high<<8 | 0xff
		d.x = d.x<<8 | uint64(d.next())
	}
	return bit
}

// bitCoder is either end of the range coder, so that each model is written
// once: code returns the bit that was coded, which is the given one when
// encoding.
type bitCoder interface {
	code(bit, p1 uint32) uint32
}

func (e *rangeEncoder) code(bit, p1 uint32) uint32 { e.encode(bit, p1); return bit }
func (d *rangeDecoder) code(_, p1 uint32) uint32   { return d.decode(p1) }

// prob is an adaptive probability of a one: 22 bits of probability above 10
// bits of count, flipped at the top so that zero is one half. It learns fast at
// first (2/3, 2/5, 2/7, … of the way) and slower later.
type prob uint32

const probFlip = 1 << 31

// rates[n] is how far a probability that has seen n bits moves towards the
// next one, in 1/65536.
type rates [256]int32

func newRates() *rates {
	var r rates
	for n := range r {
		r[n] = int32(1 << 17 / (2*n + 3))
	}
	return &r
}

// p returns the probability in 1/65536, never 0 nor 65536.
func (p prob) p() uint32 {
	return max(1, (uint32(p)^probFlip)>>16)
}

// learn moves the probability towards bit. limit, at most 255, bounds the
// count and so the slowest rate.
func (p *prob) learn(bit uint32, r *rates, limit uint32) {
	v := uint32(*p) ^ probFlip
	n := v & 1023
	was := int64(v >> 10)
	is := was + (int64(-bit&(1<<22-1))-was)*int64(r[n&255])>>16
	if n < limit {
		n++
	}
	*p = prob(uint32(is)<<10|n) ^ probFlip
}
