package agent_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/freshet/freshet/agent"
	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/event"
)

const stranger = 54321 // no such user, no such group

// TestWhoMayDoWhat asks for every route as a stranger, as the agent's own user
// and as nobody known.
func TestWhoMayDoWhat(t *testing.T) {
	w := newWorld(t)
	w.publish("a.example")
	h := w.core().Handler()
	path := strings.NewReplacer("{id}", "6", "{name}", "hosts")
	ask := func(r agent.Route, ctx context.Context) (int, string) {
		rec := httptest.NewRecorder()
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		h.ServeHTTP(rec, httptest.NewRequest(r.Method, path.Replace(r.Path), nil).WithContext(ctx))
		return rec.Code, rec.Body.String()
	}
	for _, r := range agent.Routes() {
		name := r.Method + " " + r.Path
		// A plan fetches metadata, and the rules of a firewall are no stranger's business.
		kept := r.Path == "/v1/plan" || r.Path == "/v1/firewall"
		if r.Changes != (r.Method != http.MethodGet || kept) {
			t.Errorf("%s: changes is %v", name, r.Changes)
		}
		for who, ctx := range map[string]context.Context{
			"a stranger":      api.WithCaller(t.Context(), api.Caller{UID: stranger, GID: stranger}),
			"somebody unseen": t.Context(),
		} {
			code, body := ask(r, ctx)
			if forbidden := code == http.StatusForbidden; forbidden != r.Changes {
				t.Errorf("%s as %s: forbidden is %v", name, who, forbidden)
			}
			if r.Changes && (strings.Contains(body, "/v1/") || !strings.Contains(body, "ing ") || !strings.Contains(body, "it is for root and ")) {
				t.Errorf("%s as %s, not in plain words: %s", name, who, body)
			}
		}
		own := api.WithCaller(t.Context(), api.Caller{UID: os.Geteuid(), GID: stranger})
		if code, _ := ask(r, own); code == http.StatusForbidden {
			t.Errorf("%s is forbidden to the agent's own user", name)
		}
	}
}

func TestBadRequestsAreRefused(t *testing.T) {
	w := newWorld(t)
	w.publish("a.example")
	s := w.start().settled()
	rows := []struct {
		name, method, path, body string
		code                     api.Code
	}{
		{"an unknown path", "GET", "/v1/none", "", api.NotFound},
		{"no version", "GET", "/status", "", api.NotFound},
		{"a wrong method", "DELETE", "/v1/status", "", api.WrongMethod},
		{"a task that is not there", "GET", "/v1/tasks/9", "", api.NoSuchTask},
		{"a task that is no number", "GET", "/v1/tasks/x", "", api.NoSuchTask},
		{"a body that is no JSON", "PATCH", "/v1/tasks/6", "every", api.BadRequest},
		{"an unknown field", "PATCH", "/v1/tasks/6", `{"evry":"1h"}`, api.BadRequest},
		{"two values", "PATCH", "/v1/tasks/6", `{} {}`, api.BadRequest},
		{"a duration that is none", "PATCH", "/v1/tasks/6", `{"every":"soon"}`, api.BadRequest},
		{"a negative duration", "PATCH", "/v1/tasks/6", `{"random_delay":"-1h"}`, api.BadRequest},
		{"a body of 64 KiB and more", "PATCH", "/v1/tasks/6", `{"x":"` + strings.Repeat("x", api.MaxRequest) + `"}`, api.TooLarge},
		{"a time that is none", "GET", "/v1/events?since=yesterday", "", api.BadRequest},
	}
	for _, row := range rows {
		req, err := http.NewRequestWithContext(t.Context(), row.method, "http://agent"+row.path, strings.NewReader(row.body))
		if err != nil {
			t.Fatal(err)
		}
		res, err := s.HTTP.Do(req)
		if err != nil {
			t.Fatalf("%s: %v", row.name, err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != api.MeaningOf(row.code).Status || !bytes.Contains(body, []byte(`"code":"`+string(row.code)+`"`)) {
			t.Errorf("%s: status %d, %s", row.name, res.StatusCode, body)
		}
	}
}

func TestOneFolderOneAgent(t *testing.T) {
	w := newWorld(t)
	w.publish("a.example")
	w.start().settled()
	other := w.core()
	err := other.Run(t.Context(), filepath.Join(w.dir, "other.sock"), nil)
	if codeOf(err) != api.Locked {
		t.Fatalf("a second agent on the same folder: %v", err)
	}
	own := api.Local(w.core().Handler(), api.Caller{UID: os.Geteuid()})
	if err := own.Do(t.Context(), "POST", "/v1/tasks/6/start", nil, nil); codeOf(err) != api.Locked {
		t.Fatalf("a command beside a running agent: %v", err)
	}
	var st api.Status
	if err := own.Get(t.Context(), "/v1/status", &st); err != nil || len(st.Bases) != 1 || st.Agent {
		t.Fatalf("reading needs no lock: %+v, %v", st, err)
	}
}

// TestWithoutService does in one process what a command does where no agent
// runs: the same requests, the same result.
func TestWithoutService(t *testing.T) {
	w := newWorld(t)
	w.publish("a.example")
	a := w.core()
	s := &service{Client: api.Local(a.Handler(), api.Caller{UID: os.Geteuid()}), w: w}
	if st := s.status(); st.State != "without databases" || st.Agent {
		t.Fatalf("before: %+v", st)
	}
	if _, err := os.Stat(w.stateDir()); err == nil {
		t.Fatal("looking at it made the state folder")
	}
	if res := s.run(api.TaskUpdate); res.Outcome != api.Updated {
		t.Fatalf("update: %+v", res)
	}
	if err := s.Follow(t.Context(), "/v1/events?follow=1", func([]byte) error { return io.EOF }); err != io.EOF {
		t.Fatalf("following events of this process: %v", err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if u := w.start().update(); u.Last == nil || u.Last.Outcome != api.Updated || u.Run != 1 {
		t.Fatalf("the agent does not know of it: %+v", u)
	}
}

func TestEventsAreFollowed(t *testing.T) {
	w := newWorld(t)
	w.publish("a.example")
	s := w.start().settled()
	ctx, cancel := context.WithCancel(t.Context())
	seen := make(chan string, 100)
	done := make(chan error, 1)
	go func() {
		done <- s.Follow(ctx, "/v1/events?follow=1", func(line []byte) error { seen <- string(line); return nil })
	}()
	expect := func(code event.Code) {
		t.Helper()
		for {
			select {
			case line := <-seen:
				if strings.Contains(line, `"code":"`+string(code)+`"`) {
					return
				}
			case err := <-done:
				t.Fatalf("the stream ended before %s: %v", code, err)
			case <-time.After(20 * time.Second):
				t.Fatalf("%s never came", code)
			}
		}
	}
	expect(event.BasesUpdated)
	w.settings("events: {max_bytes: 128KiB}\n") // the log is opened anew
	expect(event.SettingsLoaded)
	s.run(api.TaskUpdate)
	expect(event.NothingNew)
	cancel()
	<-done
}

func TestSettingsAreReloaded(t *testing.T) {
	w := newWorld(t)
	w.publish("a.example")
	s := w.start().settled()
	every := func() time.Duration { return time.Duration(s.update().Every) }

	w.settings("update: {every: 2h}\n")
	w.eventually("a good edit takes effect", func() bool { return every() == 2*time.Hour && s.events(event.SettingsLoaded) == 1 })
	w.settings("updat: {every: 3h}\n")
	w.eventually("a bad edit is refused", func() bool { return s.events(event.SettingsRefused) == 1 })
	if st := s.status(); every() != 2*time.Hour || !strings.Contains(st.Refused, "updat") {
		t.Fatalf("after a bad edit: every %s, refused %q", every(), st.Refused)
	}
	if err := os.Remove(filepath.Join(w.dir, "freshet.yaml")); err != nil {
		t.Fatal(err)
	}
	w.eventually("a file that is gone is refused", func() bool { return s.events(event.SettingsRefused) == 2 })
	if every() != 2*time.Hour {
		t.Fatalf("after the file is gone: every %s", every())
	}
	w.publish("a.example", "b.example")
	w.settings("update: {every: 3h}\nbases: [{name: hosts}]\n")
	w.eventually("other bases are a reason to update at once", func() bool {
		st := s.status()
		return st.Refused == "" && len(st.Bases) == 1 && st.Bases[0].Version == 2
	})
}

func TestSettingsShowNoPassword(t *testing.T) {
	w := newWorld(t)
	w.write("freshet.yaml", "version: 1\nsources:\n  - url: http://user:secret@127.0.0.1:1/\n")
	s := w.start()
	for _, path := range []string{"/v1/settings", "/v1/status"} {
		var raw map[string]any
		if err := s.Get(t.Context(), path, &raw); err != nil {
			t.Fatal(err)
		}
		if text := fmt.Sprint(raw); strings.Contains(text, "secret") || !strings.Contains(text, "127.0.0.1") {
			t.Errorf("%s: %s", path, text)
		}
	}
}

func TestSocketIsTakenOverOnlyFromTheDead(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "run", "agent.sock")
	first, err := agent.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(socket); err != nil || st.Mode().Perm() != 0o666 {
		t.Fatalf("the socket: %v, %v", st, err)
	}
	if _, err := agent.Listen(socket); codeOf(err) != api.Locked {
		t.Fatalf("a socket that is listened on: %v", err)
	}
	first.(*net.UnixListener).SetUnlinkOnClose(false) // as a kill leaves it
	first.Close()
	second, err := agent.Listen(socket)
	if err != nil {
		t.Fatalf("a dead socket: %v", err)
	}
	second.Close()
	if err := os.WriteFile(socket, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := agent.Listen(socket); err == nil {
		t.Fatal("a file was taken for a socket")
	}
}

// TestOneUserCannotShutOutOthers connects as another user, again and again.
func TestOneUserCannotShutOutOthers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to become another user")
	}
	w := newWorld(t)
	for dir := w.dir; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s := w.start()
	const tries = 40
	served := make(chan int)
	go func() {
		// This thread alone becomes the stranger; it ends with the goroutine.
		runtime.LockOSThread()
		n := 0
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, ^uintptr(0), stranger, ^uintptr(0)); errno == 0 {
			n = greetings(filepath.Join(w.dir, "run", "agent.sock"), tries)
		}
		served <- n
	}()
	if n := <-served; n < 1 || n >= tries {
		t.Fatalf("%d of %d connections of one user were served", n, tries)
	}
	s.status()
}

// greetings opens n connections, keeps them, and counts those that answer.
func greetings(socket string, n int) int {
	served := 0
	for range n {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			continue
		}
		defer conn.Close()
		io.WriteString(conn, "GET /v1/version HTTP/1.1\r\nHost: agent\r\n\r\n")
		conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			served++
		}
	}
	return served
}
