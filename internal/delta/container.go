package delta

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ErrCorrupt is the cause of every error that lies in the delta itself, be it
// damaged, cut off, forged or made by a newer format.
var ErrCorrupt = errors.New("corrupt delta")

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
}

// The first byte of a delta: the format above, flags below.
const (
	format     = 0x10
	formatMask = 0xf0

	flagSparse  = 0x01 // the packed stream holds gaps and values of differences
	flagDense   = 0x02 // a section holds the differences of all copied bytes
	flagInserts = 0x04 // a section holds the inserted bytes
	flagUnit    = 0x08 // the unit of operations stands next; it is bytes otherwise
	flagsKnown  = flagSparse | flagDense | flagInserts | flagUnit
)

// A section is a column that is stored apart from the packed stream.
type section struct {
	coder  byte
	raw    int64 // bytes it decodes to
	stored int64 // bytes it takes in the delta
	at     int64 // where they begin
}

// header is the delta before its sections.
type header struct {
	flags          byte
	unit           int // what operations count
	dense, inserts section
	packedAt       int64 // where the packed stream begins; it runs to the end
}

func (h header) append(b []byte) []byte {
	b = append(b, format|h.flags)
	if h.flags&flagUnit != 0 {
		b = binary.AppendUvarint(b, uint64(h.unit))
	}
	for _, s := range h.sections() {
		b = append(b, s.coder)
		b = binary.AppendUvarint(b, uint64(s.raw))
		b = binary.AppendUvarint(b, uint64(s.stored))
	}
	return b
}

// sections lists those that are there, in file order.
func (h *header) sections() []*section {
	var s []*section
	if h.flags&flagDense != 0 {
		s = append(s, &h.dense)
	}
	if h.flags&flagInserts != 0 {
		s = append(s, &h.inserts)
	}
	return s
}

// maxHeader is the size of the longest header: flags, unit and two sections.
const maxHeader = 1 + binary.MaxVarintLen64 + 2*(1+2*binary.MaxVarintLen64)

// readHeader reads and checks the header of a delta of the given size that
// leads to newSize bytes.
func readHeader(patch io.ReaderAt, size, newSize int64) (header, error) {
	var h header
	r := &countingReader{r: bufio.NewReaderSize(io.NewSectionReader(patch, 0, min(size, maxHeader)), 64)}
	first, err := r.ReadByte()
	if err != nil {
		return h, headerError(err)
	}
	if first&formatMask != format {
		return h, corrupt("its format is %d, this applier knows %d", first>>4, format>>4)
	}
	h.flags = first &^ formatMask
	if h.flags&^flagsKnown != 0 || h.flags&flagSparse != 0 && h.flags&flagDense != 0 {
		return h, corrupt("unknown flags %#x", h.flags)
	}
	if h.unit, err = readUnit(r, h.flags); err != nil {
		return h, err
	}
	for _, s := range h.sections() {
		if s.coder, err = r.ReadByte(); err != nil {
			return h, headerError(err)
		}
		if s.raw, err = readSize(r, newSize); err != nil {
			return h, err
		}
		if s.stored, err = readSize(r, size); err != nil {
			return h, err
		}
	}
	h.packedAt = r.n
	for _, s := range h.sections() {
		s.at = h.packedAt
		h.packedAt += s.stored
		if h.packedAt > size {
			return h, corrupt("a section of %d bytes at %d ends beyond the delta's %d", s.stored, s.at, size)
		}
	}
	return h, nil
}

func readUnit(r io.ByteReader, flags byte) (int, error) {
	if flags&flagUnit == 0 {
		return unitBytes, nil
	}
	v, err := binary.ReadUvarint(r)
	if err != nil {
		return 0, headerError(err)
	}
	if v == unitBytes || v > unitMax {
		return 0, corrupt("operations in records of %d bytes", v)
	}
	return int(v), nil
}

func readSize(r io.ByteReader, limit int64) (int64, error) {
	v, err := binary.ReadUvarint(r)
	if err != nil {
		return 0, headerError(err)
	}
	if v > uint64(limit) {
		return 0, corrupt("a section of %d bytes where at most %d are possible", v, limit)
	}
	return int64(v), nil
}

func headerError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return corrupt("cut off in its header")
	}
	if err.Error() == "binary: varint overflows a 64-bit integer" {
		return corrupt("a number beyond 64 bits")
	}
	return fmt.Errorf("reading the delta: %w", err)
}

type countingReader struct {
	r io.ByteReader
	n int64
}

func (c *countingReader) ReadByte() (byte, error) {
	b, err := c.r.ReadByte()
	if err == nil {
		c.n++
	}
	return b, err
}
