package modules

import (
	"context"
	"fmt"
	"strings"
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

// run runs a command of the settings, see process.
func (e *Engine) run(ctx context.Context, step string, command []string, v Version) error {
	if len(command) == 0 {
		return ctx.Err()
	}
	timeout := e.timeout()
	args := e.arguments(command, v)
	out := &lastBytes{}
	p := process{
		Args: args, Timeout: timeout, Out: out,
		Env: []string{
			"FRESHET_BASE=" + e.Base, "FRESHET_VERSION=" + v.Number,
			"FRESHET_DIR=" + v.Dir, "FRESHET_PREVIOUS_DIR=" + v.PreviousDir,
		},
	}
	ended, err := p.run(ctx)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case ended == nil:
		return fmt.Errorf("running the %s command of %s: %w", step, e.Base, err)
	}
	return &CommandError{Step: step, Command: args, Exit: ended.ExitCode(), Output: out.String(), Reason: err.Error()}
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
