package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"time"

	"golang.org/x/sys/unix"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/internal/eventlog"
	"github.com/freshet/freshet/internal/settings"
	"github.com/freshet/freshet/internal/source"
	"github.com/freshet/freshet/modules"
	"github.com/freshet/freshet/updater"
)

// inForce is what the settings mean. It is swapped whole, never changed.
type inForce struct {
	settings *settings.Settings
	sources  []source.Source
	count    *source.Counter
	text     []byte // the file that they are from; nil: they are the defaults
	keeps    bool   // what they do not name stays: no operator took it out
}

// read says whether they are from a file, and not the defaults.
func (f *inForce) read() bool { return f.text != nil }

// maxRoot bounds the pinned root of trust in bytes.
const maxRoot = 512 << 10

// loadSettings reads the settings once. In place of a file that is wrong the
// one accepted last is in force, and the defaults where none was. Without a
// file the defaults are.
func (a *Agent) loadSettings() {
	s, text, err := settings.LoadText(a.Settings)
	if err == nil {
		a.force = a.forceOf(s, text)
		return
	}
	a.force = a.wire(settings.Default())
	if a.refused = refusal(err); a.refused == "" {
		return
	}
	a.unlifted = unlifted(err)
	if last, ok := a.accepted(); ok {
		a.relog(a.force.settings.Log, last.settings.Log)
		a.force = last
	}
}

// refusal is why settings are not in force; a missing file is no refusal.
func refusal(err error) string {
	if errors.Is(err, settings.ErrMissing) {
		return ""
	}
	return err.Error()
}

// adopt puts s in force, or keeps what is and says why. It is called when the
// file changed. A file that was there and is gone is a mistake like others.
func (a *Agent) adopt(s *settings.Settings, text []byte, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.adoptLocked(s, text, err)
}

func (a *Agent) adoptLocked(s *settings.Settings, text []byte, err error) {
	switch {
	case err == nil:
	case errors.Is(err, settings.ErrMissing) && !a.force.read():
		a.refused = ""
		return
	case a.refused == err.Error():
		return
	default:
		a.refused, a.unlifted = err.Error(), unlifted(err)
		a.tellRefused()
		return
	}
	old := a.force.settings
	if reflect.DeepEqual(old, s) && a.refused == "" && a.force.read() {
		return
	}
	a.refused = ""
	a.force = a.forceOf(s, text)
	a.keepAccepted()
	a.seen = nil
	a.relog(old.Log, s.Log)
	if old.Events != s.Events {
		if err := a.openEvents(); err != nil {
			a.warn("events are not kept", err)
		}
	}
	a.emit(event.SettingsLoaded, map[string]string{"file": a.Settings})
	a.reschedule(predefined[0], !reflect.DeepEqual(old.Sources, s.Sources) || old.Root != s.Root || !reflect.DeepEqual(old.Bases, s.Bases) || !reflect.DeepEqual(old.Modules, s.Modules))
	a.takeBack = a.takeBack || !reflect.DeepEqual(old.Bases, s.Bases)
	a.takeBackDelivered()
	a.nudge()
	signal(a.rewatch)
	signal(a.remetrics)
	signal(a.wall.again)
}

// relog has the log follow the settings.
func (a *Agent) relog(old, now settings.Log) {
	if a.Log == nil || old == now {
		return
	}
	l, err := eventlog.NewLogger(now.To, now.Level)
	if err != nil {
		a.warn("the log stays where it is", err)
		return
	}
	a.Log.SetOutput(l.Out)
	a.Log.SetLevel(l.Level)
	a.Log.ReplaceHooks(l.Hooks)
}

// wire makes of settings what the agent works with.
func (a *Agent) wire(s *settings.Settings) *inForce {
	f := &inForce{settings: s, count: &source.Counter{}}
	for _, src := range s.Sources {
		if dir, ok := src.Folder(); ok {
			f.sources = append(f.sources, local(dir, f.count))
			continue
		}
		f.sources = append(f.sources, &source.HTTP{
			URL: src.URL, Proxy: src.Proxy, ProxyCredentials: src.ProxyCredentials,
			CA: src.CA, Token: src.Token, Credentials: src.Credentials, PlainHTTP: src.PlainHTTP,
			ConnectTimeout: time.Duration(s.Update.ConnectTimeout),
			UserAgent:      "freshet/" + a.Version, Count: f.count, Time: a.present(s.Root),
		})
	}
	return f
}

// updater makes an updater of what is in force. Each use has its own: an
// updater serves one goroutine. The root of trust is read anew, since it may
// be put in place after the agent started; see [inForce.ready] for none.
func (a *Agent) updater(f *inForce) *updater.Updater {
	root, _ := readRoot(f.settings.Root)
	u := &updater.Updater{
		Dir: a.Dir, Runtime: a.Runtime, Version: a.Version, Disk: a.Disk, Clock: a.Clock,
		Root: root, Sources: f.sources, Count: f.count,
		Stale: map[string]bases.Thresholds{}, Engines: map[string]*modules.Engine{},
		Emit: a.emit, Ceiling: int64(f.settings.Disk.Ceiling), Bandwidth: int64(f.settings.Update.Bandwidth),
		Every: time.Duration(f.settings.Update.Every), Pace: &a.pace,
	}
	// The defaults name no engine: that is no reason to take anything away.
	u.TakeBack, u.KeepAll = f.read() && !f.keeps, f.keeps
	u.Modules = &updater.ModulePolicy{Mode: f.settings.Modules.Mode, Each: f.settings.Modules.Modes(), Silent: f.settings.Modules.Notices == "off"}
	if a.place != nil {
		u.Switcher = a.place
	}
	for _, b := range f.settings.Bases {
		u.Bases = append(u.Bases, b.Name)
		if used(b) {
			u.Engines[b.Name] = modules.From(b, a.Dir)
		}
		if b.OutOfDate > 0 {
			u.Stale[b.Name] = bases.Thresholds{OutOfDate: seconds(b.OutOfDate), TotallyOutOfDate: seconds(b.TotallyOutOfDate)}
		}
	}
	return u
}

// used says whether the settings name anything that uses the base.
func used(b settings.Base) bool {
	return b.Engine != "" || b.Deliver != nil || b.Try != nil || b.Took != nil || b.Signal != nil || b.Health != nil
}

func seconds(d settings.Duration) bases.Seconds { return bases.Seconds(time.Duration(d) / time.Second) }

// ready says what is missing for an update with f. A service goes on with the
// settings accepted last; a command whose file is wrong says so. The caller
// holds a.mu.
func (a *Agent) ready(f *inForce) error {
	switch {
	case a.refused != "" && !(a.service && f.read()):
		return &api.Error{
			Code: api.SettingsInvalid, Text: "the settings file is wrong: " + a.refused,
			Hint: fmt.Sprintf("mend it, and try it with freshet settings check %s", a.Settings),
		}
	case len(f.sources) == 0 && !f.read():
		return &api.Error{
			Code: api.RunFailed, Text: fmt.Sprintf("no source is set: there is no settings file %s", a.Settings),
			Hint: "freshet enroll URL --root FILE writes it, with the address and the root of trust that the publisher gives you",
		}
	case len(f.sources) == 0:
		return &api.Error{
			Code: api.RunFailed, Text: fmt.Sprintf("no source is set in %s", a.Settings),
			Hint: "freshet enroll URL --root FILE sets it, with the address and the root of trust that the publisher gives you",
		}
	}
	if _, err := readRoot(f.settings.Root); err != nil {
		return &api.Error{
			Code: api.RunFailed, Text: fmt.Sprintf("no root of trust: %v", err),
			Hint: fmt.Sprintf("put the publisher's metadata/1.root.json at %s, got on a way that you trust, or set root: in %s", f.settings.Root, a.Settings),
		}
	}
	return nil
}

// readyNow is ready of what is in force.
func (a *Agent) readyNow() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ready(a.force)
}

// readRoot reads the pinned root of trust.
func readRoot(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxRoot+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxRoot {
		return nil, fmt.Errorf("%s has more than %d bytes", path, maxRoot)
	}
	return data, nil
}

// usual is the timing of the update task, and its random delay.
func (f *inForce) usual() (api.Timing, time.Duration) {
	return api.Timing{Kind: api.Interval, Every: api.Duration(f.settings.Update.Every)}, time.Duration(f.settings.Update.RandomDelay)
}

// watchSettings adopts each change of the file until ctx ends.
func (a *Agent) watchSettings(ctx context.Context) error {
	err := settings.Watch(ctx, a.Settings, a.adopt)
	if err != nil {
		a.warn("settings are not reloaded when they change", err)
		<-ctx.Done()
	}
	return nil
}
