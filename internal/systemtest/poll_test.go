//go:build system

package systemtest_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// poll asks until is holds, at most for limit.
func poll(t *testing.T, limit time.Duration, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(limit); !is(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", limit, what)
		}
	}
}

// daemon is a program that runs beside the test.
type daemon struct {
	t      *testing.T
	cmd    *exec.Cmd
	ended  chan struct{} // closed when it has
	err    error         // of its end, once ended is closed
	output buffer
}

// start runs c until the test ends, or earlier.
func start(t *testing.T, c *exec.Cmd) *daemon {
	t.Helper()
	d := &daemon{t: t, cmd: c, ended: make(chan struct{})}
	c.Stdout, c.Stderr = &d.output, &d.output
	// It dies with the test, however that ends.
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		d.err = c.Wait()
		close(d.ended)
	}()
	t.Cleanup(func() { d.signal(syscall.SIGKILL); <-d.ended })
	return d
}

func (d *daemon) signal(s syscall.Signal) { d.cmd.Process.Signal(s) }

func (d *daemon) hasEnded() bool {
	select {
	case <-d.ended:
		return true
	default:
		return false
	}
}

// stop asks the program to end and expects that it ends well.
func (d *daemon) stop() {
	d.t.Helper()
	d.signal(syscall.SIGTERM)
	<-d.ended
	if d.err != nil {
		d.t.Fatalf("%s: %v\n%s", d.cmd, d.err, d.output.String())
	}
}

// wasKilled says whether err is the end of a process by SIGKILL.
func wasKilled(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
}

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// folder is a temporary folder that other users may look into.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "freshet-system-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// sh runs a program to its end and expects that it does well.
func sh(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
