// Package delta makes and applies binary deltas between versions of an image.
//
// A delta is a list of operations, as in bsdiff (Percival, 2003): copy bytes of
// the old image, adding differences to some of them; insert bytes; move in the
// old image. The copy of what remains at the end is not written down.
//
//	old  ┌──────────────┬───┬────────────────┐
//	     │              │///│                │      /// seek: left out
//	     └──────────────┴───┴────────────────┘
//	            │copy 1            │copy 2 (the end, implied)
//	     ┌──────▼───────┬──────┬───▼────────────┐
//	new  │         ±    │insert│                │   ± difference
//	     └──────────────┴──────┴────────────────┘
//
// In a file, all but mass data is one stream of a range coder, in which each
// kind of number has a model of its own and inserted text is predicted from
// the old image around it; the 40 bytes that an hour adds to a base of 61 MB
// take about 20. Columns that are large have a section each, in zstd.
//
//	┌────────┬───────────┬───────────────────────┬───────────────┬───────────────┬───────────────┐
//	│ 1 byte │ unit      │ coder, raw, stored    │ differences   │ inserts       │ packed stream │
//	│ 0x1F   │ (F has 8) │ for each section      │ (if F has 2)  │ (if F has 4)  │ to the end    │
//	└────────┴───────────┴───────────────────────┴───────────────┴───────────────┴───────────────┘
//
// Read on, in this order: container.go, the file; encode.go and pack.go, from
// operations to a delta, and apply.go back; match_hash.go and match_bsdiff.go,
// where operations come from; records.go, why they count lines; and for those
// who like small numbers rangecoder.go, numbers.go, diffs.go and text.go.
//
// Sizes and hashes of old, new and delta stand in the signed manifest, so that
// none is here. docs/design.md describes each byte.
//
// [Make] runs where images are published, in memory, with the images mapped.
// [Apply] runs on endpoints: it streams, its memory is bounded, and it takes
// the delta for hostile.
package delta

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
)

// Options tune Make. The zero value chooses by size.
type Options struct {
	// Matchers are tried in turn and the smallest delta is kept. Nil: the hash
	// matcher, and the suffix matcher too where the images are small.
	Matchers []Matcher
	// Progress, if set, is told how much of the work is done.
	Progress func(done, total int64)
}

// Stats say how a delta was made.
type Stats struct {
	Matcher  string // whose operations were kept; "" for a full image
	Size     int64  // bytes of the delta
	Ops      int    // operations, without the copy at the end
	Inserted int64  // bytes of new that were not copied from old
}

// A Matcher finds a way from old to new.
type Matcher interface {
	Name() string
	Match(ctx context.Context, old, new []byte) ([]Op, error)
}

// The largest images for which the suffix matcher is tried by default. In text
// it was not seen to win over the hash matcher, in programs it does.
const (
	suffixText   = 512 << 10
	suffixBinary = 24 << 20
)

// tiny is the part of new below which a delta is small enough by default: the
// suffix matcher, at seconds a megabyte, could save a few hundred bytes at most.
const tiny = 1.0 / 8192

func choose(old, new []byte) []Matcher {
	limit := suffixBinary
	if isText(new) {
		limit = suffixText
	}
	if len(old) == 0 || len(new) == 0 {
		return []Matcher{whole{}}
	}
	if max(len(old), len(new)) > limit {
		return []Matcher{Hash{}}
	}
	return []Matcher{Hash{}, Suffix{}}
}

// Make writes to w a delta that leads from old to new. Old may be empty: the
// delta is then the whole image, compressed. Before a byte is written the
// delta has been applied and found to lead to new.
func Make(ctx context.Context, w io.Writer, old, new []byte, opt Options) (Stats, error) {
	matchers := opt.Matchers
	if matchers == nil || len(old) == 0 || len(new) == 0 {
		matchers = choose(old, new)
	}
	total := int64(len(new)) * int64(len(matchers)+1)
	progress := func(n int) {
		if opt.Progress != nil {
			opt.Progress(int64(len(new))*int64(n), total)
		}
	}
	var best []byte
	var st Stats
	for i, m := range matchers {
		if err := ctx.Err(); err != nil {
			return st, err
		}
		if i > 0 && opt.Matchers == nil && (float64(len(best)) < tiny*float64(len(new)) || hopeless(st, int64(len(new)))) {
			break
		}
		ops, err := m.Match(ctx, old, new)
		if err != nil {
			return st, fmt.Errorf("matching by %s: %w", m.Name(), err)
		}
		if len(old) > suffixBinary {
			debug.FreeOSMemory() // the matcher's index, half of old, makes room for the encoder
		}
		d, err := encode(old, new, ops)
		if err != nil {
			return st, fmt.Errorf("encoding what %s matched: %w", m.Name(), err)
		}
		if i == 0 || len(d) < len(best) {
			best = d
			st = stats(m.Name(), d, tidy(ops, int64(len(new))))
		}
		progress(i + 1)
	}
	if err := check(ctx, old, new, best); err != nil {
		return st, err
	}
	progress(len(matchers) + 1)
	if _, err := w.Write(best); err != nil {
		return st, fmt.Errorf("writing the delta: %w", err)
	}
	return st, nil
}

// hopeless says whether no other matcher can do much better: next to nothing was
// found, or what was not found does not compress. The second is what a gzip file
// looks like behind its first change; bytes that are noise are like no others. Many
// short operations are neither: they are what a program with moved addresses looks
// like, at which the suffix matcher is best.
func hopeless(st Stats, newSize int64) bool {
	if st.Inserted < longStretch*int64(st.Ops+1) {
		return false
	}
	return st.Inserted > newSize-newSize/8 || st.Size > st.Inserted-st.Inserted/8
}

// longStretch is how many bytes on average must lie between two finds.
const longStretch = 1 << 10

func stats(name string, d []byte, ops []Op) Stats {
	st := Stats{Matcher: name, Size: int64(len(d)), Ops: len(ops)}
	for _, op := range ops {
		st.Inserted += op.Insert
	}
	return st
}

// whole matches nothing: all of new is inserted.
type whole struct{}

func (whole) Name() string { return "" }

func (whole) Match(_ context.Context, _, new []byte) ([]Op, error) {
	return []Op{{Insert: int64(len(new))}}, nil
}

// check applies a delta and compares the outcome.
func check(ctx context.Context, old, new, patch []byte) error {
	c := &comparer{want: new}
	err := Apply(ctx, c, bytes.NewReader(old), int64(len(old)), bytes.NewReader(patch), int64(len(patch)), int64(len(new)))
	if err != nil {
		return fmt.Errorf("checking the delta just made: %w", err)
	}
	return nil
}

type comparer struct{ want []byte }

func (c *comparer) Write(b []byte) (int, error) {
	if !bytes.HasPrefix(c.want, b) {
		return 0, errors.New("it does not lead to the new image")
	}
	c.want = c.want[len(b):]
	return len(b), nil
}
