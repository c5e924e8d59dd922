package agent

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"io/fs"
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
	maxSeen      = 10_000   // bundles remembered
	maxTimestamp = 16 << 10 // bytes
	busyAgain    = 2 * time.Second
	watchAgain   = time.Minute
)

// looks are the times after a change at which the folder is looked at: a stick
// is mounted a while after its folder appeared, and files take time to copy.
var looks = [...]time.Duration{300 * time.Millisecond, time.Second, 4 * time.Second, 16 * time.Second, time.Minute}

// watchImports imports what appears in the folder of the settings, until ctx
// ends. Nothing there is executed, and nothing but bundles is read.
func (a *Agent) watchImports(ctx context.Context) error {
	seen := &looked{imported: map[[sha256.Size]byte]bool{}, growing: map[string]growth{}}
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
func (a *Agent) watchFolder(ctx context.Context, dir string, seen *looked) error {
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

// importNew starts an import of the first bundle under dir that was not seen and
// that nobody writes to any more. busy says to look again soon, for it or for others.
func (a *Agent) importNew(ctx context.Context, dir string, seen *looked) (busy bool) {
	waits := false // something may be growing
	for _, path := range bundlesIn(dir) {
		data, err := source.Local(path, nil).Fetch(ctx, "metadata/timestamp.json", maxTimestamp)
		if err != nil {
			continue // no bundle, or not yet
		}
		now := extentOf(path)
		sum := now.with(data)
		if seen.imported[sum] {
			continue
		}
		if !seen.quiet(path, now) {
			waits = true
			continue
		}
		_, err = a.importFrom(path)
		if err != nil && api.CodeOf(err) == api.Busy {
			return true
		}
		if len(seen.imported) >= maxSeen {
			clear(seen.imported)
		}
		seen.imported[sum] = true
		if err == nil {
			return true // others wait for its end
		}
		a.emit(event.ImportFailed, map[string]string{"path": path, "error": err.Error()})
	}
	return waits
}

// looked is what is remembered of the bundles that were found.
type looked struct {
	imported map[[sha256.Size]byte]bool
	growing  map[string]growth // by path
}

// growth is what a bundle had grown to when it was first found so.
type growth struct {
	extent
	at time.Time
}

// quietFor is how long nobody has written to a bundle that is taken for whole.
const quietFor = 1500 * time.Millisecond

// quiet says whether a bundle has been as it is now for a while.
func (l *looked) quiet(path string, now extent) bool {
	g, ok := l.growing[path]
	if !ok || g.extent != now {
		if len(l.growing) >= maxSeen {
			clear(l.growing)
		}
		l.growing[path] = growth{now, time.Now()}
		return false
	}
	return time.Since(g.at) >= quietFor
}

// extent is what a bundle has grown to. Two looks that find the same say that
// nobody writes to it any more.
type extent struct {
	files, bytes int64
	newest       int64 // time of modification, ns
}

// with names a bundle by its timestamp and its extent, wherever it lies: one
// that was found half copied and failed is another when it is whole.
func (e extent) with(timestamp []byte) [sha256.Size]byte {
	data := binary.BigEndian.AppendUint64(nil, uint64(e.files))
	data = binary.BigEndian.AppendUint64(data, uint64(e.bytes))
	return sha256.Sum256(append(data, timestamp...))
}

// maxExtent bounds how many files of a bundle are counted.
const maxExtent = 100_000

func extentOf(path string) extent {
	var e extent
	count := func(_ string, d fs.DirEntry, err error) error {
		if err != nil || e.files >= maxExtent {
			return fs.SkipAll
		}
		st, err := d.Info()
		if err == nil && st.Mode().IsRegular() {
			e.files++
			e.bytes += st.Size()
			e.newest = max(e.newest, st.ModTime().UnixNano())
		}
		return nil
	}
	if isZip(path) {
		filepath.WalkDir(path, count)
		return e
	}
	for _, part := range []string{"metadata", "targets", "blobs"} {
		filepath.WalkDir(filepath.Join(path, part), count)
	}
	return e
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
