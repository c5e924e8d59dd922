package delta_test

import (
	"bytes"
	"testing"

	"github.com/freshet/freshet/internal/delta"
)

func FuzzApply(f *testing.F) {
	for _, s := range specimens(f) {
		f.Add(s.old, s.patch, uint32(len(s.new)))
		f.Add(s.old, s.patch[:len(s.patch)/2], uint32(len(s.new)))
	}
	f.Add([]byte("old"), []byte{0x10}, uint32(3))
	f.Fuzz(func(t *testing.T, old, patch []byte, size uint32) {
		checkHostile(t, old, patch, int64(size%(4<<20)))
	})
}

func FuzzRoundTrip(f *testing.F) {
	for _, s := range specimens(f) {
		f.Add(s.old, s.new)
		f.Add(s.new, s.old)
	}
	f.Add([]byte("a\nb\nc\n"), []byte("a\nc\nb\n"))
	f.Add(bytes.Repeat([]byte("ab"), 40), bytes.Repeat([]byte("ba"), 50))
	f.Fuzz(func(t *testing.T, old, new []byte) {
		roundTrip(t, old, new, delta.Options{Matchers: []delta.Matcher{delta.Hash{}}})
		if len(old)+len(new) < 4<<10 {
			roundTrip(t, old, new, delta.Options{Matchers: []delta.Matcher{delta.Suffix{}}})
		}
	})
}
