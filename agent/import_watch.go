package agent

import (
	"context"
	"crypto/sha256"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/internal/source"
)

const (
	maxFolder    = 1000     // entries of a folder that are looked at
	maxBundles   = 100      // bundles taken notice of in one look
	maxSeen      = 10_000   // timestamps remembered
	maxTimestamp = 16 << 10 // bytes
	busyAgain    = 5 * time.Second
	watchAgain   = time.Minute
)

// looks are the times after a change at which the folder is looked at: a stick
// is mounted a while after its folder appeared, and files take time to copy.
var looks = [...]time.Duration{300 * time.Millisecond, time.Second, 4 * time.Second, 16 * time.Second, time.Minute}

// watchImports imports what appears in the folder of the settings, until ctx
// ends. Nothing there is executed, and nothing but bundles is read.
func (a *Agent) watchImports(ctx context.Context) error {
	seen := map[[sha256.Size]byte]bool{}
	told := ""
	for ctx.Err() == nil {
		dir := a.importFolder()
		var again <-chan time.Time // never, unless there is a folder to watch
		if dir != "" {
			err := a.watchFolder(ctx, dir, seen)
			if err == nil {
				continue
			}
			if told != dir+err.Error() {
				a.warn("no bundles are found in "+dir, err)
			}
			told = dir + err.Error()
			again = time.After(watchAgain)
		}
		select {
		case <-ctx.Done():
		case <-again:
		case <-a.rewatch:
		}
	}
	return nil
}

func (a *Agent) importFolder() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.force.settings.Import == nil {
		return ""
	}
	return a.force.settings.Import.Watch
}

// watchFolder watches dir until it is no longer the one to watch.
func (a *Agent) watchFolder(ctx context.Context, dir string, seen map[[sha256.Size]byte]bool) error {
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		return err
	}
	defer notify.Close()
	if err := notify.Add(dir); err != nil {
		return err
	}
	mounts, stop := watchMounts()
	defer stop()
	next := 0
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.rewatch:
			if a.importFolder() != dir {
				return nil
			}
			continue
		case e := <-notify.Events:
			if e.Name == dir && e.Has(fsnotify.Remove|fsnotify.Rename) {
				return fsnotify.ErrClosed
			}
			if e.Op == fsnotify.Chmod {
				continue
			}
			next = 0
		case <-notify.Errors: // such as an overflow: something changed
			next = 0
		case <-mounts:
			next = 0
		case <-timer.C:
			if a.importNew(ctx, dir, seen) {
				timer.Reset(busyAgain)
				continue
			}
		}
		if next < len(looks) {
			timer.Reset(looks[next])
			next++
		}
	}
}

// importNew starts an import of the first bundle under dir whose timestamp was
// not seen. busy says to look again soon, for it or for others.
func (a *Agent) importNew(ctx context.Context, dir string, seen map[[sha256.Size]byte]bool) (busy bool) {
	for _, path := range bundlesIn(dir) {
		data, err := source.Local(path, nil).Fetch(ctx, "metadata/timestamp.json", maxTimestamp)
		if err != nil {
			continue // no bundle, or not yet
		}
		sum := sha256.Sum256(data)
		if seen[sum] {
			continue
		}
		_, err = a.importFrom(path)
		if err != nil && api.CodeOf(err) == api.Busy {
			return true
		}
		if len(seen) >= maxSeen {
			clear(seen)
		}
		seen[sum] = true
		if err == nil {
			return true // others wait for its end
		}
		a.emit(event.ImportFailed, map[string]string{"path": path, "error": err.Error()})
	}
	return false
}

// bundlesIn lists what may be a bundle: dir itself, the folders and archives in
// it, and those one folder below, where a stick holds them. Links are passed over.
func bundlesIn(dir string) []string {
	found := []string{dir}
	top := candidates(dir)
	found = append(found, top...)
	for _, path := range top {
		if !isZip(path) {
			found = append(found, candidates(path)...)
		}
	}
	return found[:min(len(found), maxBundles)]
}

func candidates(dir string) []string {
	f, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer f.Close()
	entries, _ := f.ReadDir(maxFolder)
	var found []string
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".tmp") {
			continue // being made
		}
		if e.IsDir() || e.Type().IsRegular() && isZip(name) {
			found = append(found, filepath.Join(dir, name))
		}
	}
	return found
}

func isZip(name string) bool { return strings.HasSuffix(name, ".zip") }
