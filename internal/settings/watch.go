package settings

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settle is how long after the first sign of a change the file is read:
// editors write, rename and remove in several steps.
const settle = 150 * time.Millisecond

// poll is how often the file is read without any sign of a change: where the
// kernel has no watch left, or tells nothing, as of a network's file systems.
const poll = 30 * time.Second

// maxLinks is how many links lead to a file at most, as for the kernel.
const maxLinks = 40

// Watch calls changed with what LoadText says of path at once, and again whenever
// that changes, until ctx ends; it then returns nil. After an error the caller
// keeps the settings it has. Neither the file nor its folder need be there. Of a
// file that links lead to, each link is watched as well. Where nothing can be
// watched the file is read every half a minute.
func Watch(ctx context.Context, path string, changed func(*Settings, []byte, error)) error {
	full, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("watching settings: %w", err)
	}
	w := &watcher{path: full, named: path, changed: changed, every: poll}
	if notify, err := fsnotify.NewWatcher(); err == nil {
		w.notify, w.events, w.errors = notify, notify.Events, notify.Errors
		defer notify.Close()
	}
	w.aim()
	w.read()
	return w.run(ctx)
}

type watcher struct {
	notify  *fsnotify.Watcher // nil: the kernel gave none
	events  <-chan fsnotify.Event
	errors  <-chan error
	path    string // absolute
	named   string // as the caller names it, for what is said of it
	changed func(*Settings, []byte, error)
	every   time.Duration
	aimed   []aim
	last    string // what was read last, to tell a change
}

// aim is a folder that is watched for what leads to a file in it, or below it.
type aim struct{ dir, path string }

func (w *watcher) run(ctx context.Context) error {
	timer := time.NewTimer(0)
	if !timer.Stop() {
		<-timer.C
	}
	ticker := time.NewTicker(w.every)
	defer ticker.Stop()
	armed := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-w.events:
			if !ok {
				return errors.New("watching settings: the watch ended")
			}
			if !armed && w.concerns(e) {
				timer.Reset(settle)
				armed = true
			}
		case <-w.errors: // such as an overflow: something may have changed
			if !armed {
				timer.Reset(settle)
				armed = true
			}
		case <-timer.C:
			armed = false
			w.aim()
			w.read()
		case <-ticker.C:
			w.aim()
			w.read()
		}
	}
}

// concerns says whether an event is about the file or what leads to it. Others
// write in these folders too, or in those above while one is not there.
func (w *watcher) concerns(e fsnotify.Event) bool {
	for _, a := range w.aimed {
		if (e.Op != fsnotify.Chmod || e.Name == a.path) && (e.Name == a.dir || e.Name == towards(a.dir, a.path)) {
			return true
		}
	}
	return false
}

// towards is the next on the way from dir to path.
func towards(dir, path string) string {
	rest, err := filepath.Rel(dir, path)
	if err != nil {
		return path
	}
	next, _, _ := strings.Cut(rest, string(filepath.Separator))
	return filepath.Join(dir, next)
}

// aim watches the folders of the file and of all links that lead to it or,
// while one is not there, the nearest above it. What cannot be watched is left
// to the poll.
func (w *watcher) aim() {
	if w.notify == nil {
		return
	}
	var next []aim
	for _, path := range leading(w.path) {
		if dir, ok := w.watch(path); ok {
			next = append(next, aim{dir, path})
		}
	}
	for _, old := range w.aimed {
		if !slices.ContainsFunc(next, func(a aim) bool { return a.dir == old.dir }) {
			w.notify.Remove(old.dir) // gone already, perhaps
		}
	}
	w.aimed = next
}

// watch watches the folder of path, or the nearest above it that is there.
func (w *watcher) watch(path string) (string, bool) {
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		err := w.notify.Add(dir) // again is no error
		switch {
		case err == nil && dir != filepath.Dir(path) && nearer(dir, path):
			dir = path // what was missing came before the watch did: begin again
		case err == nil:
			return dir, true
		case !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir):
			return "", false
		}
	}
}

// nearer says whether there is a folder on the way from dir to path.
func nearer(dir, path string) bool {
	st, err := os.Stat(towards(dir, path))
	return err == nil && st.IsDir()
}

// leading lists the file and all links on the way to it, by paths that hold no
// link but the last of their names: the places where another may be put.
func leading(path string) []string {
	var all []string
	done, rest := "/", strings.Split(strings.TrimPrefix(filepath.Clean(path), "/"), "/")
	for len(rest) > 0 && len(all) < maxLinks {
		at := filepath.Join(done, rest[0])
		rest = rest[1:]
		to, err := os.Readlink(at)
		switch {
		case err != nil && len(rest) == 0:
			return append(all, at)
		case err != nil:
			done = at
			continue
		}
		all = append(all, at)
		if !filepath.IsAbs(to) {
			to = filepath.Join(done, to)
		}
		done, rest = "/", append(strings.Split(strings.TrimPrefix(filepath.Clean(to), "/"), "/"), rest...)
	}
	return all
}

func (w *watcher) read() {
	data, err := read(w.named)
	key := "read " + string(data)
	if err != nil {
		key = "error " + err.Error()
	}
	if key == w.last {
		return
	}
	w.last = key
	if err != nil {
		w.changed(nil, nil, err)
		return
	}
	w.changed(parseText(w.named, data))
}
