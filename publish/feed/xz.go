package feed

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
)

// xz is undone by the program of that name: there is no Go library of it among
// those that Freshet is built with.
type xzReader struct {
	out  io.ReadCloser
	cmd  *exec.Cmd
	said bytes.Buffer
	end  error // nil: it runs
}

func newXZ(ctx context.Context, in io.Reader) (io.ReadCloser, error) {
	path, err := exec.LookPath("xz")
	if err != nil {
		return nil, refuse("install xz (Debian: xz-utils), or unpack it before", "the program xz, which undoes it, is not there")
	}
	x := &xzReader{cmd: exec.CommandContext(ctx, path, "--decompress", "--stdout", "--format=xz", fmt.Sprintf("--memlimit=%d", maxWindow))}
	x.cmd.Stdin, x.cmd.Stderr = in, &x.said
	if x.out, err = x.cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	return x, x.cmd.Start()
}

// Read gives io.EOF only if the program found the file whole.
func (x *xzReader) Read(p []byte) (int, error) {
	if x.end != nil {
		return 0, x.end
	}
	n, err := x.out.Read(p)
	if err == nil {
		return n, nil
	}
	x.end = err
	if failed := x.cmd.Wait(); failed != nil {
		text, _, _ := strings.Cut(x.said.String(), "\n")
		x.end = fmt.Errorf("xz: %s (%w)", text, failed)
	}
	return n, x.end
}

// Close ends the program.
func (x *xzReader) Close() error {
	if x.end != nil {
		return nil
	}
	x.end = errors.New("xz: closed")
	x.cmd.Process.Kill() // it may have ended
	x.cmd.Wait()         // killed is no failure here
	return nil
}
