package source

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"time"
)

func (h *HTTP) build() {
	u, err := url.Parse(h.URL)
	switch {
	case err != nil:
		h.err = errors.New("the address is no URL") // err would show what may be a password
		return
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		h.err = errors.New("the address is no http or https URL")
		return
	case u.RawQuery != "" || u.Fragment != "":
		h.err = errors.New("the address has a query or a fragment, which cannot be extended by a path")
		return
	}
	proxy, err := h.proxy()
	if err != nil {
		h.err = err
		return
	}
	connect := orDefault(h.ConnectTimeout, DefaultConnectTimeout)
	dial := h.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	within := func(ctx context.Context, network, addr string) (net.Conn, error) {
		// A dial outlives the request that began it.
		ctx, stop := context.WithTimeout(ctx, connect)
		defer stop()
		return dial(ctx, network, addr)
	}
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	h.base, h.via = u, proxy
	transport := &trusting{
		read: h.authorities(), eager: h.Roots == nil && h.CA != "",
		transport: &http.Transport{
			Proxy:                  proxy,
			OnProxyConnectResponse: h.checkTunnel,
			DialContext:            within,
			TLSClientConfig:        &tls.Config{RootCAs: h.Roots, MinVersion: tls.VersionTLS12, Time: h.Time},
			TLSHandshakeTimeout:    connect,
			ResponseHeaderTimeout:  orDefault(h.IdleTimeout, DefaultIdleTimeout),
			MaxResponseHeaderBytes: maxHeaderBytes,
			IdleConnTimeout:        30 * time.Second,
			DisableCompression:     true,
			Protocols:              protocols,
		},
	}
	h.client = &http.Client{CheckRedirect: checkRedirect, Transport: countedTrips{transport, h.Count}}
}

// checkTunnel says what a proxy wants that gives no tunnel for want of
// credentials. [http.Transport] tells its other refusals.
func (h *HTTP) checkTunnel(_ context.Context, proxy *url.URL, _ *http.Request, res *http.Response) error {
	if res.StatusCode != http.StatusProxyAuthRequired {
		return nil
	}
	return h.refused(res, "", proxy)
}

// asked is the proxy that a request went to; nil: none, or it is not known.
func (h *HTTP) asked(req *http.Request) *url.URL {
	if h.via == nil || req == nil {
		return nil
	}
	proxy, err := h.via(req)
	if err != nil {
		return nil
	}
	return proxy
}

// checkRedirect keeps a source to its host: whoever set the address chose
// that one, and a mirror must not send its clients elsewhere.
func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("more than %d redirects", maxRedirects)
	}
	from, to := via[len(via)-1].URL, req.URL
	same := from.Scheme == to.Scheme && strings.EqualFold(from.Host, to.Host)
	up := from.Scheme == "http" && to.Scheme == "https" && strings.EqualFold(from.Hostname(), to.Hostname())
	if !same && !up {
		return fmt.Errorf("the server redirects to elsewhere (%q): if that is right, set it as the source", clip(to.Redacted()))
	}
	return nil
}

// get sends a request. The body it returns is watched: it must be closed.
func (h *HTTP) get(ctx context.Context, path string, header http.Header) (*http.Response, error) {
	h.once.Do(h.build)
	if h.err != nil {
		return nil, h.err
	}
	if err := checkPath(path); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	connect := orDefault(h.ConnectTimeout, DefaultConnectTimeout)
	timer := time.AfterFunc(connect, func() { cancel(fmt.Errorf("no connection within %s", connect)) })
	trace := &httptrace.ClientTrace{
		GetConn: func(string) { timer.Reset(connect) },
		GotConn: func(httptrace.GotConnInfo) { timer.Stop() },
	}
	req, err := h.request(httptrace.WithClientTrace(ctx, trace), path, header)
	if err != nil {
		timer.Stop()
		cancel(nil)
		return nil, err
	}
	res, err := h.client.Do(req)
	timer.Stop()
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		cancel(nil)
		return nil, plain(err)
	}
	if err := h.refused(res, path, h.asked(res.Request)); err != nil {
		drain(res)
		res.Body.Close()
		cancel(nil)
		return nil, err
	}
	res.Body = watch(ctx, cancel, res.Body, orDefault(h.IdleTimeout, DefaultIdleTimeout))
	return res, nil
}

func (h *HTTP) request(ctx context.Context, path string, header http.Header) (*http.Request, error) {
	parts := strings.Split(path, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	u := h.base.JoinPath(parts...)
	u.User = nil
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header = header
	agent := h.UserAgent
	if agent == "" {
		agent = "freshet"
	}
	header.Set("User-Agent", agent)
	header.Set("Accept-Encoding", "identity")
	if err := h.authorize(req); err != nil {
		return nil, err
	}
	return req, nil
}

// plain drops the method and URL, which the caller names in its own words.
func plain(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	var cert x509.CertificateInvalidError
	if errors.As(err, &cert) && cert.Reason == x509.Expired { // or not valid yet
		return fmt.Errorf("%w: it is valid from %s to %s; is this machine's clock right?", err,
			cert.Cert.NotBefore.UTC().Format(time.RFC3339), cert.Cert.NotAfter.UTC().Format(time.RFC3339))
	}
	return err
}

// watched is a body that is given up when it brings less than MinProgress
// bytes within idle. Time that its reader spends elsewhere does not count.
type watched struct {
	io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	idle   time.Duration
	left   time.Duration // of this window
	bytes  int           // in this window
}

func watch(ctx context.Context, cancel context.CancelCauseFunc, body io.ReadCloser, idle time.Duration) io.ReadCloser {
	timer := time.AfterFunc(idle, func() {
		cancel(fmt.Errorf("less than %d bytes came within %s", MinProgress, idle))
	})
	timer.Stop()
	return &watched{ReadCloser: body, ctx: ctx, cancel: cancel, timer: timer, idle: idle, left: idle}
}

func (w *watched) Read(p []byte) (int, error) {
	began := time.Now()
	w.timer.Reset(w.left)
	n, err := w.ReadCloser.Read(p)
	w.timer.Stop()
	w.left -= time.Since(began)
	w.bytes += n
	if w.bytes >= MinProgress {
		w.left, w.bytes = w.idle, 0
	}
	if err != nil && err != io.EOF {
		if cause := context.Cause(w.ctx); cause != nil {
			err = cause
		}
	}
	return n, err
}

func (w *watched) Close() error {
	w.timer.Stop()
	err := w.ReadCloser.Close()
	w.cancel(nil)
	return err
}
