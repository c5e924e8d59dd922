package supervisor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/freshet/freshet/internal/command"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/rollback"
)

// The module that is Freshet itself, and its program within a slot.
const (
	agentModule  = "agent"
	agentProgram = "freshet"
)

// family starts processes, and knows all that were started.
type family struct {
	mu   sync.Mutex // guards pids, and is held while a process starts
	pids map[int]bool
}

func (f *family) start(c *exec.Cmd) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := c.Start(); err != nil {
		return err
	}
	if f.pids == nil {
		f.pids = map[int]bool{}
	}
	f.pids[c.Process.Pid] = true
	return nil
}

func (f *family) ended(pid int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.pids, pid)
}

// endStrays kills what c left: what came to this process, a subreaper, when c
// ended, and bears c's mark.
func (f *family) endStrays(c *child) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, pid := range strays(f.pids) {
		if marked(pid, c.mark) {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
}

// child is a program that the supervisor started.
type child struct {
	module string
	slot   rollback.Slot
	cmd    *exec.Cmd
	line   *line // of an agent alone
	tail   *tail
	began  time.Duration

	stage  stage         // of a module's program: serves, or ends
	heard  bool          // a module listened at its endpoint
	served time.Duration // when it began to serve; 0: it did not
	beat   time.Duration // the last sign of its main loop
	report Report
	mark   string // in the environment of all that it starts
	killed reason // the first one
}

// reason is why a program was killed.
type reason int

const (
	notKilled  reason = iota
	notWanted         // another version is
	leftByHand        // an operator went back, without it
	endsLate
	neverReady
	neverTook
	hangs
)

// text says it to people.
func (r reason) text(t Times) string {
	switch r {
	case notWanted:
		return "another version is wanted"
	case leftByHand:
		return "an operator went back"
	case endsLate:
		return fmt.Sprintf("it did not end within %s", t.Stop)
	case neverReady:
		return fmt.Sprintf("it was not ready within %s", t.Ready)
	case neverTook:
		return fmt.Sprintf("it did not take over within %s", t.Ready)
	case hangs:
		return fmt.Sprintf("it hangs: no sign of its main loop for %s", t.Beat)
	}
	return ""
}

// seatOf is what step sees of an agent.
func seatOf(c *child) seat {
	if c == nil {
		return seat{}
	}
	return seat{c.stage, c.slot.Dir}
}

// kill ends the whole group of a program that hangs or does not end.
func (c *child) kill(why reason) {
	if c.killed == notKilled {
		c.killed = why
	}
	_ = unix.Kill(-c.cmd.Process.Pid, unix.SIGKILL)
	_ = c.cmd.Process.Kill() // also where it is in no group of its own yet
}

// end tells a program to end.
func (c *child) end() {
	c.stage = ends
	_ = c.cmd.Process.Signal(unix.SIGTERM)
}

// worked is for how long a program that ended at now had done its work: an
// agent from when it served to its last sign of life, any other from its start.
func (c *child) worked(now time.Duration) time.Duration {
	switch {
	case c.line == nil:
		return now - c.began
	case c.served == 0:
		return 0
	}
	return c.beat - c.served
}

// how says in words how a program ended.
func (c *child) how(err error, t Times) string {
	text := "it ended with exit code 0"
	if err != nil {
		text = err.Error()
	}
	if c.killed != notKilled {
		text = c.killed.text(t)
	}
	return text
}

// programOf is the program of a slot, by its path.
func (s *Supervisor) programOf(module string, slot rollback.Slot) string {
	if slot.Dir == "" {
		return s.Program // of no slot: this very program
	}
	name := agentProgram
	if len(slot.Start) > 0 {
		name = slot.Start[0]
	}
	return filepath.Join(s.Dir, "modules", module, slot.Dir, name)
}

// startAgent starts the agent of a slot. It loads, and waits for its turn. Where
// the kernel does not start a program that is not on trial, as one on a file
// system mounted noexec, the package's serves in its place.
func (s *Supervisor) startAgent(slot rollback.Slot) (*child, error) {
	own := s.programOf(agentModule, slot)
	c, err := s.startAgentBy(own, slot)
	var refused *startError
	if !errors.As(err, &refused) || s.onTrial(agentModule, slot) || s.Package == "" || s.Package == own {
		return c, err
	}
	c, err = s.startAgentBy(s.Package, slot)
	if why := refused.Error(); err == nil && why != s.replaced {
		s.replaced = why
		s.tell(event.AgentOfPackage, map[string]string{"version": slot.Version, "error": why})
	}
	return c, err
}

// onTrial says whether a module's slot is what the trial that runs tries.
func (s *Supervisor) onTrial(module string, slot rollback.Slot) bool {
	return s.trial != nil && slot.Dir != "" && s.trial.slots[module].Dir == slot.Dir
}

func (s *Supervisor) startAgentBy(program string, slot rollback.Slot) (*child, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("making a line: %w", err)
	}
	mine, its := os.NewFile(uintptr(pair[0]), fdLine), os.NewFile(uintptr(pair[1]), fdLine)
	defer its.Close()
	conn, err := net.FileConn(mine)
	mine.Close()
	if err != nil {
		return nil, fmt.Errorf("making a line: %w", err)
	}
	args := append([]string{"agent"}, s.Args...)
	c := &child{module: agentModule, slot: slot, line: newLine(conn), stage: loads}
	c.cmd = exec.Command(program, args...)
	c.cmd.ExtraFiles = []*os.File{its, s.socket, s.lock.File()}
	c.cmd.Env = append(environment(), lineEnv+"="+lineVersion, "LISTEN_FDS=3",
		"LISTEN_FDNAMES="+strings.Join([]string{fdLine, fdSocket, fdLock}, ":"))
	if err := s.startChild(c); err != nil {
		conn.Close()
		return nil, err
	}
	go func() { // ends with the line, which ends with the program
		_ = c.line.read(func(m Message) { s.post(func() { s.said(c, m) }) })
	}()
	return c, nil
}

// environment is this process's, without what its own manager told it alone.
func environment() []string {
	var env []string
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		switch name {
		case "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES",
			lineEnv, fdsEnv, SlotEnv:
			continue
		}
		env = append(env, v)
	}
	return env
}

// startError says that the kernel does not start a program.
type startError struct{ err error }

func (e *startError) Error() string { return e.err.Error() }
func (e *startError) Unwrap() error { return e.err }

// startChild starts c.cmd, keeps the end of what it says, and posts its end.
func (s *Supervisor) startChild(c *child) error {
	c.tail = &tail{}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	c.cmd.Stdout, c.cmd.Stderr = w, w
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	s.started++
	c.mark = fmt.Sprintf("FRESHET_STARTED=%d.%d", os.Getpid(), s.started)
	c.cmd.Env = append(c.cmd.Env, c.mark)
	err = s.family.start(c.cmd)
	w.Close()
	if err != nil {
		r.Close()
		var path *fs.PathError // it names the program once more
		if errors.As(err, &path) {
			err = path.Err
		}
		return &startError{fmt.Errorf("starting %s: %w", c.cmd.Path, whyNotStarted(c.cmd.Path, err))}
	}
	c.began = s.now()
	c.beat = c.began
	go c.tail.copy(r, s.Output)
	go func() {
		err := c.cmd.Wait()
		s.family.ended(c.cmd.Process.Pid)
		if c.line != nil {
			c.line.Close()
		}
		s.post(func() { s.exited(c, err) })
	}()
	return nil
}

// tail keeps the last lines that a program wrote.
type tail struct {
	mu    sync.Mutex // guards lines
	lines []string
}

const (
	tailLines = 20
	tailWidth = 400 // bytes of a line
)

// copy reads r to its end, passing lines on to w.
func (t *tail) copy(r io.ReadCloser, w io.Writer) {
	defer r.Close()
	in := bufio.NewReaderSize(r, 4096)
	for {
		part, err := in.ReadSlice('\n') // a longer line comes in parts
		if len(part) > 0 {
			if w != nil {
				_, _ = w.Write(part)
			}
			t.add(strings.TrimRight(string(part), "\n"))
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

// Write adds what a command says at once.
func (t *tail) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		t.add(strings.TrimRight(line, "\n"))
	}
	return len(p), nil
}

func (t *tail) add(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, text[:min(len(text), tailWidth)])
	if len(t.lines) > tailLines {
		t.lines = t.lines[len(t.lines)-tailLines:]
	}
}

// text is the last n lines.
func (t *tail) text(n int) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.lines[max(0, len(t.lines)-n):], "\n")
}

// observe looks at an agent, from outside and by what it says. It takes at most
// limit.
func (s *Supervisor) observe(c *child, limit time.Duration) Observation {
	ctx, stop := context.WithTimeout(context.Background(), limit)
	defer stop()
	o := Observation{}
	api := Check{Name: "api", OK: true}
	if err := answers(ctx, s.Socket); err != nil {
		api.OK, api.Text = false, "the local API does not answer: "+err.Error()
	}
	o.Checks = append(o.Checks, api)
	m, err := c.line.ask(ctx, Message{Do: doHealth})
	says := Check{Name: healthCheck, OK: err == nil}
	if err != nil {
		says.Text = "it does not say how it is: " + err.Error()
	}
	o.Checks = append(o.Checks, says)
	o.Checks = append(o.Checks, m.Checks[:min(len(m.Checks), 64)]...)
	o.Checks = append(o.Checks, s.moduleChecks(ctx)...)
	o.Memory, o.CPU = used(c.cmd.Process.Pid)
	o.Others = m.Others
	return o
}

// endpointCheck begins the name of the check of a module's endpoint.
const endpointCheck = "endpoint of "

// moduleChecks runs the health commands of the other modules.
func (s *Supervisor) moduleChecks(ctx context.Context) []Check {
	s.mu.Lock()
	slots := s.running
	s.mu.Unlock()
	var all sync.WaitGroup
	each := make([][]Check, len(slots))
	for i, name := range sorted(slots) { // at once: one that hangs takes no time from another
		if name != agentModule {
			all.Go(func() { each[i] = s.checksOf(ctx, name, slots[name]) })
		}
	}
	all.Wait()
	return slices.Concat(each...)
}

func (s *Supervisor) checksOf(ctx context.Context, name string, slot rollback.Slot) []Check {
	var all []Check
	if slot.Endpoint != "" {
		c := Check{Name: endpointCheck + name, OK: true, Module: name}
		if err := endpointAnswers(ctx, slot.Endpoint); err != nil {
			c.OK, c.Text, c.Loading = false, err.Error(), errors.Is(err, unix.ECONNREFUSED)
		}
		all = append(all, c)
	}
	if len(slot.Health) > 0 {
		all = append(all, s.moduleCheck(ctx, name, slot))
	}
	return all
}

func (s *Supervisor) moduleCheck(ctx context.Context, name string, slot rollback.Slot) Check {
	c := Check{Name: "health of " + name, Module: name}
	dir := filepath.Join(s.Dir, "modules", name, slot.Dir)
	program := slot.Health[0]
	if !filepath.IsAbs(program) {
		program = filepath.Join(dir, program)
	}
	out := &tail{}
	_, err := command.Command{
		Args: append([]string{program}, slot.Health[1:]...), Dir: dir, Env: environment(), Out: out, Start: s.family.start, Ended: s.family.ended,
	}.Run(ctx)
	err = errors.Join(err, ctx.Err())
	if err != nil {
		c.Text = strings.TrimSpace(err.Error() + ": " + out.text(5))
		return c
	}
	c.OK = true
	return c
}

// reap takes note of the end of strays.
func (f *family) reap() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, pid := range strays(f.pids) {
		_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
	}
}
