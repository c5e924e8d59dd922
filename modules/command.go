package modules

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	defaultTimeout    = time.Minute
	defaultTryTimeout = 15 * time.Minute // clamscan takes a minute of CPU for 8 million signatures, and hosts are busy
	maxOutput         = 4 << 10
	maxSaid           = 300 // bytes of the last line of an output
	commandPath       = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// CommandError says that a command of an engine ran and did not succeed.
type CommandError struct {
	Step    string   `json:"step"` // "try", "took" or "health"
	Command []string `json:"command"`
	Exit    int      `json:"exit"`   // -1: it crashed
	Output  string   `json:"output"` // the last 4 KiB of what it wrote
	Reason  string   `json:"reason"`
}

func (e *CommandError) Error() string {
	return fmt.Sprintf("%s command %s: %s", e.Step, e.Command[0], e.Reason) + said(e.Output)
}

// TimeoutError says that a program of an engine was not done in time. That is
// no judgement of a version: with a good one, too, a busy host takes its time.
type TimeoutError struct {
	Step    string // "try", "took" or "health"
	Program string
	After   time.Duration
	Output  string // the last 4 KiB of what it wrote
	Cause   error  // what it waited for, or nil
}

func (e *TimeoutError) Error() string {
	text := fmt.Sprintf("not done after %s", e.After)
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	if e.Program != "" {
		text = fmt.Sprintf("%s command %s: %s", e.Step, e.Program, text)
	}
	return text + said(e.Output)
}

// Timeout is always true: see [IsTimeout].
func (e *TimeoutError) Timeout() bool { return true }

// IsTimeout says whether err is about time that ran out.
func IsTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// said quotes the last line of an output, for people. The marks around it are
// by which the agent masks it for those who may not change anything.
func said(output string) string {
	line := Printable(lastLine(output))
	if line == "" {
		return ""
	}
	line = strings.NewReplacer("“", "'", "”", "'", `"`, "'", `\`, "/").Replace(line)
	if len(line) > maxSaid {
		line = strings.ToValidUTF8(line[len(line)-maxSaid:], "")
	}
	return ": it wrote “" + line + "”"
}

// Evidence is what an engine's program wrote before it ended in err: at most 4
// KiB of lines that can be printed, or "".
func Evidence(err error) string {
	var command *CommandError
	var late *TimeoutError
	var output string
	switch {
	case errors.As(err, &command):
		output = command.Output
	case errors.As(err, &late):
		output = late.Output
	}
	output = Printable(output)
	if over := len(output) - maxOutput; over > 0 {
		output = strings.ToValidUTF8(output[over:], "")
	}
	return output
}

// Printable leaves characters out that steer a terminal, or the order of what is
// shown. Ends of lines and tabs stay.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || r != utf8.RuneError && unicode.IsGraphic(r) {
			return r
		}
		return -1
	}, s)
}

// run runs a command of the settings, see process.
func (e *Engine) run(ctx context.Context, step string, command []string, v Version) error {
	if len(command) == 0 {
		return ctx.Err()
	}
	args := e.arguments(command, v)
	out := &lastBytes{}
	p := process{
		Args: args, Timeout: e.limit(step), Out: out, Leaves: step == "took",
		Env: []string{
			"FRESHET_BASE=" + e.Base, "FRESHET_VERSION=" + v.Number,
			"FRESHET_DIR=" + v.Dir, "FRESHET_PREVIOUS_DIR=" + v.PreviousDir,
		},
	}
	ended, err := p.run(ctx)
	var late *TimeoutError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &late):
		return &TimeoutError{Step: step, Program: args[0], After: late.After, Output: out.String()}
	case ended == nil:
		return fmt.Errorf("running the %s command of %s: %w", step, e.Base, err)
	case !isVerdict(ended):
		return fmt.Errorf("the %s command %s gave no verdict: %w%s", step, args[0], err, said(out.String()))
	}
	return &CommandError{Step: step, Command: args, Exit: ended.ExitCode(), Output: out.String(), Reason: err.Error()}
}

// limit is how long a command of a step may take.
func (e *Engine) limit(step string) time.Duration {
	switch {
	case step == "try" && e.TryTimeout > 0:
		return e.TryTimeout
	case step == "try":
		return defaultTryTimeout
	}
	return e.timeout()
}

// isVerdict says whether the end of a command speaks of the version. To be
// killed, for want of memory say, does not; to crash does. Of exit codes those
// do not by which a shell says that what it ran is not there (126, 127) or was
// killed (128 and the signal's number), by which timeout(1) says that time ran
// out (124), and by which a command may say so itself: EX_TEMPFAIL of sysexits.h.
func isVerdict(ended *os.ProcessState) bool {
	const tempFail, outOfTime, notExecutable, notFound, signalled = 75, 124, 126, 127, 128
	if status, ok := ended.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return isCrash(status.Signal())
	}
	switch code := ended.ExitCode(); code {
	case tempFail, outOfTime, notExecutable, notFound:
		return false
	case signalled + int(syscall.SIGKILL), signalled + int(syscall.SIGTERM):
		return false
	}
	return true
}

// isCrash says whether a process gets the signal for what it does itself.
func isCrash(s syscall.Signal) bool {
	switch s {
	case syscall.SIGSEGV, syscall.SIGBUS, syscall.SIGABRT, syscall.SIGILL, syscall.SIGFPE, syscall.SIGSYS, syscall.SIGTRAP:
		return true
	}
	return false
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
