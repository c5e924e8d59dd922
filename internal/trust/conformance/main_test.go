package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/trust/trusttest"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

func TestInitRefreshDownload(t *testing.T) {
	r := trusttest.New(t, time.Now())
	r.Delegate("targets", metadata.DelegatedRole{Name: "odd/name", Paths: []string{"dir/*"}})
	r.AddTarget("odd/name", "dir/file.txt", []byte("content"), nil)
	r.PublishAll()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		data, err := r.Fetch(req.Context(), strings.TrimPrefix(req.URL.EscapedPath(), "/"), 1<<20)
		if err != nil {
			http.NotFound(w, req)
			return
		}
		if _, err := w.Write(data); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()

	root := filepath.Join(t.TempDir(), "root.json")
	if err := os.WriteFile(root, r.RootBytes(1), 0o644); err != nil {
		t.Fatal(err)
	}
	metadataDir, targetDir := t.TempDir(), t.TempDir()
	flags := []string{"--metadata-dir", metadataDir, "--metadata-url", server.URL + "/metadata/"}
	command := func(args ...string) error {
		return run(t.Context(), append(append([]string{}, flags...), args...))
	}
	download := func(name string) error {
		return command("--target-name", name, "--target-base-url", server.URL+"/targets/", "--target-dir", targetDir, "download")
	}

	if err := command("init", root); err != nil {
		t.Fatal(err)
	}
	if len(r.Requests()) != 0 {
		t.Error("init made requests")
	}
	if err := command("refresh"); err != nil {
		t.Fatal(err)
	}
	if err := download("dir/file.txt"); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(targetDir, "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("downloaded %v: %v", files, err)
	}
	if data, err := os.ReadFile(files[0]); err != nil || string(data) != "content" {
		t.Errorf("downloaded %q: %v", data, err)
	}
	r.Requests()
	if err := download("dir/file.txt"); err != nil {
		t.Error(err)
	}
	if got := r.Requests(); len(got) != 2 {
		t.Errorf("what was downloaded already made requests %v, want those of a refresh", got)
	}
	if err := download("dir/other.txt"); err == nil {
		t.Error("a target that is not there was downloaded")
	}
	if err := command("unknown"); err == nil {
		t.Error("an unknown command succeeded")
	}
}
