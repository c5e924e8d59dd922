package firewall

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/freshet/freshet/internal/command"
)

const (
	maxOutput    = 64 << 20
	maxComplaint = 4 << 10
	commandTime  = 2 * time.Minute
)

// toolFolders are where the host's tools are looked for: never in a PATH that
// somebody else set.
var toolFolders = []string{"/usr/local/sbin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}

// tool finds a tool of the host; "" if it is not there.
func (f *Firewall) tool(name string) string {
	folders := f.Path
	if folders == nil {
		folders = toolFolders
	}
	for _, dir := range folders {
		path := filepath.Join(dir, name)
		if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return path
		}
	}
	return ""
}

// run runs a tool with input as its whole standard input, and gives what it
// wrote. There is no shell.
//
// The tool inherits the lock over the firewall's folder: if this process dies
// first, the next one waits until the tool is done. Its input is a file that
// was written whole: a tool never reads half a transaction, and takes it for
// a whole one.
func (f *Firewall) run(ctx context.Context, input, path string, args ...string) (string, error) {
	out := &bounded{most: maxOutput}
	err := f.pipe(ctx, input, out, path, args...)
	if err == nil && out.more {
		err = fmt.Errorf("%s wrote more than %d bytes", filepath.Base(path), maxOutput)
	}
	if err != nil {
		return "", err
	}
	return out.String(), nil
}

// pipe is run for a tool that may write much.
func (f *Firewall) pipe(ctx context.Context, input string, out io.Writer, path string, args ...string) error {
	if path == "" {
		return errors.New("a tool is missing")
	}
	what := filepath.Base(path) + " " + strings.Join(args, " ")
	if err := f.Disk.Do("exec", what); err != nil {
		return err
	}
	complaint := &bounded{most: maxComplaint}
	c := command.Command{Args: append([]string{path}, args...), Env: toolEnv(), Out: out, Err: complaint, Limit: commandTime}
	if f.held != nil {
		c.Files = []*os.File{f.held.File()}
	}
	if input != "" {
		in, err := inMemory(input)
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		defer in.Close()
		c.In = in
	}
	if _, err := c.Run(ctx); err != nil {
		return fmt.Errorf("%s: %w: %s", what, err, oneLine(complaint.String()))
	}
	return f.Disk.Do("exec", what+" done")
}

// toolEnv is what the tools may know of this process's environment.
func toolEnv() []string {
	env := []string{"PATH=" + strings.Join(toolFolders, ":"), "LANG=C"}
	if lock := os.Getenv("XTABLES_LOCKFILE"); lock != "" {
		env = append(env, "XTABLES_LOCKFILE="+lock)
	}
	return env
}

// inMemory is a file with text, at its beginning, that has no name.
func inMemory(text string) (*os.File, error) {
	fd, err := unix.MemfdCreate("rules", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("holding its input: %w", err)
	}
	f := os.NewFile(uintptr(fd), "rules")
	if _, err := f.WriteString(text); err == nil {
		_, err = f.Seek(0, 0)
		if err == nil {
			return f, nil
		}
	}
	f.Close()
	return nil, errors.New("holding its input: no memory")
}

// bounded keeps the first bytes of what is written, and takes all.
type bounded struct {
	bytes.Buffer
	most int
	more bool
}

func (b *bounded) Write(p []byte) (int, error) {
	room := b.most - b.Len()
	if len(p) > room {
		b.more = true
		b.Buffer.Write(p[:room])
		return len(p), nil
	}
	return b.Buffer.Write(p)
}

// oneLine is what a tool complained of, for an error of one line.
func oneLine(s string) string {
	f := strings.FieldsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
	return strings.Join(f, "; ")
}
