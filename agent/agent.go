// Package agent keeps an endpoint's bases fresh: it wires settings, updater,
// events and tasks together, runs the tasks at their times, watches how old
// the bases are, and serves the local API.
//
// There is one core with two lives. A service holds the state folder's lock
// for as long as it runs ([Agent.Run]). A command that finds no agent uses the
// same core and the same handler in its own process ([Agent.Open],
// [Agent.Handler]); it takes the lock when it first changes something.
package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/clock"
	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/eventlog"
	"github.com/freshet/freshet/internal/settings"
	"github.com/freshet/freshet/modules/supervisor"
	"github.com/freshet/freshet/updater"
)

// Agent is one endpoint's agent. Its fields are set before Open and left alone
// from then on.
type Agent struct {
	Settings string // file of the operator's settings
	Dir      string // state folder
	Runtime  string // folder that a boot empties
	Version  string
	Group    string // whose members may change things; "": none
	Disk     *durable.Disk
	Clock    *clock.Clock
	Log      *logrus.Logger // nil: silent

	// Recheck is the longest the agent sleeps before it looks at the clock
	// again, which may have been set; default 15 min.
	Recheck time.Duration

	// Zone is that of times of day; nil: the host's.
	Zone *time.Location

	// Beat, if set, is called by the main loop at least every BeatEvery.
	Beat      func()
	BeatEvery time.Duration

	// Checks, if set, are more checks of health by which a supervisor judges
	// this agent while it is on trial.
	Checks map[string]func(context.Context) error

	place *supervisor.Place // nil: no supervisor started it
	pace  updater.Pace      // of the sources, over all runs

	mu       sync.Mutex // guards what follows
	force    *inForce
	refused  string                   // why the settings file as it is now is not in force
	unlifted *settings.MigrationError // set with refused, where that is why
	records  records
	left     durable.Left // files that are left as they are
	starting bool         // startAgain is at work
	run      *run         // the running one, or nil
	last     map[int]*run
	fetched  fetched
	lock     *durable.Lock
	service  bool  // Run is at work
	ending   bool  // no run starts any more
	takeBack bool  // the settings' bases changed: see takeBackDelivered
	seen     *seen // what the watcher knows of the bases; nil: look again

	eventsMu sync.Mutex    // guards events; taken after mu, if both
	events   *eventlog.Log // nil without the lock
	engines  engineErrors  // guarded by eventsMu too

	wall      *wall
	wallError string // what is wrong with the firewall; guarded by mu

	callers *callers // who are not root

	wake      chan struct{} // of one: the loop has something to look at
	rewatch   chan struct{} // of one: the folder of bundles may be another
	remetrics chan struct{} // of one: where metrics are served may be another
	runs      sync.WaitGroup
}

// Open reads settings, tasks and events. It changes nothing and needs no lock.
// Settings that cannot be used are no error: those accepted last hold, or the
// defaults where there are none, see [api.Status.Refused].
func (a *Agent) Open() error {
	a.callers = newCallers()
	a.wake = make(chan struct{}, 1)
	a.rewatch = make(chan struct{}, 1)
	a.remetrics = make(chan struct{}, 1)
	a.last = map[int]*run{}
	a.wall = a.newWall()
	a.loadSettings()
	_, err := a.loadRecords()
	return err
}

// loadRecords also gives what is damaged of them.
func (a *Agent) loadRecords() (*damagedRecords, error) {
	recs, damaged, err := recall(a.Disk, a.Dir)
	if errors.Is(err, fs.ErrPermission) && os.Geteuid() != 0 { // root may: the system withholds it
		return nil, a.noAccess(err.Error())
	}
	a.left.Note(recordsPath(a.Dir), err, a.Clock.Now())
	a.records = recs
	return damaged, nil
}

// hold takes the state folder's lock and brings the folder into order, once.
// resume says that an update should run soon. A service goes on where the state
// cannot be read now, or not by this version. The caller holds a.mu.
func (a *Agent) hold(ctx context.Context, service bool) (resume bool, err error) {
	if a.lock != nil {
		a.recallAgain()
		return false, nil
	}
	lock, err := a.lockFolder()
	if errors.Is(err, durable.ErrLocked) {
		return false, &api.Error{Code: api.Locked, Text: fmt.Sprintf("the state folder %s is in use by another process", a.Dir)}
	}
	if err != nil {
		return false, a.denied(err)
	}
	a.lock = lock
	if a.place == nil { // else the supervisor did, before it started an agent
		if err := a.Disk.Reap(a.Dir); err != nil {
			return false, a.release(a.denied(err))
		}
	}
	// What another process did until now counts.
	damaged, err := a.loadRecords()
	if err != nil {
		return false, a.release(err)
	}
	if err := a.openEvents(); err != nil {
		return false, a.release(err)
	}
	resume, err = a.updater(a.force).Start(ctx)
	if durable.Lasting(err) && service {
		// What protects goes on, and its age is told; it is tried again.
		a.left.Note(a.statePath(), err, a.Clock.Now())
		err = nil
	}
	if err != nil {
		return false, a.release(fmt.Errorf("starting from %s: %w", a.Dir, err))
	}
	a.setAside(damaged)
	a.keepAccepted()
	a.tellLeft()
	return resume, nil
}

// lockFolder takes the lock, which a supervisor holds for its agents.
func (a *Agent) lockFolder() (*durable.Lock, error) {
	if a.place != nil {
		return a.place.Lock()
	}
	return a.updater(a.force).Lock()
}

// release gives the lock back after err.
func (a *Agent) release(err error) error {
	a.closeEvents()
	a.lock.Unlock()
	a.lock = nil
	return err
}

func (a *Agent) denied(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return a.noAccess(fmt.Sprintf("the state folder: %v", err))
	}
	return fmt.Errorf("the state folder: %w", err)
}

// noAccess says that this process may not touch its files. Where no agent runs
// that does, to be one of its group is of no use.
func (a *Agent) noAccess(text string) error {
	e := &api.Error{Code: api.Forbidden, Text: text}
	if !a.service {
		e.Hint = "run it as root; or run an agent of your own: freshet agent --state-dir DIR --socket DIR/agent.sock, and name both to each command"
	}
	return e
}

// Close stops a run, waits for its end, and gives the lock back.
func (a *Agent) Close() error {
	a.mu.Lock()
	a.ending = true
	if a.run != nil {
		a.run.cancel(errEnding)
	}
	a.mu.Unlock()
	a.runs.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.lock == nil {
		return nil
	}
	err := a.updater(a.force).Orderly()
	a.closeEvents()
	err = errors.Join(err, a.lock.Unlock())
	a.lock = nil
	return err
}

// nudge has the loop look at what changed.
func (a *Agent) nudge() {
	a.callers.forget()
	signal(a.wake)
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (a *Agent) warn(what string, err error) {
	if a.Log != nil {
		a.Log.WithError(err).Warn(what)
	}
}

// gate says who may change things: besides root and the group the agent's own
// user or, for a command in its own process, the owner of the state folder.
func (a *Agent) gate() api.Gate {
	return api.Gate{UID: os.Geteuid(), Group: a.Group}
}
