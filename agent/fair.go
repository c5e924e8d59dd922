package agent

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/freshet/freshet/internal/api"
)

// Every local user may connect, and none may shut the others out, nor all of
// them root.
const (
	maxConns  = 16 // that one user may hold
	maxOthers = 64 // that all may hold who are not root, where there are descriptors enough

	ownFiles   = 48 // descriptors that the agent works with; what is more is shared with others
	spareFiles = 8  // kept for root, who needs one for the connection and some for the answer
)

// fair is a listener that refuses what a user, or all that are not root, connect
// beyond their bounds. When no descriptor is left it gives up spare ones, for
// root alone, who is always answered.
type fair struct {
	net.Listener
	most int // for all who are not root

	mu     sync.Mutex // guards what follows
	held   map[int]int
	all    int
	spare  []int // descriptors
	spared int   // connections that have them now
	ended  bool
}

func newFair(ln net.Listener) *fair {
	f := &fair{Listener: ln, most: mostOthers()}
	f.refill()
	return f
}

// mostOthers is how many connections callers who are not root may hold, by the
// descriptors that this process may have.
func mostOthers() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return maxConns
	}
	return max(2, min(maxOthers, (int(min(limit.Cur, 1<<20))-ownFiles)/2))
}

func (f *fair) Accept() (net.Conn, error) {
	for {
		conn, spared, err := f.accept()
		if err != nil {
			return nil, err
		}
		caller, known := api.CallerOf(api.Peer(context.Background(), conn))
		u, isUnix := conn.(*net.UnixConn)
		switch {
		case !isUnix || !known:
			return conn, nil
		case privileged(caller, known):
			spared = spared || (f.givenUp() || short()) && f.giveUp() // its answer takes some too
			return &heldConn{UnixConn: u, release: sync.OnceFunc(func() { f.takeBack(spared) })}, nil
		case !spared && f.take(caller.UID):
			return &heldConn{UnixConn: u, release: sync.OnceFunc(func() { f.give(caller.UID); f.refill() })}, nil
		}
		conn.Close()
		f.takeBack(spared)
	}
}

// accept is the next connection, and whether the spare descriptors were given up
// for it.
func (f *fair) accept() (conn net.Conn, spared bool, err error) {
	conn, err = f.Listener.Accept()
	if !errors.Is(err, unix.EMFILE) && !errors.Is(err, unix.ENFILE) {
		return conn, false, err
	}
	// It says so where nobody connects, too: then they stay.
	if waitErr := awaitCaller(f.Listener); waitErr != nil {
		return nil, false, waitErr
	}
	if !f.giveUp() {
		return nil, false, err
	}
	if conn, err = f.Listener.Accept(); err != nil {
		f.takeBack(true)
		return nil, false, err
	}
	return conn, true, nil
}

// awaitCaller returns when somebody connects, and takes no descriptor for that.
// It fails when the listener is closed.
func awaitCaller(ln net.Listener) error {
	u, ok := ln.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return err
	}
	for calls := 0; calls == 0; {
		err := raw.Control(func(fd uintptr) { // who closes the listener waits for it
			calls, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 100)
			calls = max(calls, 0) // interrupted
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *fair) take(uid int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.held == nil {
		f.held = map[int]int{}
	}
	if f.held[uid] >= maxConns || f.all >= f.most {
		return false
	}
	f.held[uid]++
	f.all++
	return true
}

func (f *fair) give(uid int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all--
	if f.held[uid]--; f.held[uid] == 0 {
		delete(f.held, uid)
	}
}

// refill takes the spare descriptors again, as far as there are any, once nobody
// needs them.
func (f *fair) refill() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for !f.ended && f.spared == 0 && len(f.spare) < spareFiles {
		fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return
		}
		f.spare = append(f.spare, fd)
	}
}

// giveUp closes the spare descriptors for a connection and says whether there
// were any, or another has them: then both do, and they are not taken again
// under the one that is left. It is ended by takeBack.
func (f *fair) giveUp() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.spare) == 0 && f.spared == 0 {
		return false
	}
	f.closeSpare()
	f.spared++
	return true
}

// givenUp says whether a connection has the spare descriptors.
func (f *fair) givenUp() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.spared > 0
}

// short says whether there are fewer descriptors left than the spare ones.
func short() bool {
	var free []int
	defer func() {
		for _, fd := range free {
			unix.Close(fd)
		}
	}()
	for range spareFiles {
		fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return true
		}
		free = append(free, fd)
	}
	return false
}

func (f *fair) closeSpare() {
	for _, fd := range f.spare {
		unix.Close(fd)
	}
	f.spare = nil
}

// takeBack is for the end of a connection.
func (f *fair) takeBack(spared bool) {
	if spared {
		f.mu.Lock()
		f.spared--
		f.mu.Unlock()
	}
	f.refill()
}

// Close closes the spare descriptors too.
func (f *fair) Close() error {
	f.mu.Lock()
	f.ended = true
	f.closeSpare()
	f.mu.Unlock()
	return f.Listener.Close()
}

type heldConn struct {
	*net.UnixConn
	release func()
}

func (c *heldConn) Close() error {
	err := c.UnixConn.Close()
	c.release() // its descriptor is free now
	return err
}
