package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"time"

	"golang.org/x/net/netutil"

	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/internal/metrics"
	"github.com/freshet/freshet/internal/settings"
)

// metricsEvery is the least time between two writings of the metrics' file, but
// for a run's end. The agent never wakes for it.
const metricsEvery = 5 * time.Minute

// maxScrapes is how many connections the metrics' listener holds: it has no
// password.
const maxScrapes = 8

// sample takes the metrics' values.
func (a *Agent) sample() (metrics.Sample, error) {
	st, err := a.status()
	if err != nil {
		return metrics.Sample{}, err
	}
	s := metrics.Sample{Status: st, Go: runtime.Version(), At: a.Clock.Now()}
	a.mu.Lock()
	for _, d := range a.records.definitions() {
		s.Tasks = append(s.Tasks, a.task(d))
	}
	s.Bytes, s.Requests = a.fetched.bytes, a.fetched.requests
	f := a.force
	a.mu.Unlock()
	if m, err := a.trusted(f); err == nil {
		s.Expires = m.Expires
	}
	return s, nil
}

// fetched is what runs fetched since the agent started.
type fetched struct{ bytes, requests int64 }

func (a *Agent) metricsSettings() settings.Metrics {
	a.mu.Lock()
	defer a.mu.Unlock()
	if m := a.force.settings.Metrics; m != nil {
		return *m
	}
	return settings.Metrics{}
}

// metricsFile keeps the metrics' file. It belongs to the main loop.
type metricsFile struct {
	path    string
	written time.Time
	seen    *seen // a run's end, or other settings, bring another
	failed  bool  // told already
}

// write writes the file if it is time to.
func (m *metricsFile) write(a *Agent, s *seen) {
	path, now := a.metricsSettings().File, a.Clock.Now()
	age := now.Sub(m.written)
	if path == "" || path == m.path && s == m.seen && age >= 0 && age < metricsEvery {
		return
	}
	m.path, m.written, m.seen = path, now, s
	sample, err := a.sample()
	if err == nil {
		err = a.Disk.WriteFile(path, metrics.Text(sample), 0o644)
	}
	if err != nil && !m.failed {
		a.emit(event.MetricsFailed, map[string]string{"where": path, "error": err.Error()})
	}
	m.failed = err != nil
}

// serveMetrics answers on the address that the settings name, until ctx ends.
func (a *Agent) serveMetrics(ctx context.Context) error {
	for {
		address := a.metricsSettings().Listen
		stop, err := a.listenMetrics(address)
		if err != nil {
			a.emit(event.MetricsFailed, map[string]string{"where": address, "error": err.Error()})
		}
		for waiting := true; waiting; {
			select {
			case <-ctx.Done():
				stop()
				return nil
			case <-a.remetrics:
				waiting = err == nil && a.metricsSettings().Listen == address
			}
		}
		stop()
	}
}

// listenMetrics serves GET /metrics on an address; "": nowhere.
func (a *Agent) listenMetrics(address string) (stop func(), err error) {
	if address == "" {
		return func() {}, nil
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return func() {}, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", a.getMetrics)
	s := &http.Server{
		Handler: a.callers.admitted(mux), ReadHeaderTimeout: readTimeout, ReadTimeout: readTimeout, WriteTimeout: time.Minute,
		IdleTimeout: time.Minute, MaxHeaderBytes: maxHeader, ErrorLog: a.httpLog(),
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Serve(netutil.LimitListener(ln, maxScrapes)); !errors.Is(err, http.ErrServerClosed) {
			a.warn("metrics are not served any more", err)
		}
	}()
	return func() { s.Close(); <-done }, nil
}

// getMetrics answers whoever asks: there is no password.
func (a *Agent) getMetrics(w http.ResponseWriter, req *http.Request) {
	a.callers.serve(shared, "/metrics", w, req, a.makeMetrics)
}

func (a *Agent) makeMetrics(w http.ResponseWriter, _ *http.Request) {
	s, err := a.sample()
	if err != nil {
		http.Error(w, fmt.Sprintf("reading the status: %v", err), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", metrics.ContentType)
	w.Write(metrics.Text(s))
}
