package agent_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/publish"
)

// bundle makes a bundle of what is published.
func (w *world) bundle(out string) {
	w.t.Helper()
	if _, err := w.repo.Bundle(w.t.Context(), publish.Bundle{Out: out}); err != nil {
		w.t.Fatal(err)
	}
}

// offline has the server give nothing.
func (w *world) offline() {
	gone := http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusBadGateway) })
	w.answer.Store(&gone)
}

func (s *service) imports() int {
	n := 0
	for _, e := range get[api.Events](s, "/v1/events").Events {
		if e.Code == event.UpdateStarted && strings.HasPrefix(e.Fields["why"], "import of") {
			n++
		}
	}
	return n
}

func TestAStickThatAppearsIsImportedOnce(t *testing.T) {
	w := newWorld(t)
	w.publish("a.example", "b.example")
	w.offline()
	media := filepath.Join(w.dir, "media")
	if err := os.Mkdir(media, 0o755); err != nil {
		t.Fatal(err)
	}
	w.settings("import: {watch: " + media + "}\n")
	s := w.start().settled()

	// A link out, and what is no bundle, are passed over.
	w.bundle(filepath.Join(w.dir, "elsewhere"))
	if err := os.Symlink(filepath.Join(w.dir, "elsewhere"), filepath.Join(media, "link")); err != nil {
		t.Fatal(err)
	}
	w.write("media/notes.zip", "no archive")

	if err := os.Mkdir(filepath.Join(media, "STICK"), 0o755); err != nil {
		t.Fatal(err)
	}
	w.bundle(filepath.Join(media, "STICK", "freshet.zip"))
	w.eventually("the bundle is installed", func() bool {
		st := s.status()
		return len(st.Bases) == 1 && st.Bases[0].Version == 1
	})
	w.eventually("the import ends", func() bool { return !s.update().Running })
	if n := s.imports(); n != 1 {
		t.Errorf("%d imports of one stick and a link", n)
	}

	// The same again under another name is known; a newer one is not.
	data, err := os.ReadFile(filepath.Join(media, "STICK", "freshet.zip"))
	if err != nil {
		t.Fatal(err)
	}
	w.write("media/again.zip", string(data))
	w.publish("a.example", "b.example", "c.example")
	w.bundle(filepath.Join(media, "newer"))
	w.eventually("the newer bundle is installed", func() bool { return s.status().Bases[0].Version == 2 })
	if n := s.imports(); n != 2 {
		t.Errorf("%d imports of two bundles", n)
	}
}

func TestTheWatchedFolderFollowsTheSettings(t *testing.T) {
	w := newWorld(t)
	w.publish("a.example", "b.example")
	w.offline()
	media := filepath.Join(w.dir, "media")
	if err := os.Mkdir(media, 0o755); err != nil {
		t.Fatal(err)
	}
	w.bundle(filepath.Join(media, "one.zip"))
	s := w.start().settled()
	s.never("a bundle is imported without being asked for", func() bool { return s.imports() > 0 })
	w.settings("import: {watch: " + media + "}\n")
	w.eventually("the bundle is installed", func() bool { return len(s.status().Bases) == 1 })
}

func TestABundleAmongTheSourcesMayComeLater(t *testing.T) {
	w := newWorld(t)
	w.publish("a.example", "b.example")
	path := filepath.Join(w.dir, "later.zip")
	w.write("freshet.yaml", fmt.Sprintf("version: 1\nsources: [{url: %s}]\nroot: %s\n", path, filepath.Join(w.repo.Dir, "metadata", "1.root.json")))
	s := w.start().settled()
	w.bundle(path)
	if res := s.run(api.TaskUpdate); res.Outcome != api.Updated || res.Source != path {
		t.Errorf("%+v", res)
	}
}

func TestWhatAnImportSaysOfItsBundle(t *testing.T) {
	w := newWorld(t)
	w.publish("a.example", "b.example")
	old, late := filepath.Join(w.dir, "old.zip"), filepath.Join(w.dir, "late.zip")
	w.bundle(old)
	w.publish("a.example", "b.example", "c.example")
	s := w.start().settled()
	w.bundle(late)
	take := func(path string) api.Result {
		t.Helper()
		s.change(http.MethodPost, "/v1/import", api.Import{Path: path})
		return s.result(api.TaskUpdate)
	}

	t.Run("an older one is no failure, and leaves the times of updates alone", func(t *testing.T) {
		next := s.update().Next
		res := take(old)
		if now := s.update().Next; !now.Equal(next) || next.IsZero() {
			t.Errorf("the next update was at %s, is at %s", next, now)
		}
		if res.Outcome != api.NothingNew || res.Error != "" || !strings.Contains(res.Hint, "is older than what this machine has seen") {
			t.Errorf("%+v", res)
		}
		if s.events(event.SourceBehind) != 1 || s.events(event.ImportFailed) != 0 {
			t.Error("it is not told as behind")
		}
	})
	t.Run("an expired one is refused with its date and a way on", func(t *testing.T) {
		w.setClock(time.Now().UTC().Add(31 * 24 * time.Hour))
		defer w.setClock(time.Now().UTC())
		w.offline()
		w.eventually("the import begins", func() bool {
			return s.Do(t.Context(), http.MethodPost, "/v1/import", api.Import{Path: late}, nil) == nil
		})
		res := s.result(api.TaskUpdate)
		if res.Outcome != api.Failed || !strings.Contains(res.Error, "late.zip has expired: ") || !strings.Contains(res.Hint, "freshet-publish bundle REPO OUT --valid 30d") {
			t.Errorf("%+v", res)
		}
		if s.events(event.ImportFailed) != 1 {
			t.Error("no event tells it")
		}
	})
	for name, row := range map[string]struct {
		path string
		want api.Code
	}{
		"a path from nowhere in particular": {"stick.zip", api.BadRequest},
		"a path where nothing is":           {"/nowhere/stick.zip", api.RunFailed},
		"a device":                          {"/dev/null", api.RunFailed},
	} {
		t.Run(name, func(t *testing.T) {
			err := s.Do(t.Context(), http.MethodPost, "/v1/import", api.Import{Path: row.path}, nil)
			if codeOf(err) != row.want {
				t.Errorf("error %v", err)
			}
		})
	}
}

// An endpoint further behind than any delta to the newest version goes by way
// of a checkpoint, with a bundle of deltas alone and with a whole one.
func TestABundleLeadsFromFarBehind(t *testing.T) {
	const newest = 27 // deltas lead to it from the 24 versions before; 25 is a checkpoint
	w := newWorld(t)
	var all []string
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		all = append(all, fmt.Sprintf("%08x.example", random.Uint32()))
	}
	for n := 1; n <= newest; n++ {
		last := n
		if 1 < n && n < newest { // images that come back share their deltas
			last = 2 + n%2
		}
		w.publish(append(all, fmt.Sprintf("version-%d.example", last))...)
		if n == 1 {
			w.start().settled().stop()
		}
	}
	w.offline()
	first := filepath.Join(w.dir, "first")
	if err := os.Rename(w.stateDir(), first); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]publish.Bundle{"deltas alone": {From: 1}, "whole": {}} {
		t.Run(name, func(t *testing.T) {
			if err := os.RemoveAll(w.stateDir()); err != nil {
				t.Fatal(err)
			}
			if err := os.CopyFS(w.stateDir(), os.DirFS(first)); err != nil {
				t.Fatal(err)
			}
			b.Out = filepath.Join(t.TempDir(), "b.zip")
			if _, err := w.repo.Bundle(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			s := w.start()
			defer s.stop()
			w.eventually("the import begins", func() bool {
				return s.Do(t.Context(), http.MethodPost, "/v1/import", api.Import{Path: b.Out}, nil) == nil
			})
			res := s.result(api.TaskUpdate)
			if res.Outcome != api.Updated || res.Bases[0].From != 1 || res.Bases[0].To != newest {
				t.Fatalf("%+v", res)
			}
			if c := res.Bases[0]; c.Bytes == 0 || c.Bytes >= c.Full {
				t.Errorf("%d bytes where the full image has %d", c.Bytes, c.Full)
			}
			if n := s.events(event.DeltaFailed) + s.events(event.SourceDamaged); n > 0 {
				t.Errorf("%d events of trouble", n)
			}
		})
	}
}
