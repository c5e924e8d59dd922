package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/event"
)

// TestABundleThatIsCopiedSlowlyIsImportedWhenItIsWhole has a copy stop half way
// for longer than anyone waits, and go on.
func TestABundleThatIsCopiedSlowlyIsImportedWhenItIsWhole(t *testing.T) {
	w := newWorld(t)
	w.publish("a.example", "b.example")
	w.offline()
	media := filepath.Join(w.dir, "media")
	whole := filepath.Join(w.dir, "whole")
	w.bundle(whole)
	if err := os.Mkdir(media, 0o755); err != nil {
		t.Fatal(err)
	}
	w.settings("import: {watch: " + media + "}\n")
	s := w.start().settled()
	put := func(part string) {
		t.Helper()
		if err := os.CopyFS(filepath.Join(media, "stick", part), os.DirFS(filepath.Join(whole, part))); err != nil {
			t.Fatal(err)
		}
	}
	put("metadata")
	w.eventually("half of it is tried", func() bool { return s.events(event.ImportFailed) == 1 })
	put("targets")
	put("blobs")
	if err := os.WriteFile(filepath.Join(media, "done"), nil, 0o644); err != nil { // something changes in the folder
		t.Fatal(err)
	}
	w.eventually("the rest is taken", func() bool { return len(s.status().Bases) == 1 })
	if n := s.events(event.ImportFailed); n != 1 {
		t.Errorf("%d imports failed", n)
	}
}

func TestWithoutASourceTheAgentSaysSoOnce(t *testing.T) {
	w := newWorld(t)
	w.publish("a.example")
	w.write("freshet.yaml", fmt.Sprintf("version: 1\nroot: %s\n", filepath.Join(w.repo.Dir, "metadata", "1.root.json")))
	w.start().settled().stop()
	s := w.start().settled()
	for range 3 {
		last := s.update().Last.Ended
		w.setClock(w.now.Load().Add(3 * time.Hour))
		w.eventually("it is tried again", func() bool { return s.update().Last.Ended.After(last) })
		if res := s.update().Last; res.Outcome != api.Failed {
			t.Errorf("%+v", res)
		}
	}
	if n, failed := s.events(event.WithoutSource), s.events(event.UpdateFailed); n != 1 || failed != 0 {
		t.Errorf("said %d times, and %d times that the update failed", n, failed)
	}
	w.settings("")
	w.eventually("a source is there", func() bool { return s.events(event.SettingsLoaded) == 1 })
	if res := s.run(api.TaskUpdate); res.Outcome != api.Updated {
		t.Errorf("%+v", res)
	}
}

func TestFollowingBeginsWithTheLastEvents(t *testing.T) {
	w := newWorld(t)
	w.publish("a.example")
	s := w.start().settled()
	for range 5 {
		s.run(api.TaskUpdate)
	}
	all := get[api.Events](s, "/v1/events").Events
	enough := errors.New("enough")
	var seqs []int64
	err := s.Follow(context.Background(), "/v1/events?follow=1&last=3", func(line []byte) error {
		var e event.Event
		if err := json.Unmarshal(line, &e); err != nil {
			return err
		}
		if seqs = append(seqs, e.Seq); len(seqs) == 3 {
			return enough
		}
		return nil
	})
	if first := all[len(all)-3].Seq; !errors.Is(err, enough) || seqs[0] != first {
		t.Errorf("%v, %v; want three from %d on", seqs, err, first)
	}
	if err := s.Do(t.Context(), http.MethodGet, "/v1/events?follow=1&last=many", nil, nil); codeOf(err) != api.BadRequest {
		t.Errorf("%v", err)
	}
}
