package supervisor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/rollback"
)

// What a person wants goes to the agent. One thing must be had without it: the
// way back from an agent that hangs. For that the supervisor listens itself, for
// its own user alone, and takes one line of JSON a connection.
//
//	freshet rollback ─► agent.sock ─► an agent that hangs
//	              └───► supervisor.sock ─► supervisor: another state, another agent

const doGoBack = "go-back" // a person: make current what Generation holds

// requestTime is how long a connection may take.
const requestTime = 10 * time.Second

func requestSocket(runtime string) string { return filepath.Join(runtime, "supervisor.sock") }

// listenForRequests serves the socket until ctx ends. Without it all else goes on.
func (s *Supervisor) listenForRequests(ctx context.Context) {
	path := requestSocket(s.Runtime)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.say("listening on %s: %v", path, err)
		return
	}
	mask := unix.Umask(0o077) // there is no moment at which others may connect
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	unix.Umask(mask)
	if err != nil {
		s.say("listening on %s: %v", path, err)
		return
	}
	context.AfterFunc(ctx, func() { ln.Close() })
	go func() { // ends with the listener
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			s.serveRequest(conn)
		}
	}()
}

// serveRequest answers the one request of a connection.
func (s *Supervisor) serveRequest(conn net.Conn) {
	l := newLine(conn)
	defer l.Close()
	if err := conn.SetReadDeadline(time.Now().Add(requestTime)); err != nil {
		return
	}
	m, err := readMessage(bufio.NewReader(conn))
	if err != nil || m.ID == 0 {
		return
	}
	done := make(chan struct{})
	go s.post(func() {
		defer close(done)
		s.requested(l, m)
	})
	select {
	case <-done:
	case <-s.done:
	}
}

func (s *Supervisor) requested(l *line, m Message) {
	if m.Do != doGoBack {
		l.answer(m, Message{}, fmt.Errorf("%q is not understood", m.Do))
		return
	}
	r, err := s.goBack(m.Generation, m.Force)
	a := Message{From: r.Left.Number, To: r.Back.Number, None: errors.Is(err, rollback.ErrNoGeneration), Lost: r.Lost()}
	if removes := new(rollback.RemovesError); errors.As(err, &removes) {
		a.To, a.Lost = removes.To, removes.Lost
	}
	l.answer(m, a, err)
}

// goBack makes what a generation holds current, as [rollback.Store.GoBack] does.
// The agent, of which nothing is known but that it did not answer, is not asked:
// another one starts, and brings engines in line.
func (s *Supervisor) goBack(n int, force bool) (rollback.Return, error) {
	var r rollback.Return
	if s.at.leaving() {
		return r, errors.New("the supervisor is about to end or to be replaced: try again in a few seconds")
	}
	_, err := s.change(func(st rollback.State) (_ rollback.State, err error) {
		st, r, err = s.store().GoBack(st, n, s.Clock.Now().UTC(), s.lacks, force)
		return st, err
	})
	if err != nil {
		return r, err
	}
	s.say("going back from generation %d to what %d holds, without the agent", r.Left.Number, r.Back.Number)
	s.tell(event.WentBack, map[string]string{
		"from": fmt.Sprint(r.Left.Number), "to": fmt.Sprint(r.Back.Number), "what": r.String(),
	})
	s.decided, s.crashes = s.now(), backoff{}
	for _, c := range []*child{s.agent, s.next} {
		if c != nil {
			c.stage = ends
			c.kill(leftByHand)
		}
	}
	s.reconcile()
	return r, nil
}

// lacks names something of a generation whose folder is not there. Content is
// verified by agents.
func (s *Supervisor) lacks(g rollback.Generation) string {
	for _, name := range sorted(g.Bases) {
		if _, err := os.Stat(filepath.Join(s.Dir, "bases", name, g.Bases[name].Dir)); err != nil {
			return fmt.Sprintf("base %s version %d", name, g.Bases[name].Version)
		}
	}
	for _, name := range sorted(g.Modules) {
		slot := g.Modules[name]
		if _, err := os.Stat(filepath.Join(s.Dir, "modules", name, slot.Dir)); err != nil {
			return fmt.Sprintf("module %s %s", name, slot.Version)
		}
	}
	return ""
}

// ErrNone says that no supervisor takes requests of this user's.
var ErrNone = errors.New("no supervisor answers")

// GoBack has the supervisor whose runtime folder this is make current what a
// generation holds, without its agent; 0 is the previous one. It gives the
// generations left and returned to, and what is gone with force. The error is
// ErrNone, rollback.ErrNoGeneration, or a *rollback.RemovesError, where it is one
// of these.
func GoBack(ctx context.Context, runtime string, generation int, force bool) (from, to int, lost []string, err error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", requestSocket(runtime))
	if err != nil {
		return 0, 0, nil, fmt.Errorf("%w at %s: %w", ErrNone, requestSocket(runtime), err)
	}
	l := newLine(conn)
	defer l.Close()
	if err := l.send(Message{ID: 1, Do: doGoBack, Generation: generation, Force: force}); err != nil {
		return 0, 0, nil, err
	}
	if err := conn.SetReadDeadline(time.Now().Add(requestTime)); err != nil {
		return 0, 0, nil, err
	}
	a, err := readMessage(bufio.NewReader(conn))
	switch {
	case err != nil:
		return 0, 0, nil, fmt.Errorf("reading the supervisor's answer: %w", err)
	case a.None:
		return 0, 0, nil, &noGeneration{a.Error}
	case a.Error != "" && len(a.Lost) > 0:
		return 0, 0, nil, &rollback.RemovesError{To: a.To, Lost: a.Lost}
	case a.Error != "":
		return 0, 0, nil, errors.New(a.Error)
	}
	return a.From, a.To, a.Lost, nil
}

// noGeneration is rollback.ErrNoGeneration, in another process's words.
type noGeneration struct{ text string }

func (e *noGeneration) Error() string { return e.text }
func (e *noGeneration) Unwrap() error { return rollback.ErrNoGeneration }
