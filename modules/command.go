package modules

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

const (
	defaultTimeout = time.Minute
	maxOutput      = 4 << 10
	commandPath    = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

	// afterExit is how long output is still read from what a command left
	// running.
	afterExit = time.Second
)

// CommandError says that a command of an engine ran and did not succeed.
type CommandError struct {
	Step    string   `json:"step"` // "try", "took" or "health"
	Command []string `json:"command"`
	Exit    int      `json:"exit"`   // -1: ended by a signal, or out of time
	Output  string   `json:"output"` // the last 4 KiB of what it wrote
	Reason  string   `json:"reason"`
}

func (e *CommandError) Error() string {
	text := fmt.Sprintf("%s command %s: %s", e.Step, e.Command[0], e.Reason)
	if lines := strings.Split(strings.TrimSpace(e.Output), "\n"); lines[len(lines)-1] != "" {
		text += ": " + lines[len(lines)-1]
	}
	return text
}

// run runs a command of the settings: no shell, nothing of the agent's
// environment, no input. What it started in its process group ends with it
// when the time is over or ctx ends.
func (e *Engine) run(ctx context.Context, step string, command []string, v Version) error {
	if len(command) == 0 {
		return ctx.Err()
	}
	timeout := e.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	limited, stop := context.WithTimeout(ctx, timeout)
	defer stop()
	args := e.arguments(command, v)
	out := &lastBytes{}
	cmd := exec.CommandContext(limited, args[0], args[1:]...)
	cmd.Dir = "/"
	cmd.Env = []string{
		"PATH=" + commandPath, "LANG=C.UTF-8",
		"FRESHET_BASE=" + e.Base, "FRESHET_VERSION=" + v.Number,
		"FRESHET_DIR=" + v.Dir, "FRESHET_PREVIOUS_DIR=" + v.PreviousDir,
	}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = afterExit
	err := cmd.Run()
	switch {
	case err == nil || errors.Is(err, exec.ErrWaitDelay):
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case cmd.ProcessState == nil:
		return fmt.Errorf("running the %s command of %s: %w", step, e.Base, err)
	}
	failed := &CommandError{Step: step, Command: args, Exit: cmd.ProcessState.ExitCode(), Output: out.String(), Reason: err.Error()}
	if limited.Err() != nil {
		failed.Reason = fmt.Sprintf("not done after %s", timeout)
	}
	return failed
}

func (e *Engine) arguments(command []string, v Version) []string {
	fill := strings.NewReplacer("{dir}", v.Dir, "{base}", e.Base, "{version}", v.Number, "{previous_dir}", v.PreviousDir)
	args := make([]string, len(command))
	for i, a := range command {
		if i > 0 { // the program is as the settings name it
			a = fill.Replace(a)
		}
		args[i] = a
	}
	return args
}

// lastBytes keeps the last maxOutput bytes written to it.
type lastBytes struct{ buf []byte }

func (l *lastBytes) Write(p []byte) (int, error) {
	l.buf = append(l.buf, p[max(0, len(p)-maxOutput):]...)
	if over := len(l.buf) - maxOutput; over > 0 {
		l.buf = append(l.buf[:0], l.buf[over:]...)
	}
	return len(p), nil
}

func (l *lastBytes) String() string { return strings.ToValidUTF8(string(l.buf), "�") }
