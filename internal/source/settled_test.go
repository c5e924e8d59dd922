package source_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/source"
)

// TestATimestampReplacedWithinASecondIsSeen: a server whose names for content
// are times in whole seconds calls the new timestamp by the name of the old.
func TestATimestampReplacedWithinASecondIsSeen(t *testing.T) {
	second := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	body, date := "one", second
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", date.Format(http.TimeFormat))
		w.Header().Set("Last-Modified", second.Format(http.TimeFormat))
		w.Header().Set("ETag", `"69a42a40-3"`)
		if r.Header.Get("If-None-Match") != "" {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Write([]byte(body))
	}))
	defer server.Close()
	h := &source.HTTP{URL: server.URL, Proxy: "none"}
	get := func(want string) {
		t.Helper()
		data, err := h.Fetch(t.Context(), source.TimestampPath, 100)
		if err != nil || string(data) != want {
			t.Fatalf("got %q, %v; want %q", data, err, want)
		}
	}
	get("one")
	body = "two" // published in the same second
	get("two")
	date = second.Add(time.Minute)
	get("two") // remembered from here on
	body = "never asked for"
	get("two")
}
