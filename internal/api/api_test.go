package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/api"
)

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{"", "{}", `{"every":"1h","enabled":true}`, `{"names":["a"]}`, "[", "{}{}", `{"every":1}`, "\x00"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, v := range []any{&api.TaskChange{}, &api.Verify{}} {
			err := api.Decode(bytes.NewReader(data), v)
			var e *api.Error
			if err != nil && !errors.As(err, &e) {
				t.Fatalf("error %v has no meaning", err)
			}
			if err == nil && len(data) > 0 && !json.Valid(data) {
				t.Fatalf("%q was taken", data)
			}
		}
	})
}

func TestMeaningsAreWhole(t *testing.T) {
	seen := map[api.Code]bool{}
	for _, m := range api.Meanings {
		if seen[m.Code] {
			t.Errorf("%s stands twice", m.Code)
		}
		seen[m.Code] = true
		if m.Status != 0 && http.StatusText(m.Status) == "" || m.Exit < 1 {
			t.Errorf("%s: status %d, exit %d", m.Code, m.Status, m.Exit)
		}
	}
	if m := api.MeaningOf("none"); m.Code != api.Internal {
		t.Errorf("an unknown code means %s", m.Code)
	}
}

func TestErrorKeepsItsMeaningOnTheWay(t *testing.T) {
	sent := &api.Error{Code: api.NoSuchBase, Text: "no base", Hint: "look elsewhere"}
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { api.Fail(w, fmt.Errorf("asking: %w", sent)) })
	got := api.AsError(api.Local(h, api.Caller{}).Get(t.Context(), "/", nil))
	if got.Code != sent.Code || got.Text != "asking: no base" || got.Hint != sent.Hint {
		t.Fatalf("%+v", got)
	}
	rec := httptest.NewRecorder()
	api.Fail(rec, errors.New("of no code"))
	if rec.Code != http.StatusInternalServerError {
		t.Fatalf("status %d", rec.Code)
	}
}

func TestNoAgent(t *testing.T) {
	dir := t.TempDir()
	dead := filepath.Join(dir, "dead.sock")
	ln, err := net.Listen("unix", dead)
	if err != nil {
		t.Fatal(err)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	ln.Close()
	for _, socket := range []string{filepath.Join(dir, "none.sock"), dead} {
		err := api.Dial(socket).Get(t.Context(), "/v1/status", nil)
		if api.CodeOf(err) != api.Unreachable || !strings.Contains(err.Error(), socket) {
			t.Errorf("%s: %v", socket, err)
		}
	}
}

// TestAnswersOfSomethingElse has the client speak to what is no agent.
func TestAnswersOfSomethingElse(t *testing.T) {
	for name, answer := range map[string]string{
		"nothing":          "",
		"no HTTP":          "hello\n",
		"an empty error":   "HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n",
		"an error of HTML": "HTTP/1.1 404 x\r\nContent-Length: 6\r\n\r\n<html>",
		"half a value":     "HTTP/1.1 200 x\r\nContent-Length: 1\r\n\r\n{",
		"a cut body":       "HTTP/1.1 200 x\r\nContent-Length: 9\r\n\r\n{}",
	} {
		socket := filepath.Join(t.TempDir(), "s")
		ln, err := net.Listen("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				conn.Read(make([]byte, 4096))
				io.WriteString(conn, answer)
				conn.Close()
			}
		}()
		var out map[string]any
		if err := api.Dial(socket).Get(t.Context(), "/v1/status", &out); err == nil {
			t.Errorf("%s was taken for an answer", name)
		}
		ln.Close()
	}
}

func TestStreamOfThisProcess(t *testing.T) {
	more := make(chan int)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := api.NewStream(w)
		for {
			select {
			case n, ok := <-more:
				if !ok {
					return
				}
				s.Send(n)
			case <-r.Context().Done():
				return
			}
		}
	})
	c := api.Local(h, api.Caller{})
	go func() {
		defer close(more)
		for n := range 3 {
			more <- n
		}
	}()
	var got []string
	if err := c.Follow(t.Context(), "/", func(line []byte) error { got = append(got, string(line)); return nil }); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got) != "[0 1 2]" {
		t.Fatalf("lines %v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(time.Millisecond, cancel)
	endless := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { api.NewStream(w); <-r.Context().Done() })
	if err := api.Local(endless, api.Caller{}).Follow(ctx, "/", nil); err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func TestPeerIsWhoTheKernelSays(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	var got api.Caller
	known := false
	s := &http.Server{ConnContext: api.Peer, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, known = api.CallerOf(r.Context())
		api.Answer(w, 1)
	})}
	go s.Serve(ln)
	defer s.Close()
	if err := api.Dial(socket).Get(t.Context(), "/", nil); err != nil {
		t.Fatal(err)
	}
	if want := (api.Caller{UID: os.Geteuid(), GID: os.Getegid(), PID: os.Getpid()}); !known || got != want {
		t.Fatalf("caller %+v, want %+v", got, want)
	}
}

func TestGate(t *testing.T) {
	rows := []struct {
		name   string
		gate   api.Gate
		caller api.Caller
		may    bool
	}{
		{"root may", api.Gate{UID: 77}, api.Caller{UID: 0, GID: 5}, true},
		{"the agent's own user may", api.Gate{UID: 77}, api.Caller{UID: 77, GID: 5}, true},
		{"another user may not", api.Gate{UID: 77}, api.Caller{UID: 78, GID: 77}, false},
		{"a member by primary group may", api.Gate{UID: 77, Group: "daemon"}, api.Caller{UID: 54321, GID: 1}, true},
		{"a member of another group may not", api.Gate{UID: 77, Group: "daemon"}, api.Caller{UID: 54321, GID: 54321}, false},
		{"a group that is not there lets nobody in", api.Gate{UID: 77, Group: "no-such-group"}, api.Caller{UID: 54321, GID: 1}, false},
		{"without a group its number means nothing", api.Gate{UID: 77}, api.Caller{UID: 54321, GID: 1}, false},
	}
	for _, row := range rows {
		if got := row.gate.MayChange(row.caller); got != row.may {
			t.Errorf("%s: %v", row.name, got)
		}
	}
}
