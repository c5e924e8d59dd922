package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/freshet/freshet/agent"
	"github.com/freshet/freshet/internal/api"
)

// group members may change things; see docs/operations.md.
const groupName = "freshet"

// session is a line to an agent: to the one that runs or, where none does, to
// the same core in this process.
type session struct {
	*api.Client
	own *agent.Agent // nil: an agent runs
}

// connect finds the agent that runs, else makes one of this process.
func (o *options) connect(ctx context.Context) (*session, error) {
	client := api.Dial(o.socket)
	var v api.Version
	err := client.Get(ctx, "/v1/version", &v)
	if err == nil {
		return &session{Client: client}, nil
	}
	if api.CodeOf(err) != api.Unreachable {
		return nil, err
	}
	if !mayMake(o.stateDir) {
		return nil, &api.Error{Code: api.Unreachable, Text: fmt.Sprintf("%v, and there is no state folder %s", err, o.stateDir)}
	}
	own, err := o.agent()
	if err != nil {
		return nil, err
	}
	if err := own.Open(); err != nil {
		return nil, err
	}
	me := api.Caller{UID: os.Geteuid(), GID: os.Getegid(), PID: os.Getpid()}
	return &session{Client: api.Local(own.Handler(), me), own: own}, nil
}

// mayMake says whether dir is there, or may be made by this user.
func mayMake(dir string) bool {
	for {
		_, err := os.Stat(dir)
		if err == nil {
			return true
		}
		parent := filepath.Dir(dir)
		if !errors.Is(err, fs.ErrNotExist) || parent == dir {
			return true // whoever uses it says what is wrong
		}
		if _, err := os.Stat(parent); err == nil {
			return unix.Access(parent, unix.W_OK) == nil
		}
		dir = parent
	}
}

// close ends what this process does of an agent's work.
func (s *session) close() error {
	if s.own == nil {
		return nil
	}
	return s.own.Close()
}

// agent is the agent's core as the flags say.
func (o *options) agent() (*agent.Agent, error) {
	disk, err := testDisk()
	if err != nil {
		return nil, err
	}
	c, err := testClock()
	if err != nil {
		return nil, err
	}
	a := &agent.Agent{
		Settings: o.config, Dir: o.stateDir, Runtime: o.runtime(),
		Version: version, Group: groupName, Disk: disk, Clock: c,
	}
	a.Recheck = testRecheck()
	return a, nil
}
