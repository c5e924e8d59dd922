package agent_test

import (
	"net/http"
	"os"
	"testing"

	"github.com/freshet/freshet/internal/api"
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
