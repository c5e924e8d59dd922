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
// of its own owner alone: an engine must not aim root's signals at others.
// errors.Is(err, ErrNotRunning) if there is no pidfile, or no such process.
func (s *Signal) Send() error {
	sig := unix.SignalNum("SIG" + strings.TrimPrefix(s.Name, "SIG"))
	if sig == 0 {
		return fmt.Errorf("there is no signal %q", s.Name)
	}
	pid, owner, err := readPidfile(s.Pidfile)
	if err != nil {
		return err
	}
	process, err := os.FindProcess(pid) // holds on to this very process where the kernel can
	if err != nil {
		return fmt.Errorf("finding process %d of %s: %w", pid, s.Pidfile, err)
	}
	defer process.Release()
	st, err := os.Stat("/proc/" + strconv.Itoa(pid))
	if err != nil {
		return fmt.Errorf("%w: there is no process %d, which %s names", ErrNotRunning, pid, s.Pidfile)
	}
	if own := st.Sys().(*syscall.Stat_t).Uid; owner != 0 && own != owner {
		return fmt.Errorf("process %d belongs to uid %d, but %s to uid %d", pid, own, s.Pidfile, owner)
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

// readPidfile gives the process that a pidfile names, and the file's owner.
func readPidfile(path string) (pid int, owner uint32, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, 0, fmt.Errorf("%w: there is no %s", ErrNotRunning, path)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("reading the pidfile: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return 0, 0, fmt.Errorf("reading the pidfile: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(f, 64))
	if err != nil {
		return 0, 0, fmt.Errorf("reading the pidfile: %w", err)
	}
	pid, err = strconv.Atoi(strings.TrimSpace(string(data)))
	switch {
	case err != nil || pid <= 1:
		return 0, 0, fmt.Errorf("%s holds %q, which is no process to signal", path, strings.TrimSpace(string(data)))
	case pid == os.Getpid():
		return 0, 0, errors.New(path + " names this very process")
	}
	return pid, st.Sys().(*syscall.Stat_t).Uid, nil
}
