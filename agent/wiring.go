package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"time"

	"golang.org/x/sys/unix"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/internal/event"
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
}

// maxRoot bounds the pinned root of trust in bytes.
const maxRoot = 512 << 10

// loadSettings reads the settings once. A file that is missing or wrong leaves
// the defaults in force.
func (a *Agent) loadSettings() error {
	s, err := settings.Load(a.Settings)
	if err != nil {
		s = settings.Default()
		a.refused = refusal(err)
	}
	a.force = a.wire(s)
	return nil
}

// refusal is why settings are not in force; a missing file is no refusal.
func refusal(err error) string {
	if errors.Is(err, settings.ErrMissing) {
		return ""
	}
	return err.Error()
}

// adopt puts s in force, or keeps what is and says why. It is called when the
// file changed.
func (a *Agent) adopt(s *settings.Settings, err error) {
	if errors.Is(err, settings.ErrMissing) {
		s, err = settings.Default(), nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		if a.refused != err.Error() {
			a.refused = err.Error()
			a.emit(event.SettingsRefused, map[string]string{"file": a.Settings, "error": err.Error()})
		}
		return
	}
	old := a.force.settings
	same := reflect.DeepEqual(old, s)
	if same && a.refused == "" {
		return
	}
	a.refused = ""
	a.force = a.wire(s)
	a.seen = nil
	a.emit(event.SettingsLoaded, map[string]string{"file": a.Settings})
	a.reschedule(!reflect.DeepEqual(old.Sources, s.Sources) || old.Root != s.Root || !reflect.DeepEqual(old.Bases, s.Bases))
	a.nudge()
}

func (a *Agent) wire(s *settings.Settings) *inForce {
	f := &inForce{settings: s, count: &source.Counter{}}
	for _, src := range s.Sources {
		if dir, ok := src.Folder(); ok {
			f.sources = append(f.sources, &source.Folder{Path: dir, Count: f.count})
			continue
		}
		f.sources = append(f.sources, &source.HTTP{
			URL: src.URL, Proxy: src.Proxy, ProxyCredentials: src.ProxyCredentials,
			ConnectTimeout: time.Duration(s.Update.ConnectTimeout),
			UserAgent:      "freshet/" + a.Version, Count: f.count,
		})
	}
	return f
}

// updater makes an updater of what is in force. Each use has its own: an
// updater serves one goroutine. The root of trust is read anew, since it may
// be put in place after the agent started; without one there is none to trust,
// and updates say so.
func (a *Agent) updater(f *inForce) *updater.Updater {
	root, err := readRoot(f.settings.Root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.warn("no root of trust", err)
	}
	u := &updater.Updater{
		Dir: a.Dir, Runtime: a.Runtime, Version: a.Version, Disk: a.Disk, Clock: a.Clock,
		Root: root, Sources: f.sources, Count: f.count,
		Stale: map[string]bases.Thresholds{}, Engines: map[string]*modules.Engine{},
		Emit: a.emit,
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
	return b.Deliver != nil || b.Try != nil || b.Took != nil || b.Signal != nil || b.Health != nil
}

func seconds(d settings.Duration) bases.Seconds { return bases.Seconds(time.Duration(d) / time.Second) }

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

// schedule is that of the settings, for tasks that run by themselves.
func (f *inForce) schedule() schedule {
	return schedule{Enabled: true, Every: time.Duration(f.settings.Update.Every), RandomDelay: time.Duration(f.settings.Update.RandomDelay)}
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
