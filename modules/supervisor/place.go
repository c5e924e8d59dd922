package supervisor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/rollback"
)

// Environment of a supervised program: LISTEN_FDS and LISTEN_FDNAMES as in
// sd_listen_fds(3), but without LISTEN_PID, and this, the line's protocol.
const lineEnv = "FRESHET_LINE"

const lineVersion = "1"

// Names of what is handed on, from file descriptor 3 on.
const (
	fdLine   = "line"
	fdSocket = "agent.sock"
	fdLock   = "lock"
)

// Place is an agent's place under its supervisor.
type Place struct {
	Listener net.Listener // of the local API; it is served once Taken has returned
	Health   func() []Check
	Others   func() int        // callers who are not root, held now or served since it was called last; nil: it is not known
	Tell     func(event.Event) // logs an event of the supervisor's

	line  *line
	lock  *os.File      // held as long as this process lives
	every time.Duration // set before taken is closed
	taken chan struct{}
	once  sync.Once
	ended chan struct{}
}

// Above says whether a supervisor started this process. Attach, which takes the
// place, forgets it.
func Above() bool { return os.Getenv(lineEnv) != "" }

// Attach gives the place that the environment tells of; nil if this process
// has no supervisor.
func Attach() (*Place, error) {
	if os.Getenv(lineEnv) == "" {
		return nil, nil
	}
	files, err := handed(os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES"))
	if err != nil {
		return nil, err
	}
	for _, name := range []string{lineEnv, "LISTEN_FDS", "LISTEN_FDNAMES"} {
		os.Unsetenv(name) // they are not for the commands that it runs
	}
	p := &Place{lock: files[fdLock], taken: make(chan struct{}), ended: make(chan struct{})}
	if files[fdLine] == nil || files[fdSocket] == nil {
		return nil, errors.New("taking the place under a supervisor: it handed on neither line nor socket")
	}
	conn, err := net.FileConn(files[fdLine])
	if err != nil {
		return nil, fmt.Errorf("taking the place under a supervisor: %w", err)
	}
	files[fdLine].Close()
	p.line = newLine(conn)
	if p.Listener, err = net.FileListener(files[fdSocket]); err != nil {
		return nil, fmt.Errorf("taking the place under a supervisor: %w", err)
	}
	files[fdSocket].Close()
	return p, nil
}

// handed gives the files of LISTEN_FDS by their names. They are not inherited
// any further.
func handed(count, names string) (map[string]*os.File, error) {
	n, err := strconv.Atoi(count)
	list := strings.Split(names, ":")
	if err != nil || n < 1 || n > 64 || n != len(list) {
		return nil, fmt.Errorf("LISTEN_FDS %q and LISTEN_FDNAMES %q do not match", count, names)
	}
	files := map[string]*os.File{}
	for i, name := range list {
		unix.CloseOnExec(3 + i)
		files[name] = os.NewFile(uintptr(3+i), name)
	}
	return files, nil
}

// Serve takes what the supervisor says, until the line ends.
func (p *Place) Serve() {
	defer close(p.ended)
	_ = p.line.read(func(m Message) { // the end of the line is all that it tells
		switch m.Do {
		case doTake:
			p.once.Do(func() {
				p.every = time.Duration(m.Every) * time.Millisecond
				close(p.taken)
			})
		case doTell:
			if m.Event != nil && p.Tell != nil {
				p.Tell(*m.Event)
			}
			p.line.answer(m, Message{}, nil)
		case doHealth:
			go func() { p.line.answer(m, p.health(), nil) }()
		default:
			p.line.answer(m, Message{}, fmt.Errorf("%q is not understood", m.Do))
		}
	})
}

func (p *Place) health() Message {
	m := Message{Checks: p.Health()}
	if p.Others != nil {
		m.Others = p.Others()
	}
	return m
}

// Ready says that all is loaded, and waits until this agent takes over.
func (p *Place) Ready(ctx context.Context, r Report) error {
	if err := p.line.send(Message{Do: doReady, Report: &r}); err != nil {
		return err
	}
	select {
	case <-p.taken:
		return nil
	case <-p.ended:
		return errLineEnded
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Lock is the state folder's lock, which the supervisor holds for its agents: as
// long as one of them lives no other supervisor begins.
func (p *Place) Lock() (*durable.Lock, error) {
	if p.lock == nil {
		return nil, errors.New("the supervisor handed on no lock")
	}
	fd, err := unix.FcntlInt(p.lock.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, fmt.Errorf("taking the lock over: %w", err)
	}
	return durable.Inherited(os.NewFile(uintptr(fd), fdLock)), nil
}

// Every is how often Beat is to be called at least.
func (p *Place) Every() time.Duration { return p.every }

// Serving says that the API is served.
func (p *Place) Serving() error { return p.line.send(Message{Do: doServing}) }

// Beat says that the main loop turns.
func (p *Place) Beat() { _ = p.line.send(Message{Do: doBeat}) } // its end is noticed elsewhere

// Ended is closed when the supervisor is gone: the agent ends too.
func (p *Place) Ended() <-chan struct{} { return p.ended }

// Switch has the supervisor replace the state was by is.
func (p *Place) Switch(was, is rollback.State) error {
	ctx, stop := context.WithTimeout(context.Background(), 2*sendTime)
	defer stop()
	_, err := p.line.ask(ctx, Message{Do: doSwitch, Was: &was, Is: &is})
	return err
}
