package delta

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// Coder ids of sections. New ones may be added; an applier refuses those that
// it does not know.
const (
	coderRaw  = 0 // the bytes as they are
	coderZstd = 1 // the blocks of one zstd frame (RFC 8878, 3.1.1.2), without its header and checksum
)

const (
	minWindowLog    = 10 // zstd's least window, 1 KiB
	denseWindowLog  = 20 // 1 MiB at most for the differences
	insertWindowLog = 23 // 8 MiB, which RFC 8878 asks every decoder to bear, for the inserted bytes
)

// windowLog returns the window of a zstd section, which is not stored: the
// least power of two that holds all of its raw bytes, up to the column's limit.
func windowLog(raw int64, limit int) int {
	if raw < 1 {
		raw = 1
	}
	return max(minWindowLog, min(bits.Len64(uint64(raw-1)), limit))
}

// encodeSection codes raw with the coder that gives the fewest bytes.
func encodeSection(raw []byte, limit int) (section, []byte, error) {
	s := section{coder: coderRaw, raw: int64(len(raw)), stored: int64(len(raw))}
	z, err := zstdBlocks(raw, limit)
	if err != nil {
		return s, nil, err
	}
	if len(z) < len(raw) {
		s.coder, s.stored = coderZstd, int64(len(z))
		return s, z, nil
	}
	return s, raw, nil
}

// encoders, by the log of their window, are used again: to set one up takes
// longer than to code a small section.
var encoders [insertWindowLog + 1]sync.Pool

func zstdBlocks(raw []byte, limit int) ([]byte, error) {
	log := windowLog(int64(len(raw)), limit)
	e, _ := encoders[log].Get().(*zstd.Encoder)
	if e == nil {
		var err error
		e, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression),
			zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false), zstd.WithWindowSize(1<<log))
		if err != nil {
			return nil, fmt.Errorf("setting up zstd: %w", err)
		}
	}
	frame := e.EncodeAll(raw, nil)
	encoders[log].Put(e)
	if len(frame) == 0 {
		return nil, nil
	}
	var h zstd.Header
	if err := h.Decode(frame); err != nil {
		return nil, fmt.Errorf("reading back a zstd frame: %w", err)
	}
	return frame[h.HeaderSize:], nil
}

// A sectionReader gives the raw bytes of a section, and no more than it declares.
type sectionReader struct {
	name  string
	r     io.Reader
	left  int64
	close func()
}

func openSection(name string, patch io.ReaderAt, s section, limit int) (*sectionReader, error) {
	stored := io.NewSectionReader(patch, s.at, s.stored)
	switch s.coder {
	case coderRaw:
		if s.raw != s.stored {
			return nil, corrupt("%s: %d raw bytes stored in %d", name, s.raw, s.stored)
		}
		return &sectionReader{name: name, r: bufio.NewReaderSize(stored, 64<<10), left: s.raw, close: func() {}}, nil
	case coderZstd:
		log := windowLog(s.raw, limit)
		// Magic number, a frame header descriptor without any flag, the window.
		head := &prefixed{head: []byte{0x28, 0xb5, 0x2f, 0xfd, 0, byte(log-10) << 3}, r: stored}
		d, err := zstd.NewReader(head, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(1<<log))
		if err != nil {
			return nil, corrupt("%s: %v", name, err)
		}
		return &sectionReader{name: name, r: d, left: s.raw, close: d.Close}, nil
	}
	return nil, corrupt("%s: unknown coder %d; a newer agent may know it", name, s.coder)
}

// read fills b.
func (s *sectionReader) read(b []byte) error {
	if int64(len(b)) > s.left {
		return corrupt("%s: its bytes run out", s.name)
	}
	n, err := io.ReadFull(s.r, b)
	s.left -= int64(n)
	if err != nil {
		return s.fail(err)
	}
	return nil
}

// end checks that nothing is left.
func (s *sectionReader) end() error {
	if s.left != 0 {
		return corrupt("%s: %d bytes are left over", s.name, s.left)
	}
	var b [1]byte
	switch n, err := io.ReadFull(s.r, b[:]); {
	case n > 0:
		return corrupt("%s: it is longer than declared", s.name)
	case err != io.EOF:
		return s.fail(err)
	}
	return nil
}

// fail tells a damaged delta from one that cannot be read.
func (s *sectionReader) fail(err error) error {
	var re *readError
	if errors.As(err, &re) {
		return re
	}
	return corrupt("%s: %v", s.name, err)
}

// prefixed reads head, then r.
type prefixed struct {
	head []byte
	r    io.Reader
}

func (p *prefixed) Read(b []byte) (int, error) {
	if len(p.head) > 0 {
		n := copy(b, p.head)
		p.head = p.head[n:]
		return n, nil
	}
	return p.r.Read(b)
}
