package delta

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

const hashFactor = 0x9e3779b97f4a7c15 // 2^64 divided by the golden ratio

// nearIndex finds words in a short stretch of old. Of equal words it keeps the first.
type nearIndex struct {
	at    []uint32 // offset from base plus generation; stale if below it
	base  int
	gen   uint32
	shift uint
}

func (x *nearIndex) build(old []byte, lo, hi int) {
	size := 1 << bits.Len(uint(max(hi-lo, 0)*2))
	if len(x.at) < size {
		x.at = make([]uint32, size)
		x.gen = 0
		x.shift = uint(64 - bits.Len(uint(size-1)))
	}
	x.gen++
	if x.gen == 1<<16 {
		clear(x.at)
		x.gen = 1
	}
	x.base = lo
	for i := lo; i <= hi; i++ {
		v := binary.LittleEndian.Uint64(old[i:])
		if v == bits.RotateLeft64(v, 8) {
			continue // a run of one byte is found anywhere, which tells nothing
		}
		s := &x.at[v*hashFactor>>x.shift]
		if *s>>16 != x.gen {
			*s = x.gen<<16 | uint32(i-lo)
		}
	}
}

func (x *nearIndex) find(old, b []byte) (int, bool) {
	v := binary.LittleEndian.Uint64(b)
	s := x.at[v*hashFactor>>x.shift]
	if s>>16 != x.gen {
		return 0, false
	}
	i := x.base + int(s&0xffff)
	return i, binary.LittleEndian.Uint64(old[i:]) == v
}

const (
	farWord  = 24 // bytes by which the far index finds
	farEvery = 8  // distance of the places of old that it knows
)

// farIndex finds places in all of old. It knows one in farEvery, so it finds
// every stretch of farWord+farEvery-1 bytes, but one of equal ones.
type farIndex struct {
	at    []uint32 // place / farEvery + 1
	shift uint
}

func newFarIndex(old []byte) *farIndex {
	n := max(len(old)/farEvery, 1)
	size := min(1<<bits.Len(uint(n)), 1<<25)
	x := &farIndex{at: make([]uint32, size), shift: uint(64 - bits.Len(uint(size-1)))}
	// From the end on, so that the first of equal ones stays without a look.
	for i := (len(old) - farWord) / farEvery; i >= 0 && len(old) >= farWord; i-- {
		x.at[farHash(old[i*farEvery:])>>x.shift] = uint32(i) + 1
	}
	return x
}

func farHash(b []byte) uint64 {
	_ = b[farWord-1]
	h := binary.LittleEndian.Uint64(b) * hashFactor
	h = (bits.RotateLeft64(h, 29) ^ binary.LittleEndian.Uint64(b[8:])) * hashFactor
	return (bits.RotateLeft64(h, 29) ^ binary.LittleEndian.Uint64(b[16:])) * hashFactor
}

func (x *farIndex) find(old, b []byte) (int, bool) {
	s := x.at[farHash(b)>>x.shift]
	if s == 0 {
		return 0, false
	}
	i := int(s-1) * farEvery
	return i, bytes.Equal(old[i:i+farWord], b[:farWord])
}
