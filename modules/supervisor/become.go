package supervisor

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Environment of a supervisor that another one, or the launcher, started.
const (
	fdsEnv     = "FRESHET_FDS"     // "agent.sock=5,lock=6": what it goes on holding
	SlotEnv    = "FRESHET_SLOT"    // the program that was started, by its path
	PackageEnv = "FRESHET_PACKAGE" // the program that a package brought
)

// goOnAs replaces this program, once all that it started has ended. The sockets
// stay open: who connects meanwhile waits. It returns only if that cannot be done.
func (s *Supervisor) goOnAs(program string) {
	s.say("this process goes on as %s", program)
	fds := []string{
		fmt.Sprintf("%s=%d", fdSocket, s.socket.Fd()),
		fmt.Sprintf("%s=%d", fdLock, s.lock.File().Fd()),
	}
	files := []*os.File{s.socket, s.lock.File()}
	for _, f := range files {
		_, _ = unix.FcntlInt(f.Fd(), unix.F_SETFD, 0) // it would be closed else
	}
	env := []string{}
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); name != fdsEnv && name != SlotEnv {
			env = append(env, v)
		}
	}
	env = append(env, fdsEnv+"="+strings.Join(fds, ","), SlotEnv+"="+program)
	err := unix.Exec(program, slices.Concat([]string{program, "supervise"}, s.Args, s.SuperviseArgs), env)
	for _, f := range files {
		unix.CloseOnExec(int(f.Fd()))
	}
	s.say("%s does not start: %v", program, err)
	if s.trial != nil {
		s.trial.failure = failure{agentModule, "supervisor", fmt.Sprintf("its program cannot be started: %v", err), ""}
	}
	s.on(happening{kind: notExecuted})
}

// inherited gives what the supervisor before this one hands on.
func inherited() (map[string]*os.File, error) {
	files := map[string]*os.File{}
	text := os.Getenv(fdsEnv)
	os.Unsetenv(fdsEnv)
	if text == "" {
		return files, nil
	}
	for _, part := range strings.Split(text, ",") {
		name, number, _ := strings.Cut(part, "=")
		fd, err := strconv.Atoi(number)
		if err != nil || fd < 3 {
			return map[string]*os.File{}, fmt.Errorf("%s is %q: nothing is taken over", fdsEnv, text)
		}
		unix.CloseOnExec(fd)
		if files[name], err = shared(fd, name); err != nil {
			return map[string]*os.File{}, fmt.Errorf("%s is %q: nothing is taken over: %w", fdsEnv, text, err)
		}
	}
	return files, nil
}
