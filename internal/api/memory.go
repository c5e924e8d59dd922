package api

import (
	"fmt"
	"io"
	"net/http"
	"sync"
)

// inMemory carries requests to a handler of this process, streams included.
type inMemory struct {
	handler http.Handler
	caller  Caller
}

func (m *inMemory) RoundTrip(req *http.Request) (*http.Response, error) {
	r, w := io.Pipe()
	answer := &answer{header: http.Header{}, body: w, begun: make(chan struct{})}
	inner := req.Clone(WithCaller(req.Context(), m.caller))
	if inner.Body == nil {
		inner.Body = http.NoBody
	}
	go func() {
		m.handler.ServeHTTP(answer, inner)
		answer.WriteHeader(http.StatusOK)
		w.Close()
	}()
	select {
	case <-answer.begun:
	case <-req.Context().Done():
		r.CloseWithError(req.Context().Err())
		return nil, req.Context().Err()
	}
	return &http.Response{
		StatusCode: answer.status, Status: fmt.Sprint(answer.status, " ", http.StatusText(answer.status)),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: answer.sent, Body: r, Request: req, ContentLength: -1,
	}, nil
}

// answer is the http.ResponseWriter of inMemory.
type answer struct {
	header http.Header
	sent   http.Header // as it was at WriteHeader
	status int
	body   *io.PipeWriter
	once   sync.Once
	begun  chan struct{} // closed by WriteHeader
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	a.once.Do(func() {
		a.status, a.sent = status, a.header.Clone()
		close(a.begun)
	})
}

func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}

// Flush implements http.Flusher: a pipe holds nothing back.
func (a *answer) Flush() {}
