package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// Synthetic images are the same at each run, on each machine.
const (
	recordSize  = 33      // 32 hexadecimal digits and a line feed
	editEvery   = 2000    // records: one edit in so many
	listRecords = 200_000 // of the sorted hash list
	listRemoved = 100
	listAdded   = 200
)

func generator(seed byte) *rand.ChaCha8 { return rand.NewChaCha8([32]byte{seed}) }

// synthesize writes an old image of about size bytes, records of random
// digits, and a new one in which one of editEvery records, at random, is gone,
// changed, or followed by a new one.
func synthesize(_ context.Context, args []string) error {
	size, err := strconv.ParseInt(args[0], 10, 64)
	if err != nil {
		return err
	}
	old, err := os.Create(args[1])
	if err != nil {
		return err
	}
	defer old.Close()
	img, err := os.Create(args[2])
	if err != nil {
		return err
	}
	defer img.Close()
	a, b := bufio.NewWriterSize(old, 1<<20), bufio.NewWriterSize(img, 1<<20)
	records, edits := generator(1), generator(2)
	dice := rand.New(edits)
	for range size / recordSize {
		line := record(records)
		a.Write(line)
		if dice.IntN(editEvery) > 0 {
			b.Write(line)
			continue
		}
		switch dice.IntN(3) {
		case 0: // gone
		case 1:
			b.Write(record(edits))
		case 2:
			b.Write(line)
			b.Write(record(edits))
		}
	}
	return flush(a, b)
}

func record(r io.Reader) []byte {
	var raw [16]byte
	io.ReadFull(r, raw[:]) // a ChaCha8 does not fail
	return append(hex.AppendEncode(make([]byte, 0, recordSize), raw[:]), '\n')
}

func flush(list ...*bufio.Writer) error {
	for _, w := range list {
		if err := w.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// makeHashList writes a sorted list of random hashes of 128 bits and a later
// version of it, from which listRemoved are gone and to which listAdded came.
func makeHashList(_ context.Context, args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	g := generator(3)
	var list [][]byte
	for range n + listAdded {
		list = append(list, record(g))
	}
	older, newer := slices.Clone(list[:n]), list[listRemoved:]
	slices.SortFunc(older, bytes.Compare)
	slices.SortFunc(newer, bytes.Compare)
	if err := os.WriteFile(args[1], slices.Concat(older...), 0o600); err != nil {
		return err
	}
	return os.WriteFile(args[2], slices.Concat(newer...), 0o600)
}

// hashListResult is our delta over a sorted hash list beside its bound.
type hashListResult struct {
	Bytes int64
	Bound float64
}

func (l *lab) hashList(ctx context.Context) (*hashListResult, error) {
	f := files{old: filepath.Join(l.work, "list-old"), new: filepath.Join(l.work, "list-new")}
	if _, err := l.meter.own(ctx, nil, "hash-list", fmt.Sprint(listRecords), f.old, f.new); err != nil {
		return nil, err
	}
	defer os.Remove(f.old)
	defer os.Remove(f.new)
	o, err := l.try(ctx, freshet(), f)
	if err != nil {
		return nil, err
	}
	bound := hashListBound(listRecords, listRemoved, listAdded, 128)
	l.note("sorted hash list: %d bytes, bound %.0f", o.Bytes, bound)
	return &hashListResult{o.Bytes, bound}, nil
}
