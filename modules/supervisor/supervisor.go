// Package supervisor is the service's main process: it starts the agent and the
// modules' programs of the current generation, judges trials of modules, and
// takes back by itself what is unhealthy. What watches is not what is watched:
// it reads nothing from the network and no settings.
//
//	systemd ─► launcher ─► supervisor ─┬─► agent       (line, sockets, lock handed on)
//	                          │        ├─► next agent  (loads beside it, then takes over)
//	                      state.json   └─► modules' programs
//
// One goroutine does all; others post to it what they saw. What runs is derived
// from the current generation and reconciled to it, after each change.
package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/freshet/freshet/internal/clock"
	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/rollback"
)

// Supervisor supervises one endpoint. Its fields are set before Run.
type Supervisor struct {
	Dir      string   // state folder
	Runtime  string   // folder that a boot empties
	Socket   string   // of the local API, which agents serve
	Settings string   // file of the operator's settings; it is kept over a trial, not read
	Args     []string // flags that agents and supervisors are started with
	Program  string   // this very program

	// SuperviseArgs are flags of supervisors alone.
	SuperviseArgs []string

	Package  string // the program that a package brought; "": none did
	Version  string
	Disk     *durable.Disk
	Clock    *clock.Clock
	Times    Times
	Output   io.Writer          // what programs say, and what is done; nil: nowhere
	Notify   func(state string) // tells the service manager, as sd_notify(3); nil: none
	Watchdog time.Duration      // how often it wants to be told; 0: never

	lock   *durable.Lock
	socket *os.File // listening
	family family
	posts  chan func()
	done   chan struct{} // closed when Run ends: nobody takes posts any more

	agent     *child // serves, or is about to
	next      *child // loads, to take its place
	others    map[string]*child
	at        state         // see step
	read      view          // the state on disk, as it was read last
	watch     clock.Watch   // by which all is counted
	crashes   backoff       // of agents
	trial     *trial        // nil: none runs
	verdict   verdict       // on the last one that was rolled back
	unsaved   string        // what could not be saved last, in words
	seen      []Observation // of an agent not on trial, the newest last
	observing observing     // at this time
	support   string        // whom an operator may ask, as an agent said
	pending   []event.Event
	left      durable.Left // files of its own that are left as they are
	sending   bool
	decided   time.Duration // on the last rollback; 0: all is well again, which is said
	gaps      map[string]gap
	packaged  string // version of the package's program
	failing   string // how the agent ended last
	replaced  string // why the package's program serves in place of a slot's
	wrote     Status // last
	started   int    // programs
	become    string // the program to go on as, where this process hands over

	mu      sync.Mutex // guards running
	running map[string]rollback.Slot
}

// ErrRunning says that another supervisor, or an agent run by hand, holds the
// state folder.
var ErrRunning = errors.New("another process holds the state folder")

// Run supervises until ctx ends, and then ends all that it started.
func (s *Supervisor) Run(ctx context.Context) error {
	s.Times = s.Times.orDefaults()
	s.posts, s.done = make(chan func(), 64), make(chan struct{})
	s.watch = s.Clock.Turn(s.watch, 0)
	s.at.times = s.Times
	s.others, s.running, s.gaps = map[string]*child{}, map[string]rollback.Slot{}, map[string]gap{}
	defer close(s.done)
	handed, err := s.hold(ctx)
	if err != nil {
		return err
	}
	defer s.lock.Unlock()
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		s.say("what agents leave behind cannot be ended: %v", err)
	}
	if err := s.listen(); err != nil {
		return err
	}
	// No agent lives yet: what broken writes left is nobody's.
	if err := s.Disk.Reap(s.Dir); err != nil {
		s.say("what broken writes left: %v", err)
	}
	s.loadPending()
	s.begin(handed)
	s.listenForRequests(ctx)
	s.reconcile()
	return s.loop(ctx)
}

// hold takes the state folder, or goes on with what a supervisor before it, which
// became this one, held and handed on.
func (s *Supervisor) hold(ctx context.Context) (handed bool, err error) {
	files, err := inherited()
	if err != nil {
		s.say("%v", err)
	}
	s.socket = files[fdSocket]
	if f := files[fdLock]; f != nil {
		s.lock = durable.Inherited(f)
		return true, nil
	}
	for _, dir := range []string{s.Dir, s.Runtime, filepath.Dir(s.Socket)} {
		if err := s.Disk.MkdirAll(dir, 0o755); err != nil {
			return false, fmt.Errorf("making the folders: %w", err)
		}
	}
	ctx, stop := context.WithTimeout(ctx, s.Times.Stop) // that agents of one that died have to end
	defer stop()
	s.lock, err = s.Disk.LockWait(ctx, filepath.Join(s.Dir, "lock"))
	if errors.Is(err, durable.ErrLocked) {
		return false, fmt.Errorf("%s: %w", s.Dir, ErrRunning)
	}
	return false, err
}

// listen makes the socket. It stays open as long as this process lives, from
// one agent to the next: nobody is refused.
func (s *Supervisor) listen() error {
	if s.socket != nil {
		return nil
	}
	if st, err := os.Lstat(s.Socket); err == nil {
		if st.Mode().Type() != fs.ModeSocket {
			return fmt.Errorf("listening on %s: something else than a socket is there", s.Socket)
		}
		if err := os.Remove(s.Socket); err != nil { // who holds the lock owns it
			return fmt.Errorf("removing a dead socket: %w", err)
		}
	}
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: s.Socket, Net: "unix"})
	if err != nil {
		return fmt.Errorf("listening on %s: %w", s.Socket, err)
	}
	ln.SetUnlinkOnClose(false)
	defer ln.Close()
	if err := os.Chmod(s.Socket, 0o666); err != nil {
		return fmt.Errorf("listening on %s: %w", s.Socket, err)
	}
	f, err := ln.File()
	if err != nil {
		return fmt.Errorf("listening on %s: %w", s.Socket, err)
	}
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return fmt.Errorf("listening on %s: %w", s.Socket, err)
	}
	s.socket, err = shared(fd, fdSocket)
	return err
}

// shared is a socket that agents accept from. It does not block, and os.File
// must not know: to hand it on it would make it block, also for the agent that
// accepts at that time, which could not be ended then but by a connection.
func shared(fd int, name string) (*os.File, error) {
	if err := unix.SetNonblock(fd, false); err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	return f, unix.SetNonblock(fd, true)
}

// now is the supervisor's time, as of the turn of its loop.
func (s *Supervisor) now() time.Duration { return s.watch.Now }

// post has the one goroutine do f.
func (s *Supervisor) post(f func()) {
	select {
	case s.posts <- f:
	case <-s.done:
	}
}

// Poke has the supervisor look at the state again.
func (s *Supervisor) Poke() { go s.post(s.reconcile) }

func (s *Supervisor) say(format string, args ...any) {
	if s.Output != nil {
		fmt.Fprintf(s.Output, "freshet supervisor: "+format+"\n", args...)
	}
}

func (s *Supervisor) notify(state string) {
	if s.Notify != nil {
		s.Notify(state)
	}
}

func (s *Supervisor) store() rollback.Store { return rollback.Store{Dir: s.Dir, Disk: s.Disk} }

// change saves what f makes of the state; f may run again.
func (s *Supervisor) change(f func(rollback.State) (rollback.State, error)) (rollback.State, error) {
	for i := 0; ; i++ {
		was, err := s.store().Load()
		if err != nil {
			return was, err
		}
		is, err := f(was)
		if err != nil {
			return was, err
		}
		err = s.store().Switch(was, is)
		if !errors.Is(err, rollback.ErrChanged) || i == 5 {
			return is, err
		}
	}
}

func (s *Supervisor) loop(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	told := ctx.Done()
	var ticked, pace time.Duration
	for {
		select {
		case <-told:
			s.watch = s.Clock.Turn(s.watch, pace)
			told = nil
			s.stop()
		case f := <-s.posts:
			s.watch = s.Clock.Turn(s.watch, pace)
			f()
		case <-timer.C:
			s.watch = s.Clock.Turn(s.watch, pace)
			ticked = s.now()
			s.tick()
		}
		if s.at.handsOver() && s.alone() {
			s.goOnAs(s.become)
		}
		if s.at.process == ending && s.alone() {
			os.Remove(s.statusPath())
			return nil
		}
		// However much is posted meanwhile, the next tick comes in time.
		pace = s.pace()
		timer.Reset(max(0, ticked+pace-s.now()))
	}
}

func (s *Supervisor) alone() bool {
	return s.agent == nil && s.next == nil && len(s.others) == 0
}

// pace is how long nothing needs to be looked at.
func (s *Supervisor) pace() time.Duration {
	if s.trial != nil || s.next != nil || s.at.leaving() || s.agent == nil || s.agent.stage == ends || s.at.due > 0 {
		return s.Times.Look / 5
	}
	idle := s.Times.Beat / 3
	if s.Watchdog > 0 {
		idle = min(idle, s.Watchdog/2)
	}
	now := s.now()
	for name, g := range s.gaps {
		if s.others[name] == nil && g.crashes.retry > now {
			idle = min(idle, g.crashes.retry-now) // it is started again then
		}
	}
	return idle
}

// stop ends everything in order: that is no bad end of a trial.
func (s *Supervisor) stop() {
	s.notify("STOPPING=1")
	os.Remove(s.markPath())
	s.on(happening{kind: stopped})
}

// endAll tells all that was started to end.
func (s *Supervisor) endAll() {
	now := s.now()
	for _, c := range s.others {
		c.end()
		c.beat = now
	}
	if s.next != nil {
		s.next.end()
		s.next.beat = now
	}
	if s.agent != nil {
		s.agent.end()
		s.agent.beat = now
	}
}

// tick does what time brings.
func (s *Supervisor) tick() {
	now := s.now()
	s.notify("WATCHDOG=1")
	for _, c := range s.others {
		if c.stage == ends && now-c.beat > s.Times.Stop {
			c.kill(endsLate)
		}
	}
	s.hurry(s.agent, now)
	s.hurry(s.next, now)
	s.family.reap()
	s.on(happening{kind: ticked})
	s.reconcile()
	s.rest()
	if s.at.leaving() {
		return
	}
	if s.left.Due(s.pendingPath(), s.Clock.Now()) {
		s.savePending()
	}
	s.sendPending()
	s.look(now)
	s.writeStatus()
}

// hurry kills what does not load, turn or end in time.
func (s *Supervisor) hurry(c *child, now time.Duration) {
	if c == nil || c.killed != notKilled {
		return
	}
	switch {
	case c.stage == ends && now-c.beat > s.Times.Stop:
		c.kill(endsLate)
	case c.stage == loads && now-c.began > s.Times.Ready:
		c.kill(neverReady)
	case c.stage == takes && now-c.beat > s.Times.Ready:
		c.kill(neverTook)
	case c.stage == serves && now-c.beat > s.Times.Beat:
		c.kill(hangs)
	}
}
