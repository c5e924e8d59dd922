package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/durable"
)

const (
	readTimeout = 10 * time.Second
	endTimeout  = 5 * time.Second
	maxHeader   = 16 << 10
)

// listen gives the supervisor's socket, or one of this process's: only who
// holds the lock may take it over.
func (a *Agent) listen(socket string) (net.Listener, error) {
	if a.place != nil {
		return a.place.Listener, nil
	}
	return Listen(socket)
}

// Listen listens on a unix socket that every local user may connect to; who
// may do what is decided by who they are. A socket that nobody answers on is
// replaced. An *api.Error of code Locked says that an agent answers there.
func Listen(socket string) (net.Listener, error) {
	dir := filepath.Dir(socket)
	if err := durable.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("making the socket's folder: %w", err)
	}
	st, err := os.Lstat(socket)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("listening on %s: %w", socket, err)
	case st.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("listening on %s: something else than a socket is there", socket)
	default:
		conn, err := net.DialTimeout("unix", socket, readTimeout)
		if err == nil {
			conn.Close()
			return nil, &api.Error{Code: api.Locked, Text: fmt.Sprintf("an agent listens on %s already", socket)}
		}
		if err := os.Remove(socket); err != nil {
			return nil, fmt.Errorf("removing a dead socket: %w", err)
		}
	}
	ln, err := net.Listen("unix", socket)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", socket, err)
	}
	if err := openToAll(socket); err != nil {
		ln.Close()
		return nil, fmt.Errorf("listening on %s: %w", socket, err)
	}
	return ln, nil
}

// openToAll lets every user connect to the socket, and changes nothing that
// has come to its place.
func openToAll(socket string) error {
	fd, err := unix.Open(socket, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK || int(st.Uid) != os.Geteuid() {
		return errors.New("something else has come to its place")
	}
	return os.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), 0o666)
}

// serve answers requests on ln until ctx ends.
func (a *Agent) serve(ctx context.Context, ln net.Listener) error {
	base, cancel := context.WithCancel(context.Background())
	defer cancel()
	s := &http.Server{
		Handler:           a.Handler(),
		ReadHeaderTimeout: readTimeout,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    maxHeader,
		ConnContext:       api.Peer,
		BaseContext:       func(net.Listener) context.Context { return base },
		ErrorLog:          a.httpLog(),
	}
	s.RegisterOnShutdown(cancel) // streams end, or the shutdown would wait for them
	done := make(chan error, 1)
	go func() { done <- s.Serve(newFair(ln)) }()
	select {
	case err := <-done:
		return fmt.Errorf("serving the API: %w", err)
	case <-ctx.Done():
	}
	end, stop := context.WithTimeout(context.Background(), endTimeout)
	defer stop()
	if err := s.Shutdown(end); err != nil {
		s.Close()
	}
	<-done
	return nil
}
