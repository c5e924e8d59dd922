package agent_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/freshet/freshet/agent"
	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/clock"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/publish"
)

// world is a publisher, a web server over its repository, an endpoint, and the
// one clock of them all.
type world struct {
	t      *testing.T
	dir    string
	repo   *publish.Repository
	server *httptest.Server
	answer atomic.Pointer[http.HandlerFunc] // stands in for the files
	now    atomic.Pointer[time.Time]
	sync   atomic.Int32 // a clock.Sync: what is known of the clock
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir()}
	w.setClock(time.Now().UTC().Truncate(time.Second))
	w.repo = &publish.Repository{Dir: filepath.Join(w.dir, "repo"), Clock: w.clock()}
	if _, err := w.repo.Init(t.Context(), filepath.Join(w.dir, "keys")); err != nil {
		t.Fatal(err)
	}
	files := http.FileServer(http.Dir(w.repo.Dir))
	w.server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if f := w.answer.Load(); f != nil {
			(*f)(rw, r)
			return
		}
		// Tests publish several times a second, times of files have seconds.
		r.Header.Del("If-Modified-Since")
		files.ServeHTTP(rw, r)
	}))
	t.Cleanup(w.server.Close)
	w.settings("")
	return w
}

func (w *world) clock() *clock.Clock {
	return &clock.Clock{Wall: func() time.Time { return *w.now.Load() }, Synced: func() clock.Sync { return clock.Sync(w.sync.Load()) }}
}

func (w *world) setClock(t time.Time) { w.now.Store(&t) }

// settings writes the settings file: the server as the source, and more.
func (w *world) settings(more string) {
	w.t.Helper()
	w.write("freshet.yaml", fmt.Sprintf("version: 1\nsources:\n  - {url: %s, proxy: none}\nroot: %s\n%s",
		w.server.URL, filepath.Join(w.repo.Dir, "metadata", "1.root.json"), more))
}

func (w *world) write(name, content string) string {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// publish adds a version of the base "hosts", published now.
func (w *world) publish(records ...string) {
	w.t.Helper()
	path := w.write("hosts.txt", strings.Join(records, "\n")+"\n")
	if _, err := w.repo.Publish(w.t.Context(), publish.Release{Name: "hosts", Path: path}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) stateDir() string { return filepath.Join(w.dir, "state") }

// closed is an agent that is not yet opened.
func (w *world) closed() *agent.Agent {
	return &agent.Agent{
		Settings: filepath.Join(w.dir, "freshet.yaml"), Dir: w.stateDir(), Runtime: filepath.Join(w.dir, "run"),
		Version: "1.2.3", Clock: w.clock(), Recheck: 5 * time.Millisecond,
	}
}

// core is an agent that is opened, and not yet running.
func (w *world) core() *agent.Agent {
	w.t.Helper()
	a := w.closed()
	if err := a.Open(); err != nil {
		w.t.Fatal(err)
	}
	return a
}

// service is an agent that runs.
type service struct {
	*api.Client
	w    *world
	stop func() // and wait
}

func (w *world) start() *service {
	w.t.Helper()
	return w.startOf(w.core())
}

func (w *world) startOf(a *agent.Agent) *service {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	socket := filepath.Join(w.dir, "run", "agent.sock")
	go func() { done <- a.Run(ctx, socket, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-done:
		cancel()
		w.t.Fatal(err)
	}
	stopped := false
	s := &service{Client: api.Dial(socket), w: w}
	s.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
		s.HTTP.CloseIdleConnections()
	}
	w.t.Cleanup(s.stop)
	return s
}

func get[T any](s *service, path string) T {
	s.w.t.Helper()
	var v T
	if err := s.Get(s.w.t.Context(), path, &v); err != nil {
		s.w.t.Fatal(err)
	}
	return v
}

func (s *service) status() api.Status { s.w.t.Helper(); return get[api.Status](s, "/v1/status") }

func (s *service) update() api.Task {
	s.w.t.Helper()
	return get[api.Task](s, fmt.Sprintf("/v1/tasks/%d", api.TaskUpdate))
}

// change sends a request that must succeed.
func (s *service) change(method, path string, in any) {
	s.w.t.Helper()
	if err := s.Do(s.w.t.Context(), method, path, in, nil); err != nil {
		s.w.t.Fatal(err)
	}
}

// run starts a task and gives its result.
func (s *service) run(id int) api.Result {
	s.w.t.Helper()
	s.change(http.MethodPost, fmt.Sprintf("/v1/tasks/%d/start", id), nil)
	return s.result(id)
}

// result follows a run to its end.
func (s *service) result(id int) api.Result {
	s.w.t.Helper()
	var res *api.Result
	err := s.Follow(s.w.t.Context(), fmt.Sprintf("/v1/tasks/%d/progress", id), func(line []byte) error {
		var m api.Moment
		if err := json.Unmarshal(line, &m); err != nil {
			return err
		}
		res = m.Result
		return nil
	})
	if err != nil || res == nil {
		s.w.t.Fatalf("following task %d: %v", id, err)
	}
	return *res
}

// events counts the events of a code.
func (s *service) events(code event.Code) int {
	s.w.t.Helper()
	n := 0
	for _, e := range get[api.Events](s, "/v1/events").Events {
		if e.Code == code {
			n++
		}
	}
	return n
}

// settled waits until the agent's first update is over.
func (s *service) settled() *service {
	s.w.t.Helper()
	s.w.eventually("the first update ends", func() bool {
		u := s.update()
		return u.Last != nil && !u.Running
	})
	return s
}

// eventually polls until a condition holds.
func (w *world) eventually(what string, holds func() bool) {
	w.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		if time.Now().After(deadline) {
			w.t.Fatalf("it never came to this: %s", what)
		}
		<-tick.C
	}
}

// never watches for a while that a condition does not come to hold: as long as
// the agent needs for a few looks at the clock.
func (s *service) never(what string, holds func() bool) {
	s.w.t.Helper()
	for range 20 {
		if holds() {
			s.w.t.Fatalf("it came to this: %s", what)
		}
	}
}

func codeOf(err error) api.Code {
	if err == nil {
		return ""
	}
	return api.CodeOf(err)
}
