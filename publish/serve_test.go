package publish_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/freshet/freshet/publish"
)

func get(t *testing.T, method, url string, header ...string) (*http.Response, string) {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		q.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(q)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func TestServe(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	put(t, r, "b", ten(1))
	full := manifest(t, r, "b").Full
	blob, err := os.ReadFile(filepath.Join(r.Dir, full.Path()))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/hostname", filepath.Join(r.Dir, "blobs/out")); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(r.Dir, "metadata/x.json.tmp-ABCD"), "half written")
	h, err := publish.Handler(r.Dir)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	defer srv.Close()
	tag := `"` + full.SHA256.String() + `"`
	for _, row := range []struct {
		name, method, path string
		header             []string
		status             int
		body               string
	}{
		{"a blob", "GET", full.Path(), nil, 200, string(blob)},
		{"the head of a blob", "HEAD", full.Path(), nil, 200, ""},
		{"the end of a blob", "GET", full.Path(), []string{"Range", "bytes=100-"}, 206, string(blob[100:])},
		{"the end of the blob begun", "GET", full.Path(), []string{"Range", "bytes=100-", "If-Range", tag}, 206, string(blob[100:])},
		{"the end of another blob begun", "GET", full.Path(), []string{"Range", "bytes=100-", "If-Range", `"0"`}, 200, string(blob)},
		{"a range behind the end", "GET", full.Path(), []string{"Range", "bytes=99999999-"}, 416, "-"},
		{"a blob that is had", "GET", full.Path(), []string{"If-None-Match", tag}, 304, ""},
		{"the next root, which is not there", "GET", "metadata/2.root.json", nil, 404, "not found\n"},
		{"a listing", "GET", "metadata/", nil, 404, "not found\n"},
		{"a folder", "GET", "metadata", nil, 404, "not found\n"},
		{"the top", "GET", "", nil, 404, "not found\n"},
		{"a dot file", "GET", ".publish.json", nil, 404, "not found\n"},
		{"a half written file", "GET", "metadata/x.json.tmp-ABCD", nil, 404, "not found\n"},
		{"a way out", "GET", "metadata/../../keys/online-bases.pem", nil, 404, "not found\n"},
		{"an encoded way out", "GET", "blobs/..%2f..%2fkeys/online-bases.pem", nil, 404, "not found\n"},
		{"a link that leads out", "GET", "blobs/out", nil, 500, "-"},
		{"a write", "PUT", full.Path(), nil, 405, "-"},
	} {
		t.Run(row.name, func(t *testing.T) {
			resp, body := get(t, row.method, srv.URL+"/"+row.path, row.header...)
			if resp.StatusCode != row.status || row.body != "-" && body != row.body {
				t.Errorf("status %d, %d bytes", resp.StatusCode, len(body))
			}
			if strings.Contains(body, "PRIVATE") {
				t.Error("it gives away a key")
			}
		})
	}
	resp, body := get(t, "GET", srv.URL+"/metadata/timestamp.json")
	if resp.Header.Get("Cache-Control") != "no-cache" || len(body) > 1000 {
		t.Errorf("timestamp: %v, %d bytes", resp.Header, len(body))
	}
	if resp, _ := get(t, "GET", srv.URL+"/metadata/timestamp.json", "If-None-Match", resp.Header.Get("ETag")); resp.StatusCode != 304 {
		t.Errorf("the same timestamp: %d", resp.StatusCode)
	}
}
