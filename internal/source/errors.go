package source

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// MaxRetryAfter bounds what a source may make us wait.
const MaxRetryAfter = time.Hour

// RetryError says that the source is there and asks not to be asked for a
// while (status 429 or 503).
type RetryError struct {
	Status int
	After  time.Duration // 0 to MaxRetryAfter; 0: the source names none
}

// Broken says whether it may be about the one file as well: status 503.
func (e *RetryError) Broken() bool { return e.Status >= http.StatusInternalServerError }

func (e *RetryError) Error() string {
	text := fmt.Sprintf("the source is busy (status %d)", e.Status)
	if e.After > 0 {
		text += fmt.Sprintf(" and asks to wait %s", e.After.Round(time.Second))
	}
	return text
}

// StatusError is any other answer that is not the file.
type StatusError struct {
	Status int
	Path   string
	Wants  string // of 401 and 407: what who answers wants, for people
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("status %d", e.Status)
	if name := http.StatusText(e.Status); name != "" {
		text += " (" + strings.ToLower(name) + ")"
	}
	switch e.Status {
	case http.StatusProxyAuthRequired, http.StatusUnauthorized:
		text += ": " + e.Wants
	case http.StatusRequestedRangeNotSatisfiable:
		text += ": the file is shorter here than what was fetched before"
	}
	return text
}

// Is makes 404 and 410 ErrNotFound, and 403: buckets that may not be listed
// answer 403 for what is not there. A source that forbids everything fails at
// its timestamp, which must be there.
func (e *StatusError) Is(target error) bool {
	if !errors.Is(target, ErrNotFound) {
		return false
	}
	switch e.Status {
	case http.StatusNotFound, http.StatusGone, http.StatusForbidden:
		return true
	}
	return false
}

// Broken says that the source failed at this file: status 500 or more.
func (e *StatusError) Broken() bool { return e.Status >= http.StatusInternalServerError }

func statusError(res *http.Response, path string) error {
	switch res.StatusCode {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return &RetryError{Status: res.StatusCode, After: retryAfter(res.Header)}
	}
	return &StatusError{Status: res.StatusCode, Path: path}
}

// retryAfter reads RFC 9110, 10.2.3: seconds, or a date, which is taken
// against the server's own Date, since either clock may be wrong.
func retryAfter(h http.Header) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if seconds, err := strconv.ParseUint(value, 10, 63); err == nil {
		if seconds > uint64(MaxRetryAfter/time.Second) {
			return MaxRetryAfter
		}
		return time.Duration(seconds) * time.Second
	} else if errors.Is(err, strconv.ErrRange) {
		return MaxRetryAfter
	}
	until, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return max(0, min(until.Sub(now), MaxRetryAfter))
}
