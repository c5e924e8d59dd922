package settings

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settle is how long after the first sign of a change the file is read:
// editors write, rename and remove in several steps.
const settle = 150 * time.Millisecond

// Watch calls changed with what LoadText says of path at once, and again whenever
// that changes, until ctx ends; it then returns nil. After an error the caller
// keeps the settings it has. Neither the file nor its folder need be there. A
// file that is a symbolic link is watched as the link alone.
func Watch(ctx context.Context, path string, changed func(*Settings, []byte, error)) error {
	full, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("watching settings: %w", err)
	}
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watching settings: %w", err)
	}
	defer notify.Close()
	w := &watcher{notify: notify, path: full, named: path, changed: changed}
	if err := w.aim(); err != nil {
		return fmt.Errorf("watching settings: %w", err)
	}
	w.read()
	return w.run(ctx)
}

type watcher struct {
	notify  *fsnotify.Watcher
	path    string // absolute
	named   string // as the caller names it, for what is said of it
	changed func(*Settings, []byte, error)
	aimed   string // the folder watched: that of path, or the nearest above it that is there
	last    string // what was read last, to tell a change
}

func (w *watcher) run(ctx context.Context) error {
	timer := time.NewTimer(0)
	if !timer.Stop() {
		<-timer.C
	}
	armed := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-w.notify.Events:
			if !ok {
				return errors.New("watching settings: the watch ended")
			}
			if !armed && w.concerns(e) {
				timer.Reset(settle)
				armed = true
			}
		case <-w.notify.Errors: // such as an overflow: something may have changed
			if !armed {
				timer.Reset(settle)
				armed = true
			}
		case <-timer.C:
			armed = false
			if err := w.aim(); err != nil {
				return fmt.Errorf("watching settings: %w", err)
			}
			w.read()
		}
	}
}

// concerns says whether an event is about the file or what leads to it. Others
// write in its folder too, or in those above it while that is not there.
func (w *watcher) concerns(e fsnotify.Event) bool {
	if e.Op == fsnotify.Chmod && e.Name != w.path {
		return false
	}
	return e.Name == w.aimed || e.Name == w.towards(w.aimed)
}

// towards is the next on the way from dir to the file.
func (w *watcher) towards(dir string) string {
	rest, err := filepath.Rel(dir, w.path)
	if err != nil {
		return w.path
	}
	next, _, _ := strings.Cut(rest, string(filepath.Separator))
	return filepath.Join(dir, next)
}

// aim watches the folder of the file or, while that is not there, the nearest
// one above it.
func (w *watcher) aim() error {
	for dir := filepath.Dir(w.path); ; dir = filepath.Dir(dir) {
		err := w.notify.Add(dir) // again is no error
		switch {
		case err == nil && dir != filepath.Dir(w.path) && w.nearer(dir):
			w.notify.Remove(dir)
			dir = w.path // what was missing came before the watch did: begin again
		case err == nil:
			if w.aimed != "" && w.aimed != dir {
				w.notify.Remove(w.aimed) // gone already, perhaps
			}
			w.aimed = dir
			return nil
		case !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir):
			return err
		}
	}
}

// nearer says whether there is a folder on the way from dir to the file.
func (w *watcher) nearer(dir string) bool {
	st, err := os.Stat(w.towards(dir))
	return err == nil && st.IsDir()
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
