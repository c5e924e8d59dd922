package modules

import (
	"context"
	"errors"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/freshet/freshet/internal/command"
)

// process is a program to run as [command.Command] says, with nothing of the
// agent's environment.
type process struct {
	Args    []string
	Env     []string // besides PATH and LANG
	Timeout time.Duration
	Out     io.Writer // what it writes
	Err     io.Writer // nil: to Out too
	User    *account  // nil: the agent's own
	Leaves  bool      // it starts services, which go on when it ends
}

// run gives how the process ended: nil if it could not be started. An exit
// code that is not 0 is an error, and the end of its time a [TimeoutError].
func (p process) run(ctx context.Context) (*os.ProcessState, error) {
	c := command.Command{
		Args: p.Args, Dir: "/", Env: append([]string{"PATH=" + commandPath, "LANG=C.UTF-8"}, p.Env...),
		Out: p.Out, Err: p.Err, Limit: p.Timeout, Leaves: p.Leaves,
	}
	if p.User != nil {
		c.User = &syscall.Credential{Uid: p.User.uid, Gid: p.User.gid}
	}
	ended, err := c.Run(ctx)
	var late *command.LateError
	if errors.As(err, &late) {
		err = &TimeoutError{After: late.After}
	}
	return ended, err
}

// account is whom a process runs as.
type account struct{ uid, gid uint32 }

// unprivileged is the account of that name, for a process that has to read
// dirs: nil if the agent is not root, if there is no such account, or if dirs
// are closed to it.
func unprivileged(name string, dirs ...string) *account {
	if os.Geteuid() != 0 || name == "" {
		return nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return nil
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err1 != nil || err2 != nil || uid == 0 {
		return nil
	}
	for _, dir := range dirs {
		if !openToOthers(dir) {
			return nil
		}
	}
	return &account{uint32(uid), uint32(gid)}
}

func openToOthers(dir string) bool {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return false
	}
	for {
		st, err := os.Stat(dir)
		if err != nil || st.Mode().Perm()&0o001 == 0 {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
		dir = filepath.Dir(dir)
	}
}
