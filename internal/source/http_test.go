package source_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/source"
)

const blob = "0123456789abcdefghij"

// serve starts a real server on loopback, and the source that reads from it.
func serve(t *testing.T, h http.HandlerFunc) *source.HTTP {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	s := &source.HTTP{URL: server.URL + "/repo", Proxy: "none", Count: &source.Counter{}}
	t.Cleanup(s.CloseIdle)
	return s
}

// answers is a server that always gives the same.
func answers(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

func files(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/repo/blobs/b" {
		http.NotFound(w, r)
		return
	}
	http.ServeContent(w, r, "b", time.Time{}, strings.NewReader(blob))
}

func checkError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want one with %q", err, want)
	}
}

func TestFetchGivesTheFile(t *testing.T) {
	s := serve(t, files)
	data, err := s.Fetch(context.Background(), "blobs/b", int64(len(blob)))
	if err != nil || string(data) != blob {
		t.Fatalf("%q, %v", data, err)
	}
	if n := s.Count.Numbers(); n.Requests != 1 || n.BodyBytes != int64(len(blob)) {
		t.Errorf("counted %+v", n)
	}
}

func TestOpenResumes(t *testing.T) {
	s := serve(t, files)
	for offset := range len(blob) + 1 {
		r, start, err := s.Open(context.Background(), "blobs/b", int64(offset), int64(len(blob)))
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil || start != int64(offset) || string(data) != blob[offset:] {
			t.Errorf("from %d: start %d, %q, %v", offset, start, data, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestOpenOfAServerThatCannotResumeBeginsAtTheStart(t *testing.T) {
	s := serve(t, answers(200, blob))
	r, start, err := s.Open(context.Background(), "blobs/b", 5, int64(len(blob)))
	if err != nil || start != 0 {
		t.Fatalf("start %d, %v", start, err)
	}
	defer r.Close()
	if data, err := io.ReadAll(r); err != nil || string(data) != blob {
		t.Errorf("%q, %v", data, err)
	}
}

func TestFetchRefusesWhatIsNotTheFile(t *testing.T) {
	rows := map[string]struct {
		serve http.HandlerFunc
		want  string
	}{
		"a body over the limit":             {answers(200, strings.Repeat("x", 101)), "longer than allowed: more than 100 bytes"},
		"a body over the limit, in chunks":  {chunks(1000), "longer than allowed: more than 100 bytes"},
		"a body without end":                {chunks(-1), "longer than allowed: more than 100 bytes"},
		"a web page":                        {answers(200, "\n<html>log in</html>", "Content-Type", "text/html; charset=utf-8"), "a web page; is there a portal"},
		"a compressed body":                 {answers(200, "zzz", "Content-Encoding", "gzip"), "compresses"},
		"a part":                            {answers(206, "x", "Content-Range", "bytes 0-0/1"), "status 206"},
		"no change where none was asked":    {answers(304, ""), "status 304"},
		"an error of the server":            {answers(500, "oops"), "status 500 (internal server error)"},
		"a body that is cut off":            {cutOff, "unexpected EOF"},
		"more headers than anyone needs":    {answers(200, "x", "X-Long", strings.Repeat("x", 100<<10)), "headers"},
		"a redirect to elsewhere":           {redirect("http://evil.example/"), "redirects to elsewhere (\"http://evil.example/\")"},
		"a redirect to another port":        {redirect("http://127.0.0.1:1/"), "redirects to elsewhere"},
		"a redirect to a file":              {redirect("file:///etc/passwd"), "redirects to elsewhere"},
		"redirects without end":             {redirect("/repo/x"), "more than 3 redirects"},
		"a redirect that shows credentials": {redirect("http://u:secret@evil.example/"), "u:xxxxx@evil.example"},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			s := serve(t, row.serve)
			_, err := s.Fetch(context.Background(), "x", 100)
			checkError(t, err, row.want)
			checkError(t, err, "fetching x from "+s.Name())
			if errors.Is(err, source.ErrTooLarge) != strings.Contains(row.want, "longer") {
				t.Errorf("error %v", err)
			}
		})
	}
}

func redirect(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusFound)
	}
}

// chunks sends n bytes without saying so before, or without end if n is -1.
func chunks(n int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		part := []byte("y")
		if n < 0 {
			part = bytes.Repeat(part, 64<<10)
		}
		for i := 0; i != n; i++ {
			if _, err := w.Write(part); err != nil {
				return
			}
		}
	}
}

// cutOff promises more than it gives.
func cutOff(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Length", "20")
	io.WriteString(w, "01234")
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

func TestOpenHoldsTheServerToTheSignedSize(t *testing.T) {
	part := func(value, body string) http.HandlerFunc { return answers(206, body, "Content-Range", value) }
	rows := map[string]struct {
		serve  http.HandlerFunc
		offset int64
		want   string
	}{
		"shorter":                          {answers(200, "short"), 0, "5 bytes are offered where 20 are signed"},
		"longer":                           {answers(200, blob+"x"), 0, "21 bytes are offered where 20 are signed"},
		"a web page":                       {answers(200, "<html>", "Content-Type", "text/html"), 0, "a web page; is there a portal"},
		"a part that was not asked for":    {part("bytes 0-19/20", blob), 0, "a part came"},
		"another part":                     {part("bytes 4-19/20", blob[4:]), 5, `the part "bytes 4-19/20" came where "bytes 5-19/20"`},
		"a part of another size":           {part("bytes 5-19/21", blob[5:]), 5, "came where"},
		"a part that does not say where":   {answers(206, blob[5:]), 5, `the part "" came`},
		"several parts":                    {answers(206, "--x", "Content-Type", "multipart/byteranges; boundary=x"), 5, `the part "" came`},
		"a part shorter than it says":      {part("bytes 5-19/20", "56789"), 5, "10 bytes are offered where 20 are signed"},
		"a file shorter than the offset":   {answers(416, ""), 5, "the file is shorter here"},
		"a range that no size could cover": {part("bytes 5-99999999999999999999/99999999999999999999", "x"), 5, "came where"},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			_, _, err := serve(t, row.serve).Open(context.Background(), "x", row.offset, 20)
			checkError(t, err, row.want)
			if errors.Is(err, source.ErrWrongFile) != (name != "a file shorter than the offset") {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestOpenGivesNoMoreAndNoLessThanTheSignedSize(t *testing.T) {
	rows := map[string]struct {
		serve http.HandlerFunc
		bytes int
		err   error
	}{
		"a body without end is cut":              {chunks(-1), 20, nil},
		"a body of a few too many bytes is cut":  {chunks(25), 20, nil},
		"a chunked body that is short":           {chunks(7), 7, io.ErrUnexpectedEOF},
		"a connection that breaks":               {cutOff, 5, io.ErrUnexpectedEOF},
		"a chunked body of the size is the file": {chunks(20), 20, nil},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			r, _, err := serve(t, row.serve).Open(context.Background(), "x", 0, 20)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			data, err := io.ReadAll(r)
			if len(data) != row.bytes || !errors.Is(err, row.err) {
				t.Errorf("%d bytes, %v", len(data), err)
			}
		})
	}
}

func TestTimestampIsAskedForOnlyIfItChanged(t *testing.T) {
	content, etag := "one", `"1"`
	var conditions []string
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		conditions = append(conditions, r.Header.Get("If-None-Match"))
		w.Header().Set("ETag", etag)
		http.ServeContent(w, r, "t", time.Time{}, strings.NewReader(content))
	})
	fetch := func(want string, bodyBytes int64) {
		t.Helper()
		before := s.Count.Numbers().BodyBytes
		data, err := s.Fetch(context.Background(), source.TimestampPath, 100)
		if err != nil || string(data) != want {
			t.Errorf("%q, %v", data, err)
		}
		if n := s.Count.Numbers().BodyBytes - before; n != bodyBytes {
			t.Errorf("%d bytes of body, want %d", n, bodyBytes)
		}
	}
	fetch("one", 3)
	fetch("one", 0)
	content, etag = "second", `"2"`
	fetch("second", 6)
	fetch("second", 0)
	s.Forget()
	fetch("second", 6)
	if got := fmt.Sprint(conditions); got != `[ "1" "1" "2" ]` {
		t.Errorf("conditions %s", got)
	}
	t.Run("and not from memory over the limit", func(t *testing.T) {
		if _, err := s.Fetch(context.Background(), source.TimestampPath, 5); err == nil {
			t.Error("no error")
		}
	})
}

func TestTimestampByDateWhereTheServerHasNoTag(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "t", at, strings.NewReader("one"))
	})
	for range 2 {
		if data, err := s.Fetch(context.Background(), source.TimestampPath, 100); err != nil || string(data) != "one" {
			t.Errorf("%q, %v", data, err)
		}
	}
	if n := s.Count.Numbers(); n.Requests != 2 || n.BodyBytes != 3 {
		t.Errorf("counted %+v", n)
	}
}

func TestRedirectWithinTheHostIsFollowedAndCounted(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/repo/") {
			http.Redirect(w, r, "/moved"+strings.TrimPrefix(r.URL.Path, "/repo"), http.StatusMovedPermanently)
			return
		}
		if user, password, _ := r.BasicAuth(); user != "u" || password != "secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		io.WriteString(w, blob)
	})
	s.URL = strings.Replace(s.URL, "http://", "http://u:secret@", 1)
	data, err := s.Fetch(context.Background(), "x", 100)
	if err != nil || string(data) != blob {
		t.Fatalf("%q, %v", data, err)
	}
	if n := s.Count.Numbers().Requests; n != 2 {
		t.Errorf("%d requests", n)
	}
	if strings.Contains(s.Name(), "secret") || strings.Contains(s.Name(), "u:") {
		t.Errorf("name %s", s.Name())
	}
}

func TestConnectionIsUsedAgainAlsoAfterWhatIsNotThere(t *testing.T) {
	peers := map[string]bool{}
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		peers[r.RemoteAddr] = true
		files(w, r)
	})
	for range 3 {
		s.Fetch(context.Background(), "metadata/2.root.json", 100)
		r, _, err := s.Open(context.Background(), "blobs/b", 3, int64(len(blob)))
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, r)
		r.Close()
	}
	if len(peers) != 1 {
		t.Errorf("%d connections", len(peers))
	}
	s.CloseIdle()
	s.Fetch(context.Background(), "blobs/b", 100)
	if len(peers) != 2 {
		t.Errorf("%d connections after CloseIdle", len(peers))
	}
}

func TestAddressesAndPathsAreHeldToTheirForm(t *testing.T) {
	for name, url := range map[string]string{
		"no scheme":      "updates.example.org",
		"another scheme": "ftp://updates.example.org",
		"no host":        "http:///freshet",
		"a query":        "http://updates.example.org/?key=1",
		"no URL":         "http://u:secret%zz@x",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := (&source.HTTP{URL: url}).Fetch(context.Background(), "x", 1)
			checkError(t, err, "the address")
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("error %v", err)
			}
		})
	}
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.URL.EscapedPath()) })
	for _, path := range []string{"", ".", "/etc/passwd", "../x", "a/../../x", "a//b"} {
		_, err := s.Fetch(context.Background(), path, 100)
		checkError(t, err, "is no path within a repository")
		_, err = (&source.Folder{Path: t.TempDir()}).Fetch(context.Background(), path, 100)
		checkError(t, err, "is no path within a repository")
	}
	if data, err := s.Fetch(context.Background(), "a b/50%2F?#", 100); err != nil || string(data) != "/repo/a%20b/50%252F%3F%23" {
		t.Errorf("path %s, %v", data, err)
	}
}
