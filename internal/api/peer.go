package api

import (
	"context"
	"net"
	"os/user"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Caller is the process at the other end of the socket.
type Caller struct {
	UID int
	GID int
	PID int
}

type callerKey struct{}

// WithCaller says on whose behalf a request is made.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerOf tells who made a request; ok is false if that is not known.
func CallerOf(ctx context.Context) (c Caller, ok bool) {
	c, ok = ctx.Value(callerKey{}).(Caller)
	return c, ok
}

// Peer asks the kernel who is at the other end of a unix socket (SO_PEERCRED,
// unix(7)): who connected it, whoever writes to it now. It is for
// [net/http.Server.ConnContext]. Where there is no answer the caller stays
// unknown.
func Peer(ctx context.Context, conn net.Conn) context.Context {
	u, ok := conn.(syscall.Conn)
	if !ok {
		return ctx
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return ctx
	}
	var cred *unix.Ucred
	cerr := raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if cerr != nil || err != nil || cred == nil {
		return ctx
	}
	return WithCaller(ctx, Caller{UID: int(cred.Uid), GID: int(cred.Gid), PID: int(cred.Pid)})
}

// Gate decides who may change things. Everyone may read.
type Gate struct {
	UID   int    // the agent's own user, besides root
	Group string // whose members may too; "": none
}

// MayChange says whether the caller may change things: root, the agent's user,
// and whoever has the group as primary or supplementary one.
func (g Gate) MayChange(c Caller) bool {
	if c.UID == 0 || c.UID == g.UID {
		return true
	}
	if g.Group == "" {
		return false
	}
	group, err := user.LookupGroup(g.Group)
	if err != nil {
		return false
	}
	if group.Gid == strconv.Itoa(c.GID) {
		return true
	}
	u, err := user.LookupId(strconv.Itoa(c.UID))
	if err != nil {
		return false
	}
	groups, err := u.GroupIds()
	return err == nil && slices.Contains(groups, group.Gid)
}
