// Package command runs a program to its end, and no longer: whatever it starts,
// and whoever holds its output open, who asked has an answer in time.
package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// afterExit is how long output is still read from what a program left running.
const afterExit = time.Second

// markEnv is in the environment of all that a program starts.
const markEnv = "FRESHET_COMMAND"

// Command is a program to run: there is no shell, and no input but In.
type Command struct {
	Args  []string
	Dir   string
	Env   []string // all of it
	In    *os.File // nil: nothing
	Out   io.Writer
	Err   io.Writer     // nil: to Out too
	Limit time.Duration // 0: as long as the context
	Files []*os.File    // from descriptor 3 on
	User  *syscall.Credential

	// Leaves says that what it leaves running goes on when it ends in time: it
	// starts services.
	Leaves bool

	// Start, if set, starts what it is given, in place of (*exec.Cmd).Start; Ended
	// is told of its end.
	Start func(*exec.Cmd) error
	Ended func(pid int)
}

// LateError says that a program was not done in time.
type LateError struct{ After time.Duration }

func (e *LateError) Error() string { return fmt.Sprintf("not done after %s", e.After) }
func (e *LateError) Timeout() bool { return true }

var started atomic.Int64

// Run gives how the program ended: nil if it could not be started. An exit code
// that is not 0 is an error, and the end of its time a [LateError]. It returns within Limit,
// and a second: the program and its process group are killed then, and so is what
// left that group, as far as its environment tells of it. An output that is held
// open longer is no error.
func (c Command) Run(ctx context.Context) (*os.ProcessState, error) {
	limited, stop := ctx, context.CancelFunc(func() {})
	if c.Limit > 0 {
		limited, stop = context.WithTimeout(ctx, c.Limit)
	}
	defer stop()
	mark := fmt.Sprintf("%s=%d.%d", markEnv, os.Getpid(), started.Add(1))
	cmd := exec.CommandContext(limited, c.Args[0], c.Args[1:]...)
	cmd.Dir, cmd.Env, cmd.ExtraFiles = c.Dir, append(slices.Clip(c.Env), mark), c.Files
	cmd.Stdout, cmd.Stderr = c.Out, c.Out
	if c.Err != nil {
		cmd.Stderr = c.Err
	}
	if c.In != nil {
		cmd.Stdin = c.In
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: c.User}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	cmd.WaitDelay = afterExit
	start := c.Start
	if start == nil {
		start = (*exec.Cmd).Start
	}
	if err := start(cmd); err != nil {
		return nil, err
	}
	awaitEnd(cmd.Process.Pid)
	if !c.Leaves {
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL) // its number is still its own
	}
	err := cmd.Wait()
	if c.Ended != nil {
		c.Ended(cmd.Process.Pid)
	}
	held := errors.Is(err, exec.ErrWaitDelay)
	if held && !c.Leaves || limited.Err() != nil {
		endMarked(mark)
	}
	switch {
	case err == nil || held:
		return cmd.ProcessState, nil
	case ctx.Err() == nil && limited.Err() != nil:
		err = &LateError{c.Limit}
	}
	return cmd.ProcessState, err
}

// awaitEnd waits for a process's end and does not take note of it: until that is
// done no other process gets its number.
func awaitEnd(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// endMarked kills what was started with a mark in its environment.
func endMarked(mark string) {
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil || !slices.ContainsFunc(bytes.Split(data, []byte{0}), func(v []byte) bool { return string(v) == mark }) {
			continue
		}
		var pid int
		if _, err := fmt.Sscanf(path, "/proc/%d/environ", &pid); err == nil {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
}
