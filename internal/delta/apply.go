package delta

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

const (
	outBuffer = 256 << 10
	oldBuffer = 64 << 10
	oldJump   = 8 << 10 // read after a jump
)

// Apply writes to w the new image that patch leads to from old: exactly
// newSize bytes, in order, or it returns an error; then what it has written
// is worthless. An error that lies in the delta wraps [ErrCorrupt]; errors of
// old, patch and w are wrapped as they are.
//
// Whatever the bytes of the delta are, Apply does not panic, its memory is
// bounded by a constant (about 22 MiB), and its work by newSize and patchSize.
// It does not know whether the outcome is the right one: the caller hashes it.
func Apply(ctx context.Context, w io.Writer, old io.ReaderAt, oldSize int64, patch io.ReaderAt, patchSize, newSize int64) error {
	if oldSize < 0 || patchSize < 0 || newSize < 0 {
		return fmt.Errorf("applying a delta: negative size")
	}
	p := source{"delta", patch, patchSize}
	h, err := readHeader(p, patchSize, newSize)
	if err != nil {
		return err
	}
	a := &applier{
		ctx: ctx, w: w,
		old: source{"old image", old, oldSize}, newSize: newSize,
		out: make([]byte, 0, min(outBuffer, newSize)),
		buf: make([]byte, min(oldBuffer, oldSize)),
	}
	if h.flags&flagDense != 0 {
		if a.dense, err = openSection("differences", p, h.dense, denseWindowLog); err != nil {
			return err
		}
		defer a.dense.close()
	}
	if h.flags&flagInserts != 0 {
		if a.inserts, err = openSection("inserted bytes", p, h.inserts, insertWindowLog); err != nil {
			return err
		}
		defer a.inserts.close()
	}
	stream := io.NewSectionReader(p, h.packedAt, patchSize-h.packedAt)
	a.dec = newRangeDecoder(bufio.NewReaderSize(stream, int(min(64<<10, patchSize))))
	a.packed = newPacked(a.dec, h.flags, h.unit, newSize)
	if err := a.run(); err != nil {
		return err
	}
	return a.end()
}

// ApplyHashed is Apply, and returns the SHA-256 of what was written.
func ApplyHashed(ctx context.Context, w io.Writer, old io.ReaderAt, oldSize int64, patch io.ReaderAt, patchSize, newSize int64) (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	err = Apply(ctx, io.MultiWriter(h, w), old, oldSize, patch, patchSize, newSize)
	h.Sum(sum[:0])
	return sum, err
}

type applier struct {
	ctx     context.Context
	w       io.Writer
	old     source
	newSize int64

	dec     *rangeDecoder
	packed  *packed
	dense   *sectionReader // nil if there is none
	inserts *sectionReader // nil: they are in the packed stream

	pos        int64  // in old
	written    int64  // bytes of new that are in out or beyond
	tail       uint32 // the last bytes of new that left out
	gap        int64  // copied bytes before the next difference
	packedText int64  // bytes inserted from the packed stream
	skipped    int64  // bytes passed over by skips of lines
	out        []byte
	buf        []byte // a piece of old
	bufAt      int64
	bufLen     int64
	diff       [4 << 10]byte // a piece of the dense differences
}

// run carries out all operations and the copy that ends the image.
func (a *applier) run() error {
	step := a.step
	if a.packed.unit == unitLines {
		step = a.stepLines
	}
	for gave := true; a.packed.another(false); {
		before := a.written
		if err := step(); err != nil {
			return err
		}
		if a.written == before && !gave {
			return a.fail(corrupt("two operations in a row give nothing"))
		}
		gave = a.written > before
	}
	if err := a.copyOld(a.newSize - a.written); err != nil {
		return err
	}
	return a.flush()
}

// step carries out one operation in bytes.
func (a *applier) step() error {
	n := a.packed.copies.code(a.packed.c, 0)
	if err := a.within(n, "copies"); err != nil {
		return err
	}
	if err := a.copyOld(n); err != nil {
		return err
	}
	n = a.packed.insert.code(a.packed.c, 0)
	if err := a.within(n, "inserts"); err != nil {
		return err
	}
	by := a.packed.seek.codeSigned(a.packed.c, 0)
	if err := a.seekable(by); err != nil {
		return err
	}
	if err := a.insert(n, false); err != nil {
		return err
	}
	a.pos += by
	return nil
}

// end checks that the delta holds no more than was used.
func (a *applier) end() error {
	if a.dec.err != nil {
		return a.dec.err
	}
	if a.dec.beyond == 0 {
		return corrupt("bytes are left over at its end")
	}
	if a.gap > 0 && a.gap != noGap {
		return corrupt("differences are left over")
	}
	for _, s := range []*sectionReader{a.dense, a.inserts} {
		if s == nil {
			continue
		}
		if err := s.end(); err != nil {
			return err
		}
	}
	return nil
}

// fail prefers the decoder's error, from which others follow.
func (a *applier) fail(err error) error {
	if a.dec.err != nil {
		return a.dec.err
	}
	return err
}

func (a *applier) within(n int64, what string) error {
	if left := a.newSize - a.written; a.dec.err != nil || n > left {
		return a.fail(corrupt("it %s %d bytes where %d are left", what, n, left))
	}
	return nil
}

func (a *applier) seekable(by int64) error {
	if by < -a.pos || by > a.old.size-a.pos {
		return a.fail(corrupt("it seeks from %d by %d in an old image of %d bytes", a.pos, by, a.old.size))
	}
	return nil
}

// copyOld copies n bytes from the old image and adds the differences.
func (a *applier) copyOld(n int64) error {
	if n > a.old.size-a.pos {
		return a.fail(corrupt("it copies %d bytes from %d of an old image of %d", n, a.pos, a.old.size))
	}
	for n > 0 {
		room, err := a.room()
		if err != nil {
			return err
		}
		part := room[:min(n, int64(len(room)))]
		if err := a.readOld(part); err != nil {
			return err
		}
		if err := a.differ(part); err != nil {
			return err
		}
		a.out = a.out[:len(a.out)+len(part)]
		a.pos += int64(len(part))
		a.written += int64(len(part))
		n -= int64(len(part))
	}
	return nil
}

// readOld fills b from the old image at pos. Long runs are read straight into
// the output, short ones through a buffer, so that a system call is worth it.
func (a *applier) readOld(b []byte) error {
	at := a.pos
	for len(b) > 0 {
		if in := at - a.bufAt; in >= 0 && in < a.bufLen {
			n := copy(b, a.buf[in:a.bufLen])
			b, at = b[n:], at+int64(n)
			continue
		}
		if len(b) >= len(a.buf)/4 {
			_, err := a.old.ReadAt(b, at)
			return err
		}
		if err := a.fill(at); err != nil {
			return err
		}
	}
	return nil
}

// fill reads the buffer's piece of old anew, so that it has the byte at at. After a
// jump that is little, as a delta may jump for each byte that it gives, and
// more and more where what is read goes on.
func (a *applier) fill(at int64) error {
	from, n := at, int64(len(a.buf))
	if at != a.bufAt+a.bufLen {
		from, n = at&^(oldJump/2-1), oldJump
	} else if a.bufLen > 0 {
		n = min(n, 2*max(a.bufLen, oldJump))
	}
	n = min(n, a.old.size-from)
	a.bufLen = 0
	if _, err := a.old.ReadAt(a.buf[:n], from); err != nil {
		return err
	}
	a.bufAt, a.bufLen = from, n
	return nil
}

// peek gives up to n bytes of old at pos, one at least, in the buffer.
func (a *applier) peek(n int64) ([]byte, error) {
	if in := a.pos - a.bufAt; in < 0 || in >= a.bufLen {
		if err := a.fill(a.pos); err != nil {
			return nil, err
		}
	}
	in := a.pos - a.bufAt
	return a.buf[in:min(in+n, a.bufLen)], nil
}

// differ adds the differences to b, copied bytes that follow those it saw before.
func (a *applier) differ(b []byte) error {
	if a.dense != nil {
		for len(b) > 0 {
			part := b[:min(len(b), len(a.diff))]
			if err := a.dense.read(a.diff[:len(part)]); err != nil {
				return err
			}
			for i, d := range a.diff[:len(part)] {
				part[i] += d
			}
			b = b[len(part):]
		}
		return nil
	}
	if a.packed.diff == nil {
		return nil
	}
	return a.sparse(b)
}

// noGap stands for the gap after the last difference.
const noGap = math.MaxInt64

// sparse adds the sparse differences to b. a.gap is one more than the number
// of equal bytes before the next difference, where that is known, or 0.
func (a *applier) sparse(b []byte) error {
	m, c := a.packed.diff, a.packed.c
	for i := 0; i < len(b); {
		if m.near == reach {
			if a.gap == 0 {
				a.gap = int64(min(m.gap(c, 0), noGap-1))
				if a.gap == 0 {
					a.gap = noGap
				}
			}
			if a.gap > int64(len(b)-i) {
				if a.gap != noGap {
					a.gap -= int64(len(b) - i)
				}
				return nil
			}
			i += int(a.gap) - 1
			a.gap = 0
		} else if !m.differs(c, 0, b[i], a.before(i)) {
			m.pass()
			i++
			continue
		}
		b[i] += m.value(c, 0, b[i], a.before(i))
		if i++; a.dec.err != nil {
			return a.dec.err
		}
		if m.count++; m.count > maxDiffs {
			return corrupt("it has more than %d sparse differences", maxDiffs)
		}
	}
	return nil
}

// before returns the four bytes of new before the i-th one that is being
// copied, the newest lowest; what is not there is 0.
func (a *applier) before(i int) uint32 {
	n := len(a.out) + i
	if n < 4 {
		return uint32(uint64(a.tail)<<(8*n)) | before(a.out[:n])
	}
	return binary.BigEndian.Uint32(a.out[:n][n-4:])
}

// insert appends n bytes of the delta, or n lines of the packed stream.
func (a *applier) insert(n int64, lines bool) error {
	if n == 0 {
		return nil
	}
	if a.inserts == nil {
		if err := a.packed.text.prepare(a.pos, a.old.size, a.stretch); err != nil {
			return err
		}
	}
	for n > 0 {
		room, err := a.room()
		if err != nil {
			return err
		}
		room = room[:min(a.newSize-a.written, int64(len(room)))]
		if len(room) == 0 {
			return a.fail(corrupt("it inserts more than the new image holds"))
		}
		if !lines {
			room = room[:min(n, int64(len(room)))]
		}
		if a.inserts != nil {
			err = a.inserts.read(room)
			n -= int64(len(room))
		} else {
			room, n, err = a.text(room, n, lines)
		}
		if err != nil {
			return err
		}
		a.out = a.out[:len(a.out)+len(room)]
		a.written += int64(len(room))
		if lines && n == 1 && a.written == a.newSize && room[len(room)-1] != '\n' {
			n = 0 // the last line may lack its line feed
		}
	}
	return nil
}

// text fills room from the packed stream, with n lines at most if lines is
// set, and returns what it filled and how much of n is left.
func (a *applier) text(room []byte, n int64, lines bool) ([]byte, int64, error) {
	for i := range room {
		if a.packedText++; a.packedText > packedInserts {
			return nil, 0, a.fail(corrupt("its packed stream inserts more than %d bytes", packedInserts))
		}
		room[i] = a.packed.text.code(a.packed.c, 0)
		if !lines || room[i] == '\n' {
			n--
		}
		if a.dec.err != nil {
			return nil, 0, a.dec.err
		}
		if n == 0 {
			return room[:i+1], 0, nil
		}
	}
	return room, n, nil
}

// room returns the free part of the output buffer, after writing it out if full.
func (a *applier) room() ([]byte, error) {
	if len(a.out) == cap(a.out) {
		if err := a.flush(); err != nil {
			return nil, err
		}
	}
	return a.out[len(a.out):cap(a.out)], nil
}

func (a *applier) flush() error {
	if err := a.ctx.Err(); err != nil {
		return err
	}
	if len(a.out) == 0 {
		return nil
	}
	if _, err := a.w.Write(a.out); err != nil {
		return fmt.Errorf("writing the new image: %w", err)
	}
	a.tail = before(a.out)
	a.out = a.out[:0]
	return nil
}

// stretch returns n bytes of the old image.
func (a *applier) stretch(at, n int64) ([]byte, error) {
	b := make([]byte, n)
	_, err := a.old.ReadAt(b, at)
	return b, err
}
