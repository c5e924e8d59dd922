package delta

import (
	"bytes"
	"compress/bzip2"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/gabstv/go-bsdiff/pkg/bsdiff"
)

// Suffix is the suffix-array matcher of bsdiff (Percival, "Naive differences
// of executable code"). It finds more than [Hash] in executables, and costs
// about 17 bytes of memory for each byte of old and hundreds of times the CPU.
//
// Only the program's maker runs, here, on images that we hold. What it writes
// is taken apart and coded anew; its own applier is never run.
type Suffix struct{}

func (Suffix) Name() string { return "suffix" }

// Match cannot be interrupted: a suffix array is built in one go.
func (Suffix) Match(ctx context.Context, old, new []byte) ([]Op, error) {
	file, err := bsdiff.Bytes(old, new)
	if err != nil {
		return nil, err
	}
	return readControl(file)
}

// readControl takes the operations out of a BSDIFF40 file: a header of 32
// bytes (magic, length of the control block, of the difference block, size of
// new), then the three blocks, each bzip2.
func readControl(file []byte) ([]Op, error) {
	if len(file) < 32 || string(file[:8]) != "BSDIFF40" {
		return nil, errors.New("no BSDIFF40 file")
	}
	n := signMagnitude(file[8:])
	if n < 0 || n > int64(len(file)-32) {
		return nil, errors.New("its control block is longer than the file")
	}
	var ops []Op
	r := bzip2.NewReader(bytes.NewReader(file[32 : 32+n]))
	for {
		var b [24]byte
		if _, err := io.ReadFull(r, b[:]); err == io.EOF {
			return ops, nil
		} else if err != nil {
			return nil, fmt.Errorf("reading its control block: %w", err)
		}
		ops = append(ops, Op{signMagnitude(b[0:]), signMagnitude(b[8:]), signMagnitude(b[16:])})
	}
}

func signMagnitude(b []byte) int64 {
	v := binary.LittleEndian.Uint64(b)
	n := int64(v &^ (1 << 63))
	if v>>63 != 0 {
		return -n
	}
	return n
}
