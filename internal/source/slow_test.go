package source_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet/freshet/internal/source"
)

// pipes is a network within the process, whose time a synctest bubble holds.
type pipes struct {
	conns chan net.Conn
	over  chan struct{}
	close func()
}

func newPipes() pipes {
	over := make(chan struct{})
	return pipes{make(chan net.Conn), over, sync.OnceFunc(func() { close(over) })}
}

func (p pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.over:
		return nil, net.ErrClosed
	}
}

func (p pipes) Close() error   { p.close(); return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p pipes) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// serveInBubble is serve for time that does not pass by itself.
func serveInBubble(t *testing.T, h http.HandlerFunc) *source.HTTP {
	network := newPipes()
	server := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() { server.Serve(network); close(done) }()
	s := &source.HTTP{URL: "http://updates.example.org", Proxy: "none", Dial: network.dial}
	t.Cleanup(func() {
		s.CloseIdle()
		server.Close()
		<-done
	})
	return s
}

// drip sends a byte each pause until the client goes.
func drip(pause time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for {
			if _, err := w.Write([]byte("x")); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			select {
			case <-r.Context().Done():
				return
			case <-time.After(pause):
			}
		}
	}
}

func TestSlowBodiesAreGivenUp(t *testing.T) {
	silent := func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	stalled := func(w http.ResponseWriter, r *http.Request) {
		w.Write(make([]byte, 5000))
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}
	rows := map[string]struct {
		serve http.HandlerFunc
		after time.Duration
		want  string
	}{
		"no answer":                          {silent, 30 * time.Second, "timeout awaiting response headers"},
		"an answer that stops half way":      {stalled, 30 * time.Second, "less than 1024 bytes came within 30s"},
		"a byte each second":                 {drip(time.Second), 30 * time.Second, "less than 1024 bytes came within 30s"},
		"just enough for each half a minute": {drip(20 * time.Millisecond), 5 * time.Minute, "not whole after 5m0s"},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := serveInBubble(t, row.serve)
				began := time.Now()
				_, err := s.Fetch(context.Background(), "x", 1<<20)
				checkError(t, err, row.want)
				if d := time.Since(began); d != row.after {
					t.Errorf("given up after %s", d)
				}
			})
		})
	}
}

func TestTimeTheReaderTakesIsNotTheServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serveInBubble(t, func(w http.ResponseWriter, r *http.Request) {
			for range 8 {
				w.Write(make([]byte, 100))
				w.(http.Flusher).Flush()
			}
		})
		r, _, err := s.Open(context.Background(), "x", 0, 800)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		buf := make([]byte, 100)
		for range 8 {
			time.Sleep(time.Minute) // the bubble's time
			if _, err := io.ReadFull(r, buf); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestConnectionThatDoesNotComeAboutIsGivenUp(t *testing.T) {
	hangs := func(ctx context.Context, network, addr string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	mute := func(ctx context.Context, network, addr string) (net.Conn, error) {
		client, server := net.Pipe()
		go io.Copy(io.Discard, server) // a TLS handshake that is never answered
		return client, nil
	}
	rows := map[string]struct {
		url  string
		dial func(ctx context.Context, network, addr string) (net.Conn, error)
	}{
		"dialling":         {"http://updates.example.org", hangs},
		"shaking hands":    {"https://updates.example.org", mute},
		"dialling for TLS": {"https://updates.example.org", hangs},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &source.HTTP{URL: row.url, Proxy: "none", Dial: row.dial, ConnectTimeout: 7 * time.Second}
				began := time.Now()
				_, err := s.Fetch(context.Background(), "x", 100)
				if err == nil {
					t.Fatal("no error")
				}
				if d := time.Since(began); d != 7*time.Second {
					t.Errorf("given up after %s: %v", d, err)
				}
			})
		})
	}
}

func TestBackoff(t *testing.T) {
	b := source.Backoff{First: 2 * time.Second, Max: time.Minute}
	rows := []struct {
		name        string
		n           int
		random      float64
		want        time.Duration
		withBackoff source.Backoff
	}{
		{"the first failure, the least", 1, 0, time.Second, b},
		{"the first failure, half way", 1, 0.5, 1500 * time.Millisecond, b},
		{"the third failure doubles twice", 3, 0, 4 * time.Second, b},
		{"the bound holds", 100, 0, 30 * time.Second, b},
		{"no failure yet", 0, 0, time.Second, b},
		{"the zero value begins at a second", 1, 0, 500 * time.Millisecond, source.Backoff{}},
		{"the zero value ends at five minutes", 1 << 30, 0, 150 * time.Second, source.Backoff{}},
		{"a bound below the first", 1, 0, 5 * time.Second, source.Backoff{First: time.Minute, Max: 10 * time.Second}},
		{"a bound that doubling passes by", 1000, 0, 1<<62 - 1, source.Backoff{First: 3, Max: 1<<63 - 1}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if got := row.withBackoff.Delay(row.n, row.random); got != row.want {
				t.Errorf("%s, want %s", got, row.want)
			}
		})
	}
}
