package agent

import (
	"context"
	"maps"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/freshet/freshet/internal/api"
)

// Every local user may read. What all of them who are not root cost together is
// bounded here, so that none of them slows the agent down, fills its memory, or
// has a supervisor find it unhealthy:
//
//	connections  some in all, some a user; see fair
//	requests     a rate, in their order
//	answers      those that all get alike are made once an interval, for all
//	             others that cost work take turns, and rest ten times as long as they worked
//	streams      some; who does not read is cut off
const (
	lightRate    = 50                    // requests a second
	lightBurst   = 50                    // requests at once
	heavyShare   = 10                    // one part of so many of a processor, for answers that are not shared
	sharedFor    = time.Second           // how old an answer may be
	maxStreams   = 32                    // of callers who are not root
	writeTimeout = 30 * time.Second      // for an answer, or a line of a stream
	heavyBurst   = 50 * time.Millisecond // of work, before the first rest
)

// callers is what is known of callers who are not root. It does not know who
// they are.
type callers struct {
	light *rate.Limiter
	heavy *rate.Limiter // of microseconds
	turn  sync.Mutex    // held while an answer of its own is made

	made atomic.Int64 // rises when answers made before are not true any more
	came atomic.Int64 // since others was called last

	mu      sync.Mutex // guards what follows
	answers map[string]*sharedAnswer
	streams int
}

func newCallers() *callers {
	return &callers{
		light:   rate.NewLimiter(lightRate, lightBurst),
		heavy:   rate.NewLimiter(rate.Limit(time.Second.Microseconds()/heavyShare), int(heavyBurst.Microseconds())),
		answers: map[string]*sharedAnswer{},
	}
}

// privileged says whether a caller is root, or the user that the agent runs as:
// these are never kept waiting for others.
func privileged(c api.Caller, known bool) bool {
	return known && (c.UID == 0 || c.UID == os.Geteuid())
}

// kind is how a request is answered to callers who are not root.
type kind int

const (
	cheap  kind = iota // it costs no more than any request
	shared             // all get the same answer
	costly             // an answer of its own, which takes work
	stream
)

func (r Route) kind(req *http.Request) kind {
	switch {
	case r.Changes:
		return cheap // they are refused, or members of the group, who may
	case r.Path == "/v1/tasks/{id}/progress", r.Path == "/v1/events" && req.URL.Query().Get("follow") != "":
		return stream
	case r.Path == "/v1/events" && req.URL.RawQuery != "":
		return costly
	case r.Path == "/v1/tasks/{id}":
		return cheap
	case strings.Contains(r.Path, "{"):
		return costly // it depends on what the path names
	}
	return shared
}

type handler func(http.ResponseWriter, *http.Request)

// serve answers a caller who is not root.
func (c *callers) serve(k kind, path string, w http.ResponseWriter, req *http.Request, serve handler) {
	hurried := &hurriedWriter{ResponseWriter: w, c: http.NewResponseController(w)}
	switch k {
	case shared:
		c.share(path, hurried, req, serve)
	case costly:
		c.inTurn(hurried, req, serve)
	case stream:
		if !c.takeStream() {
			api.Fail(hurried, errCrowded)
			return
		}
		defer c.giveStream()
		serve(hurried, req)
	default:
		serve(hurried, req)
	}
}

// errCrowded refuses a caller who is not root.
var errCrowded = &api.Error{Code: api.TooManyCallers, Text: "too many users ask this agent at once"}

// admitted has each request of others wait for its place among them, whatever
// it asks for.
func (c *callers) admitted(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if !privileged(api.CallerOf(req.Context())) {
			c.came.Add(1)
			if c.light.Wait(req.Context()) != nil {
				return // they are gone
			}
		}
		h.ServeHTTP(w, req)
	})
}

// inTurn makes an answer while no other is made, and has the next one rest.
func (c *callers) inTurn(w http.ResponseWriter, req *http.Request, serve handler) {
	answer, err := c.makeInTurn(req, serve)
	if err != nil {
		api.Fail(w, &api.Error{Code: api.TooManyCallers, Text: err.Error()})
		return
	}
	answer.write(w) // in nobody's turn: who reads slowly keeps nobody
}

func (c *callers) makeInTurn(req *http.Request, serve handler) (*kept, error) {
	c.turn.Lock()
	defer c.turn.Unlock()
	if err := c.heavy.WaitN(req.Context(), 1); err != nil {
		return nil, err
	}
	answer, began := &kept{}, time.Now()
	defer func() { c.spend(time.Since(began)) }()
	serve(answer, req)
	return answer, nil
}

// spend takes work from what is to come.
func (c *callers) spend(work time.Duration) {
	now := time.Now()
	for n := int(min(work, time.Minute).Microseconds()); n > 0; n -= c.heavy.Burst() {
		c.heavy.ReserveN(now, min(n, c.heavy.Burst()))
	}
}

func (c *callers) takeStream() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.streams >= maxStreams {
		return false
	}
	c.streams++
	return true
}

func (c *callers) giveStream() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.streams--
}

// others is how many requests came since it was called last, and how many streams
// are held: what the agent uses at that time is not its own doing alone.
func (c *callers) others() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return int(c.came.Swap(0)) + c.streams
}

// forget has the next answers be made anew: something has changed.
func (c *callers) forget() { c.made.Add(1) }

// kept is an answer, as an http.ResponseWriter takes it. Its bytes never change
// once it is made: any number may be writing them to somebody.
type kept struct {
	status int
	header http.Header
	body   []byte
}

func (k *kept) Header() http.Header {
	if k.header == nil {
		k.header = http.Header{}
	}
	return k.header
}

func (k *kept) WriteHeader(status int) {
	if k.status == 0 {
		k.status = status
	}
}

func (k *kept) Write(p []byte) (int, error) {
	k.WriteHeader(http.StatusOK)
	k.body = append(k.body, p...)
	return len(p), nil
}

func (k *kept) write(w http.ResponseWriter) {
	maps.Copy(w.Header(), k.header)
	w.WriteHeader(max(k.status, http.StatusOK))
	w.Write(k.body)
}

// sharedAnswer is an answer for all.
type sharedAnswer struct {
	mu   sync.Mutex // guards what follows, and is held while it is made
	kept *kept
	made int64 // see callers.made
	at   time.Time
}

// share gives an answer that is not older than sharedFor. It is made once, by
// whoever comes first, and outlives them.
func (c *callers) share(path string, w http.ResponseWriter, req *http.Request, serve handler) {
	c.mu.Lock()
	slot := c.answers[path]
	if slot == nil {
		slot = &sharedAnswer{}
		c.answers[path] = slot
	}
	c.mu.Unlock()
	slot.answer(c.made.Load, req, serve).write(w)
}

// answer is the one that is kept, or a new one.
func (s *sharedAnswer) answer(now func() int64, req *http.Request, serve handler) *kept {
	s.mu.Lock()
	defer s.mu.Unlock()
	if made := now(); s.kept == nil || s.made != made || time.Since(s.at) >= sharedFor {
		fresh := &kept{}
		serve(fresh, req.WithContext(context.WithoutCancel(req.Context())))
		s.kept, s.made, s.at = fresh, made, time.Now()
	}
	return s.kept
}

// hurriedWriter cuts off who does not read.
type hurriedWriter struct {
	http.ResponseWriter
	c *http.ResponseController
}

func (h *hurriedWriter) WriteHeader(status int) {
	h.hurry()
	h.ResponseWriter.WriteHeader(status)
}

func (h *hurriedWriter) Write(p []byte) (int, error) {
	h.hurry()
	return h.ResponseWriter.Write(p)
}

func (h *hurriedWriter) hurry() { _ = h.c.SetWriteDeadline(time.Now().Add(writeTimeout)) }

// Unwrap is for http.ResponseController.
func (h *hurriedWriter) Unwrap() http.ResponseWriter { return h.ResponseWriter }
