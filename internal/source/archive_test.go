package source_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/freshet/freshet/internal/source"
)

func archive(t *testing.T, method uint16, files map[string]string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bundle.zip")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z := zip.NewWriter(f)
	for name, text := range files {
		w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: method})
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, text)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAnArchiveIsReadFromAnyOffset(t *testing.T) {
	path := archive(t, zip.Store, map[string]string{"blobs/a": "0123456789", "metadata/timestamp.json": "{}"})
	s := source.Local(path, nil)
	data, err := s.Fetch(t.Context(), "metadata/timestamp.json", 10)
	if err != nil || string(data) != "{}" {
		t.Fatalf("%q, %v", data, err)
	}
	for off := int64(0); off <= 10; off++ {
		body, start, err := s.Open(t.Context(), "blobs/a", off, 10)
		if err != nil || start != off {
			t.Fatalf("offset %d: %d, %v", off, start, err)
		}
		got, err := io.ReadAll(body)
		body.Close()
		if err != nil || string(got) != "0123456789"[off:] {
			t.Errorf("offset %d: %q, %v", off, got, err)
		}
	}
}

func TestAnArchiveThatIsNotAsItShouldBeIsRefused(t *testing.T) {
	good := archive(t, zip.Store, map[string]string{"a": "0123456789"})
	packed := archive(t, zip.Deflate, map[string]string{"a": "0123456789"})
	noZip := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(noZip, bytes.Repeat([]byte("no zip "), 100), 0o644); err != nil {
		t.Fatal(err)
	}
	many := map[string]string{"a": "0123456789"}
	for i := range 90_000 {
		many[fmt.Sprintf("%0150d", i)] = ""
	}
	long := archive(t, zip.Store, many)
	rows := []struct {
		name, path, file string
		size             int64
		want             error
	}{
		{"a file that is not in it", good, "b", 10, source.ErrNotFound},
		{"a file of another size", good, "a", 11, source.ErrWrongFile},
		{"a compressed file", packed, "a", 10, source.ErrWrongFile},
		{"something else than an archive", noZip, "a", 10, source.ErrWrongFile},
		{"a list of files that would fill the memory", long, "a", 10, source.ErrWrongFile},
		{"a path that climbs out", good, "../a", 10, nil},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			_, _, err := (&source.Archive{Path: r.path}).Open(t.Context(), r.file, 0, r.size)
			if err == nil || r.want != nil && !errors.Is(err, r.want) {
				t.Errorf("got %v, want %v", err, r.want)
			}
		})
	}
	if _, err := (&source.Archive{Path: good}).Fetch(t.Context(), "a", 9); !errors.Is(err, source.ErrTooLarge) {
		t.Errorf("a file over the limit: %v", err)
	}
}

func FuzzArchive(f *testing.F) {
	f.Add([]byte("PK\x05\x06\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "a.zip")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := (&source.Archive{Path: path}).Fetch(t.Context(), "a", 1000)
		if err == nil && len(got) > 1000 {
			t.Errorf("%d bytes came", len(got))
		}
	})
}
