package agent

import (
	"context"
	"net"
	"sync"

	"github.com/freshet/freshet/internal/api"
)

// maxConns is how many connections one user may hold, root excepted: every
// local user may connect, and none may shut the others out.
const maxConns = 16

// fair is a listener that closes what a user connects beyond maxConns.
type fair struct {
	net.Listener

	mu   sync.Mutex // guards held
	held map[int]int
}

func (f *fair) Accept() (net.Conn, error) {
	for {
		conn, err := f.Listener.Accept()
		if err != nil {
			return nil, err
		}
		caller, known := api.CallerOf(api.Peer(context.Background(), conn))
		u, unix := conn.(*net.UnixConn)
		if !known || !unix || caller.UID == 0 {
			return conn, nil
		}
		if f.take(caller.UID) {
			return &heldConn{UnixConn: u, release: sync.OnceFunc(func() { f.give(caller.UID) })}, nil
		}
		conn.Close()
	}
}

func (f *fair) take(uid int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.held == nil {
		f.held = map[int]int{}
	}
	if f.held[uid] >= maxConns {
		return false
	}
	f.held[uid]++
	return true
}

func (f *fair) give(uid int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.held[uid]--; f.held[uid] == 0 {
		delete(f.held, uid)
	}
}

type heldConn struct {
	*net.UnixConn
	release func()
}

func (c *heldConn) Close() error {
	c.release()
	return c.UnixConn.Close()
}
