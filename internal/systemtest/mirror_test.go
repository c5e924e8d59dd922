//go:build system

package systemtest_test

import (
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// mirror serves a repository on an address of this side, and misbehaves to
// order. It is a proxy too, for hosts that only it knows.
type mirror struct {
	url string

	mu      sync.Mutex // guards what follows
	how     string     // "up", "down", or "hold": half of each image or delta, and no more
	held    chan struct{}
	holding int
	proxied int
}

func newMirror(t *testing.T, p *publisher, address string) *mirror {
	t.Helper()
	ln, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		t.Fatal(err)
	}
	m := &mirror{url: "http://" + ln.Addr().String(), how: "up", held: make(chan struct{})}
	s := &http.Server{Handler: m.over(http.Dir(p.repo()))}
	go s.Serve(ln)
	t.Cleanup(func() { m.set("up"); s.Close() })
	return m
}

func (m *mirror) over(dir http.Dir) http.Handler {
	files := http.FileServer(dir)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.mu.Lock()
		how, held := m.how, m.held
		if r.URL.Host != "" { // as a proxy is asked
			m.proxied++
		}
		m.mu.Unlock()
		content := strings.HasPrefix(r.URL.Path, "/blobs/") || strings.HasPrefix(r.URL.Path, "/deltas/")
		// Tests publish several times a second, times of files have seconds.
		r.Header.Del("If-Modified-Since")
		switch {
		case how == "down":
			w.WriteHeader(http.StatusServiceUnavailable)
		case how == "hold" && content:
			m.hold(w, r, dir, held)
		default:
			files.ServeHTTP(w, r)
		}
	})
}

// hold sends the first half of a file, and nothing more until told to.
func (m *mirror) hold(w http.ResponseWriter, r *http.Request, dir http.Dir, held chan struct{}) {
	f, err := dir.Open(r.URL.Path)
	if err != nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return
	}
	half := make([]byte, st.Size()/2)
	if _, err := f.Read(half); err != nil {
		return
	}
	w.Header().Set("Content-Length", itoa(st.Size()))
	w.Write(half)
	http.NewResponseController(w).Flush()
	m.mu.Lock()
	m.holding++
	m.mu.Unlock()
	select {
	case <-held:
	case <-r.Context().Done():
	}
}

func (m *mirror) set(how string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.how, m.holding = how, 0
	close(m.held)
	m.held = make(chan struct{})
}

// holds says whether somebody waits for the second half of a file.
func (m *mirror) holds() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.holding > 0
}

func (m *mirror) throughProxy() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.proxied
}
