package agent_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/publish"
)

func TestAnEnrolmentWaitsForTheUpdateThatRuns(t *testing.T) {
	w := newWorld(t)
	w.publish("a.example")
	s := w.start().settled()
	root, err := os.ReadFile(w.repo.Dir + "/metadata/1.root.json")
	if err != nil {
		t.Fatal(err)
	}
	asked := w.hang()
	if err := s.Do(t.Context(), http.MethodPost, "/v1/tasks/6/start", nil, nil); err != nil {
		t.Fatal(err)
	}
	<-asked
	enrolled := make(chan error, 1)
	go func() {
		enrolled <- s.Do(t.Context(), http.MethodPost, "/v1/enroll", api.Enroll{Source: w.server.URL, Root: root}, &api.Enrolling{})
	}()
	s.never("it is refused, or goes ahead", func() bool { return len(enrolled) > 0 })
	w.answer.Store(nil)
	s.change(http.MethodPost, "/v1/tasks/6/stop", nil)
	if err := <-enrolled; err != nil {
		t.Fatalf("after the update: %v", err)
	}
	w.eventually("the enrolment's own run ends", func() bool { u := s.update(); return u.Run == 3 && !u.Running })
}

func TestAnotherRootOfAVersionThatTheHostHasIsRefusedByName(t *testing.T) {
	w := newWorld(t)
	w.publish("a.example")
	// Before they part, the keys are the same.
	other := &publish.Repository{Dir: filepath.Join(w.dir, "other"), Keys: []string{filepath.Join(w.dir, "other-keys")}, Clock: w.clock()}
	for from, to := range map[string]string{w.repo.Dir: other.Dir, filepath.Join(w.dir, "keys"): other.Keys[0]} {
		if err := os.CopyFS(to, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	}
	copied, err := filepath.Glob(other.Keys[0] + "/*.pem")
	if err != nil || len(copied) == 0 {
		t.Fatal(copied, err)
	}
	for _, key := range copied {
		if err := os.Chmod(key, 0o600); err != nil { // os.CopyFS widens it
			t.Fatal(err)
		}
	}
	w.repo.Keys = []string{filepath.Join(w.dir, "keys")}
	for r, key := range map[*publish.Repository]string{w.repo: "timestamp", other: "snapshot"} {
		if _, err := r.ReplaceKeys(t.Context(), publish.Rotation{What: []string{key}, To: r.Keys[0]}); err != nil {
			t.Fatal(err)
		}
	}
	s := w.start().settled()
	for _, r := range []*publish.Repository{other, w.repo} {
		root, err := os.ReadFile(r.Dir + "/metadata/2.root.json")
		if err != nil {
			t.Fatal(err)
		}
		err = s.Do(t.Context(), http.MethodPost, "/v1/enroll", api.Enroll{Source: r.Dir, Root: root, Replace: true}, &api.Enrolling{})
		if r == w.repo {
			if err != nil {
				t.Errorf("the one that it has seen: %v", err)
			}
			break
		}
		if codeOf(err) != api.EnrolledAlready || !strings.Contains(err.Error(), "root version 2 of repository") || !strings.Contains(err.Error(), "another one than this host has seen") {
			t.Errorf("got %v", err)
		}
	}
}
