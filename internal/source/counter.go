package source

import (
	"io"
	"net/http"
	"sync/atomic"
)

// Counter counts what was asked of a source. Its zero value counts from 0, nil
// counts nothing.
type Counter struct{ requests, bodyBytes atomic.Int64 }

// Numbers are a Counter's counts.
type Numbers struct {
	Requests  int64 `json:"requests"`   // HTTP requests, redirects included; files opened in a folder
	BodyBytes int64 `json:"body_bytes"` // bytes of bodies read, those of error pages included
}

// Numbers gives the counts so far.
func (c *Counter) Numbers() Numbers {
	if c == nil {
		return Numbers{}
	}
	return Numbers{Requests: c.requests.Load(), BodyBytes: c.bodyBytes.Load()}
}

func (c *Counter) request() {
	if c != nil {
		c.requests.Add(1)
	}
}

func (c *Counter) body(r io.ReadCloser) io.ReadCloser {
	if c == nil {
		return r
	}
	return &countedBody{r, c}
}

type countedBody struct {
	io.ReadCloser
	counter *Counter
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.counter.bodyBytes.Add(int64(n))
	return n, err
}

// countedTrips counts at the transport, where redirects are requests too.
type countedTrips struct {
	transport http.RoundTripper
	counter   *Counter
}

func (t countedTrips) RoundTrip(req *http.Request) (*http.Response, error) {
	t.counter.request()
	res, err := t.transport.RoundTrip(req)
	if err == nil {
		res.Body = t.counter.body(res.Body)
	}
	return res, err
}

// CloseIdleConnections is what http.Client looks for.
func (t countedTrips) CloseIdleConnections() {
	if c, ok := t.transport.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}
