package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// usage is what a process used, as the kernel counted it (getrusage(2)).
type usage struct {
	CPU  time.Duration `json:"cpu"` // user and system
	RSS  int64         `json:"rss"` // peak resident set, bytes
	Wall time.Duration `json:"wall"`
}

// add is a process run after another.
func (u usage) add(v usage) usage {
	return usage{u.CPU + v.CPU, max(u.RSS, v.RSS), u.Wall + v.Wall}
}

// meter runs processes and says what they used.
//
// Linux counts in a process's peak what its parent had used until then, as
// both share memory up to the exec. So a small process of this program stands
// between, whose own few MiB are the least that can be read.
type meter struct{ self string }

// run runs a command, its stdout going to out (nil: nowhere). An exit code
// other than 0 and those in ok is an error that holds the end of its stderr.
func (m meter) run(ctx context.Context, out *os.File, ok []int, name string, args ...string) (usage, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return usage{}, err
	}
	defer r.Close()
	cmd := exec.CommandContext(ctx, m.self, append([]string{"child", "launch", name}, args...)...)
	// The whole group ends with an interrupted run, not only the launcher.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if out != nil {
		cmd.Stdout = out
	}
	cmd.ExtraFiles = []*os.File{w}
	err = cmd.Start()
	w.Close()
	if err != nil {
		return usage{}, err
	}
	data, readErr := io.ReadAll(r)
	if err := errors.Join(cmd.Wait(), readErr); err != nil {
		return usage{}, fmt.Errorf("running %s: %w: %s", filepath.Base(name), err, tail(stderr.Bytes()))
	}
	var l launched
	if err := json.Unmarshal(data, &l); err != nil {
		return usage{}, fmt.Errorf("running %s: %w", filepath.Base(name), err)
	}
	if l.Exit != 0 && !slices.Contains(ok, l.Exit) {
		return usage{}, fmt.Errorf("running %s: exit code %d: %s", filepath.Base(name), l.Exit, tail(stderr.Bytes()))
	}
	return l.usage, nil
}

// own runs a child command of this program and reads its answer, JSON on
// stdout, into answer (nil: there is none).
func (m meter) own(ctx context.Context, answer any, command string, args ...string) (usage, error) {
	out, err := os.CreateTemp("", "freshet-bench-answer-")
	if err != nil {
		return usage{}, err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	u, err := m.run(ctx, out, nil, m.self, append([]string{"child", command}, args...)...)
	if err != nil || answer == nil {
		return u, err
	}
	data, err := os.ReadFile(out.Name())
	if err != nil {
		return u, err
	}
	return u, json.Unmarshal(data, answer)
}

// floor is the least peak that can be read: that of a command which does nothing.
func (m meter) floor(ctx context.Context) (int64, error) {
	u, err := m.run(ctx, nil, nil, "true")
	return u.RSS, err
}

// launched is what the launcher reports on its file 3.
type launched struct {
	usage
	Exit int `json:"exit"`
}

// launch is the process in between.
func launch(args []string) error {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	begin := time.Now()
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return err
	}
	st := cmd.ProcessState
	l := launched{Exit: st.ExitCode()}
	l.Wall = time.Since(begin)
	l.CPU = st.UserTime() + st.SystemTime()
	l.RSS = st.SysUsage().(*syscall.Rusage).Maxrss << 10
	return json.NewEncoder(os.NewFile(3, "report")).Encode(l)
}

// tail is the end of a tool's complaint.
func tail(b []byte) string {
	const most = 500
	if len(b) > most {
		b = b[len(b)-most:]
	}
	return strings.TrimSpace(string(b))
}
