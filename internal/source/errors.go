package source

import (
	"errors"
	"fmt"
	"net/http"
	"path"
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
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("status %d", e.Status)
	if name := http.StatusText(e.Status); name != "" {
		text += " (" + strings.ToLower(name) + ")"
	}
	switch e.Status {
	case http.StatusProxyAuthRequired:
		text += ": the proxy wants proxy_credentials"
	case http.StatusUnauthorized:
		text += ": the source wants credentials"
	case http.StatusRequestedRangeNotSatisfiable:
		text += ": the file is shorter here than what was fetched before"
	}
	return text
}

// Is makes 404 and 410 ErrNotFound. So is 403 for a numbered root of trust
// alone: buckets that may not be listed answer 403 for what is not there, and
// the search for a newer root ends at the first that is not. Nothing is lost
// by it: a source that forbids everything then fails at its timestamp.
func (e *StatusError) Is(target error) bool {
	if !errors.Is(target, ErrNotFound) {
		return false
	}
	switch e.Status {
	case http.StatusNotFound, http.StatusGone:
		return true
	case http.StatusForbidden:
		return isNumberedRoot(e.Path)
	}
	return false
}

func isNumberedRoot(p string) bool {
	number, ok := strings.CutSuffix(path.Base(p), ".root.json")
	if !ok {
		return false
	}
	_, err := strconv.ParseUint(number, 10, 64)
	return err == nil
}

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
