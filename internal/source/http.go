package source

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Defaults and bounds of an HTTP source.
const (
	DefaultConnectTimeout = 10 * time.Second
	DefaultIdleTimeout    = 30 * time.Second

	// MinProgress is how many bytes a body must bring within one IdleTimeout
	// of waiting for it: one byte now and then is no download.
	MinProgress = 1 << 10

	maxRedirects   = 3
	maxHeaderBytes = 64 << 10
	fetchTimeouts  = 10 // a small file may take that many idle timeouts in all
)

// TimestampPath is the one file of a repository that changes in place. Its
// last answer is remembered, and asked for again by a conditional request.
const TimestampPath = "metadata/timestamp.json"

// HTTP is a source on a web server. Set its fields before the first call; it
// may then be used by several goroutines. It keeps connections between
// requests until CloseIdle.
//
// The server is asked by HTTP/1.1 for uncompressed bodies. Redirects are
// followed within the same host, from http up to https but not back.
type HTTP struct {
	URL string // http or https; may hold credentials for the server, no query

	ConnectTimeout time.Duration // resolve, dial, proxy, TLS: all in all; default 10 s
	IdleTimeout    time.Duration // for an answer to begin, then for each MinProgress bytes; default 30 s
	UserAgent      string        // default "freshet"

	// Proxy is "system" or "" (what the environment says, and the file
	// /etc/environment where that says nothing), "none", or an http or https
	// URL. ProxyCredentials is a file of mode 0600 with "user:password" for
	// the latter. Both files are read when a request needs them.
	Proxy            string
	ProxyCredentials string
	EnvironmentFile  string // default /etc/environment

	// Roots are the certificate authorities, else those in the PEM file CA, else
	// the system's. The two latter are read again when a server's is unknown.
	Roots *x509.CertPool
	CA    string

	// Token is a file of mode 0600 with a bearer token, Credentials one with
	// "user:password". They are read for each request, and go out over https
	// alone unless PlainHTTP is set, to this source's host and to none that it
	// redirects to.
	Token       string
	Credentials string
	PlainHTTP   bool

	// Time is what certificates are held against; nil: the system's clock.
	Time func() time.Time

	Count *Counter // nil counts nothing

	// Dial, if set, stands in for the network.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	once   sync.Once
	base   *url.URL
	client *http.Client
	via    func(*http.Request) (*url.URL, error) // names the proxy of a request; nil: none
	err    error                                 // of the fields above

	mu         sync.Mutex // guards remembered
	remembered remembered
}

// remembered is the last timestamp and what the server calls it.
type remembered struct {
	etag, modified string
	body           []byte
}

// Name is the URL without credentials.
func (h *HTTP) Name() string {
	u, err := url.Parse(h.URL)
	if err != nil {
		return "(an address that is no URL)"
	}
	u.User = nil
	return u.String()
}

// CloseIdle closes the connections that no request is using.
func (h *HTTP) CloseIdle() {
	h.once.Do(h.build)
	if h.client != nil {
		h.client.CloseIdleConnections()
	}
}

// Forget drops the remembered timestamp. Call it when that proved wrong, so
// that the next request brings it whole.
func (h *HTTP) Forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.remembered = remembered{}
}

// Fetch reads a small file whole: see [Source].
func (h *HTTP) Fetch(ctx context.Context, path string, limit int64) ([]byte, error) {
	all := fetchTimeouts * orDefault(h.IdleTimeout, DefaultIdleTimeout)
	ctx, stop := context.WithTimeoutCause(ctx, all, fmt.Errorf("not whole after %s", all))
	defer stop()
	data, err := h.fetch(ctx, path, limit)
	if err != nil {
		return nil, h.wrap(path, err)
	}
	return data, nil
}

func (h *HTTP) fetch(ctx context.Context, path string, limit int64) ([]byte, error) {
	header := http.Header{}
	var last remembered
	if path == TimestampPath {
		last = h.recall(limit)
		last.ask(header)
		// The one file that is replaced in place: a cache on the way must ask.
		header.Set("Cache-Control", "no-cache")
	}
	res, err := h.get(ctx, path, header)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	switch {
	case res.StatusCode == http.StatusNotModified && last.body != nil:
		return append([]byte(nil), last.body...), nil
	case res.StatusCode != http.StatusOK:
		drain(res)
		return nil, statusError(res, path)
	case res.ContentLength > limit:
		return nil, tooBig(limit)
	}
	if err := checkEncoding(res); err != nil {
		return nil, err
	}
	data, err := readAtMost(res.Body, limit)
	if err != nil {
		return nil, err
	}
	if isPage(res) && strings.HasPrefix(strings.TrimSpace(string(data[:min(len(data), 512)])), "<") {
		return nil, errPage
	}
	if path == TimestampPath {
		h.remember(res.Header, data)
	}
	return data, nil
}

// Open streams a file: see [Source].
func (h *HTTP) Open(ctx context.Context, path string, offset, size int64) (io.ReadCloser, int64, error) {
	if err := checkRange(offset, size); err != nil {
		return nil, 0, h.wrap(path, err)
	}
	if offset == size { // a range of no bytes cannot be asked for
		return http.NoBody, offset, nil
	}
	header := http.Header{}
	if offset > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-%d", offset, size-1))
	}
	res, err := h.get(ctx, path, header)
	if err != nil {
		return nil, 0, h.wrap(path, err)
	}
	start, err := bodyStart(res, path, offset, size)
	if err != nil {
		res.Body.Close()
		return nil, 0, h.wrap(path, err)
	}
	return &exactly{res.Body, size - start}, start, nil
}

func (h *HTTP) wrap(path string, err error) error {
	return fmt.Errorf("fetching %s from %s: %w", path, h.Name(), err)
}

func (h *HTTP) recall(limit int64) remembered {
	h.mu.Lock()
	defer h.mu.Unlock()
	if int64(len(h.remembered.body)) > limit {
		return remembered{}
	}
	return h.remembered
}

// remember keeps data if the server named it so that a change would show, and
// both are small.
func (h *HTTP) remember(header http.Header, data []byte) {
	const maxName, maxBody = 256, 64 << 10
	next := remembered{etag: header.Get("ETag"), modified: header.Get("Last-Modified"), body: append([]byte(nil), data...)}
	if next.etag == "" && next.modified == "" || !settled(header) || len(next.etag) > maxName || len(next.modified) > maxName || len(data) > maxBody || len(data) == 0 {
		next = remembered{}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.remembered = next
}

// settled says whether the file is old enough for its name to be its own. Many
// servers make ETag and Last-Modified of a time in whole seconds: a file that
// was replaced within the second that it was fetched in would keep its name
// (RFC 9110, 8.8.2.2).
func settled(header http.Header) bool {
	modified, err := http.ParseTime(header.Get("Last-Modified"))
	if err != nil {
		return header.Get("ETag") != ""
	}
	date, err := http.ParseTime(header.Get("Date"))
	return err == nil && date.Sub(modified) >= 2*time.Second
}

func (r remembered) ask(header http.Header) {
	if r.etag != "" {
		header.Set("If-None-Match", r.etag)
	} else if r.modified != "" {
		header.Set("If-Modified-Since", r.modified)
	}
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d <= 0 {
		return otherwise
	}
	return d
}
