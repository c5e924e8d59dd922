package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/gabstv/go-bsdiff/pkg/bsdiff"
	"github.com/gabstv/go-bsdiff/pkg/bspatch"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/internal/delta"
)

// child runs one piece of work in this process, which another one measures.
// Answers go to stdout as JSON.
func child(ctx context.Context, command string, args []string) error {
	if command == "launch" && len(args) > 0 {
		return launch(args)
	}
	commands := map[string]struct {
		args int
		run  func(context.Context, []string) error
	}{
		"make":       {4, makeDelta},    // MATCHER OLD NEW PATCH
		"apply":      {4, applyDelta},   // OLD PATCH SIZE OUT
		"copy":       {2, copyHashed},   // IN OUT
		"image":      {2, writeImage},   // PATH OUT
		"go-bsdiff":  {3, goDiff},       // OLD NEW PATCH
		"go-bspatch": {3, goPatch},      // OLD PATCH OUT
		"update":     {3, updateOnce},   // STATE ROOT URL
		"publish":    {4, publishOne},   // REPO KEYS PATH TIME
		"synthetic":  {3, synthesize},   // SIZE OLD NEW
		"hash-list":  {3, makeHashList}, // RECORDS OLD NEW
	}
	c, ok := commands[command]
	if !ok || len(args) != c.args {
		return fmt.Errorf("%q with %d arguments is no child command", command, len(args))
	}
	return c.run(ctx, args)
}

func makeDelta(ctx context.Context, args []string) error {
	var opt delta.Options
	if args[0] == "hash" {
		opt.Matchers = []delta.Matcher{delta.Hash{}}
	}
	old, err := os.ReadFile(args[1])
	if err != nil {
		return err
	}
	img, err := os.ReadFile(args[2])
	if err != nil {
		return err
	}
	var patch bytes.Buffer
	st, err := delta.Make(ctx, &patch, old, img, opt)
	if err != nil {
		return err
	}
	if err := os.WriteFile(args[3], patch.Bytes(), 0o600); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(st)
}

func applyDelta(ctx context.Context, args []string) error {
	old, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer old.Close()
	oldInfo, err := old.Stat()
	if err != nil {
		return err
	}
	patch, err := os.Open(args[1])
	if err != nil {
		return err
	}
	defer patch.Close()
	patchInfo, err := patch.Stat()
	if err != nil {
		return err
	}
	size, err := strconv.ParseInt(args[2], 10, 64)
	if err != nil {
		return err
	}
	out, err := os.Create(args[3])
	if err != nil {
		return err
	}
	defer out.Close()
	sum, err := delta.ApplyHashed(ctx, out, old, oldInfo.Size(), patch, patchInfo.Size(), size)
	if err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(hex.EncodeToString(sum[:]))
}

// copyHashed is the floor that applying is held against: the new image is
// read, hashed and written, by blocks of 128 KiB.
func copyHashed(_ context.Context, args []string) error {
	in, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(args[1])
	if err != nil {
		return err
	}
	defer out.Close()
	h := sha256.New()
	if _, err := io.CopyBuffer(io.MultiWriter(h, out), struct{ io.Reader }{in}, make([]byte, 128<<10)); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(hex.EncodeToString(h.Sum(nil)))
}

func writeImage(_ context.Context, args []string) error {
	img, err := bases.NewImage(args[0])
	if err != nil {
		return err
	}
	defer img.Close()
	out, err := os.Create(args[1])
	if err != nil {
		return err
	}
	defer out.Close()
	w := bufio.NewWriterSize(out, 1<<20)
	if _, err := io.Copy(w, io.NewSectionReader(img, 0, img.Size())); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return out.Close()
}

func goDiff(_ context.Context, args []string) error {
	return bsdiff.File(args[0], args[1], args[2])
}

func goPatch(_ context.Context, args []string) error {
	return bspatch.File(args[0], args[2], args[1])
}
