package publish

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"strings"
)

// Handler serves the repository in the folder dir: files by GET and HEAD, with
// ranges and conditional requests, and nothing else. The ETag is the SHA-256
// of the content.
func Handler(dir string) (http.Handler, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return handler{root}, nil
}

type handler struct{ root *os.Root }

func (h handler) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	if q.Method != http.MethodGet && q.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	name, ok := servable(q.URL.Path)
	if !ok {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	f, err := h.root.Open(name)
	if err != nil {
		h.refuse(w, err)
		return
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	tag, err := etag(name, f)
	if err != nil {
		h.refuse(w, err)
		return
	}
	w.Header().Set("ETag", tag)
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	if name == "metadata/timestamp.json" {
		w.Header().Set("Cache-Control", "no-cache")
	}
	if strings.HasSuffix(name, ".json") {
		w.Header().Set("Content-Type", "application/json")
	} else {
		w.Header().Set("Content-Type", "application/octet-stream")
	}
	http.ServeContent(w, q, "", st.ModTime(), f)
}

func (h handler) refuse(w http.ResponseWriter, err error) {
	if errors.Is(err, fs.ErrNotExist) {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	http.Error(w, "cannot be read", http.StatusInternalServerError)
}

// servable gives the file that a request asks for. What is not part of the
// published layout, such as the publisher's dot files, is not there.
func servable(p string) (string, bool) {
	name := strings.TrimPrefix(p, "/")
	if path.Clean(name) != name {
		return "", false
	}
	for part := range strings.SplitSeq(name, "/") {
		if strings.HasPrefix(part, ".") || strings.Contains(part, ".tmp-") {
			return "", false
		}
	}
	top, _, ok := strings.Cut(name, "/")
	return name, ok && (top == "metadata" || top == "targets" || top == "blobs")
}

// etag is the content's hash, for a blob by its name.
func etag(name string, f io.ReadSeeker) (string, error) {
	if dir, hash := path.Split(name); dir == "blobs/" && len(hash) == 64 {
		return `"` + hash + `"`, nil
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	return fmt.Sprintf(`"%x"`, sum.Sum(nil)), nil
}
