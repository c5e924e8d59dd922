package modules

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrNotRunning says that there is no process to tell. An engine reads the
// current version when it starts: this is no verdict on the version.
var ErrNotRunning = errors.New("the engine is not running")

// Signal tells a process, known by its pidfile, to read its base again.
type Signal struct {
	Pidfile string
	Name    string // as in signal(7), without SIG: HUP
}

// Send sends the signal. A pidfile that root does not own may name a process
// of its own owner only: an engine must not aim root's signals at others.
// A process that began after the pidfile was written is not the one that wrote
// it: the engine is gone, and the kernel gave its number to another.
// errors.Is(err, ErrNotRunning) if there is no pidfile, or no such process.
func (s *Signal) Send() error {
	sig := unix.SignalNum("SIG" + strings.TrimPrefix(s.Name, "SIG"))
	if sig == 0 {
		return fmt.Errorf("there is no signal %q", s.Name)
	}
	named, err := readPidfile(s.Pidfile)
	if err != nil {
		return err
	}
	pid := named.pid
	process, err := os.FindProcess(pid) // holds on to this very process where the kernel can
	if err != nil {
		return fmt.Errorf("finding process %d of %s: %w", pid, s.Pidfile, err)
	}
	defer process.Release()
	st, err := os.Stat("/proc/" + strconv.Itoa(pid))
	if err != nil {
		return fmt.Errorf("%w: there is no process %d, which %s names", ErrNotRunning, pid, s.Pidfile)
	}
	if own := st.Sys().(*syscall.Stat_t).Uid; named.owner != 0 && own != named.owner {
		return fmt.Errorf("process %d belongs to uid %d, but %s to uid %d", pid, own, s.Pidfile, named.owner)
	}
	if err := s.checkWriter(named); err != nil {
		return err
	}
	err = process.Signal(sig)
	if errors.Is(err, os.ErrProcessDone) {
		err = ErrNotRunning
	}
	if err != nil {
		return fmt.Errorf("sending %s to process %d of %s: %w", s.Name, pid, s.Pidfile, err)
	}
	return nil
}

// checkWriter refuses a process that cannot be the engine which the pidfile was
// written for.
func (s *Signal) checkWriter(named pidfile) error {
	p, err := processOf(named.pid)
	switch {
	case err != nil:
		return fmt.Errorf("%w: process %d, which %s names: %w", ErrNotRunning, named.pid, s.Pidfile, err)
	case p.zombie:
		return fmt.Errorf("%w: process %d, which %s names, has ended", ErrNotRunning, named.pid, s.Pidfile)
	case p.kernel:
		return fmt.Errorf("%w: %s names %d, which is a thread of the kernel", ErrNotRunning, s.Pidfile, named.pid)
	case writtenBefore(named.written, p.started, booted(), runBorn()):
		return fmt.Errorf("%w: %s was written at %s, and process %d (%s), which it names, began at %s: it is another's, and gets no signal",
			ErrNotRunning, s.Pidfile, named.written.UTC().Format(time.RFC3339), named.pid, p.name, booted().Add(p.started).UTC().Format(time.RFC3339))
	}
	return nil
}

// pidfile is what a pidfile says, and the file itself.
type pidfile struct {
	pid     int
	owner   uint32
	written time.Time
}

func readPidfile(path string) (pidfile, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return pidfile{}, fmt.Errorf("%w: there is no %s", ErrNotRunning, path)
	}
	if err != nil {
		return pidfile{}, fmt.Errorf("reading the pidfile: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return pidfile{}, fmt.Errorf("reading the pidfile: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(f, 64))
	if err != nil {
		return pidfile{}, fmt.Errorf("reading the pidfile: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	switch {
	case err != nil || pid <= 1:
		return pidfile{}, fmt.Errorf("%s holds %q, which is no process to signal", path, strings.TrimSpace(string(data)))
	case pid == os.Getpid():
		return pidfile{}, errors.New(path + " names this very process")
	}
	return pidfile{pid, st.Sys().(*syscall.Stat_t).Uid, st.ModTime()}, nil
}
