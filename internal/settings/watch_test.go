package settings_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/freshet/freshet/internal/settings"
)

// watching starts Watch and gives a function that waits for its next call.
func watching(t *testing.T, file string) func() (*settings.Settings, error) {
	t.Helper()
	type call struct {
		s   *settings.Settings
		err error
	}
	ctx, cancel := context.WithCancel(context.Background())
	calls, done := make(chan call, 100), make(chan error, 1)
	go func() {
		done <- settings.Watch(ctx, file, func(s *settings.Settings, _ []byte, err error) { calls <- call{s, err} })
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Watch: %v", err)
		}
		if len(calls) > 0 {
			c := <-calls
			t.Errorf("one call too many: %+v, %v", c.s, c.err)
		}
	})
	return func() (*settings.Settings, error) {
		t.Helper()
		select {
		case c := <-calls:
			return c.s, c.err
		case <-time.After(20 * time.Second):
			t.Fatal("no call")
			return nil, nil
		}
	}
}

func TestWatchSeesEveryWayToEdit(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "freshet.yaml")
	write(t, file, "version: 1\nroot: /0")
	next := watching(t, file)
	wantRoot := func(root string) {
		t.Helper()
		if s, err := next(); err != nil || s.Root != root {
			t.Fatalf("%+v, %v, want root %s", s, err, root)
		}
	}
	wantRoot("/0")
	write(t, file, "version: 1\nroot: /1")
	wantRoot("/1")
	write(t, filepath.Join(dir, ".new"), "version: 1\nroot: /2")
	if err := os.Rename(filepath.Join(dir, ".new"), file); err != nil {
		t.Fatal(err)
	}
	wantRoot("/2")
	write(t, file, "version: 1\nrot: /3")
	var problems settings.Problems
	if _, err := next(); !errors.As(err, &problems) {
		t.Fatalf("error %v", err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := next(); !errors.Is(err, settings.ErrMissing) {
		t.Fatalf("error %v", err)
	}
	write(t, file, "version: 1\nroot: /4")
	wantRoot("/4")
	write(t, filepath.Join(dir, "other.yaml"), "version: 1") // is none of ours
}

// TestWatchFollowsLinks has settings as a ConfigMap has them: the folder that a
// link in the middle names is swapped by a rename, and the old one removed.
func TestWatchFollowsLinks(t *testing.T) {
	dir := t.TempDir()
	file, data := filepath.Join(dir, "etc", "freshet.yaml"), filepath.Join(dir, "data")
	put := func(name, root string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(data, name), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(data, name, "freshet.yaml"), "version: 1\nroot: "+root)
	}
	link := func(to, at string) {
		t.Helper()
		if err := os.Symlink(to, at+"_tmp"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(at+"_tmp", at); err != nil {
			t.Fatal(err)
		}
	}
	put("..1", "/1")
	link("..1", filepath.Join(data, "..data"))
	link("..data/freshet.yaml", filepath.Join(data, "freshet.yaml"))
	link("data", filepath.Join(dir, "etc"))
	next := watching(t, file)
	wantRoot := func(root string) {
		t.Helper()
		if s, err := next(); err != nil || s.Root != root {
			t.Fatalf("%+v, %v, want root %s", s, err, root)
		}
	}
	wantRoot("/1")
	for _, n := range []string{"2", "3"} {
		put("..s"+n, "/"+n)
		link("..s"+n, filepath.Join(data, "..data"))
		wantRoot("/" + n)
	}
	write(t, filepath.Join(data, "..s3", "freshet.yaml"), "version: 1\nroot: /4")
	wantRoot("/4")
	if err := os.Mkdir(filepath.Join(dir, "other"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "other", "freshet.yaml"), "version: 1\nroot: /5")
	link("other", filepath.Join(dir, "etc"))
	wantRoot("/5")
	link("etc", filepath.Join(dir, "round"))
	link("freshet.yaml", filepath.Join(dir, "other", "freshet.yaml")) // a ring of links
	if _, err := next(); err == nil {
		t.Fatal("a ring of links was read")
	}
}

func TestWithoutAWatchTheFileIsPolled(t *testing.T) {
	file := filepath.Join(t.TempDir(), "freshet.yaml")
	synctest.Test(t, func(t *testing.T) {
		write(t, file, "version: 1\nroot: /1")
		ctx, cancel := context.WithCancel(t.Context())
		var roots []string
		done := make(chan error)
		go func() {
			done <- settings.WatchByPoll(ctx, file, func(s *settings.Settings, _ []byte, err error) {
				if err != nil {
					t.Error(err)
					return
				}
				roots = append(roots, s.Root)
			})
		}()
		time.Sleep(10*time.Minute + time.Second) // between two polls: a write is not one step
		write(t, file, "version: 1\nroot: /2")
		time.Sleep(time.Minute)
		cancel()
		if err := <-done; err != nil || len(roots) != 2 || roots[1] != "/2" {
			t.Errorf("%v, %v", roots, err)
		}
	})
}

func TestWatchWaitsForAFolderThatIsNotThere(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "etc", "freshet", "freshet.yaml")
	next := watching(t, file)
	if _, err := next(); !errors.Is(err, settings.ErrMissing) {
		t.Fatalf("error %v", err)
	}
	for _, root := range []string{"/1", "/2"} {
		staged := filepath.Join(dir, "staged")
		if err := os.MkdirAll(filepath.Join(staged, "freshet"), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(staged, "freshet", "freshet.yaml"), "version: 1\nroot: "+root)
		if err := os.Rename(staged, filepath.Join(dir, "etc")); err != nil {
			t.Fatal(err)
		}
		if s, err := next(); err != nil || s.Root != root {
			t.Fatalf("%+v, %v", s, err)
		}
		if err := os.RemoveAll(filepath.Join(dir, "etc")); err != nil {
			t.Fatal(err)
		}
		if _, err := next(); !errors.Is(err, settings.ErrMissing) {
			t.Fatalf("error %v", err)
		}
	}
}

func TestWatchPassesOverWhatOthersWriteThere(t *testing.T) {
	const file = "/etc/freshet/freshet.yaml"
	rows := []struct {
		name, aimed, event string
		op                 fsnotify.Op
		want               bool
	}{
		{"the file", "/etc/freshet", file, fsnotify.Write, true},
		{"its mode", "/etc/freshet", file, fsnotify.Chmod, true},
		{"its folder goes", "/etc/freshet", "/etc/freshet", fsnotify.Remove, true},
		{"another file beside it", "/etc/freshet", "/etc/freshet/root.json", fsnotify.Write, false},
		{"an editor's own file", "/etc/freshet", "/etc/freshet/.freshet.yaml.swp", fsnotify.Create, false},
		{"its folder comes", "/etc", "/etc/freshet", fsnotify.Create, true},
		{"another folder comes", "/etc", "/etc/other", fsnotify.Create, false},
		{"a file above is written", "/etc", "/etc/passwd", fsnotify.Write, false},
		{"the folder above comes", "/", "/etc", fsnotify.Create, true},
	}
	for _, row := range rows {
		if got := settings.Concerns(file, row.aimed, fsnotify.Event{Name: row.event, Op: row.op}); got != row.want {
			t.Errorf("%s: %v", row.name, got)
		}
	}
}
