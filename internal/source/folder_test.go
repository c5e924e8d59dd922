package source_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/freshet/freshet/internal/source"
)

func stick(t *testing.T) *source.Folder {
	t.Helper()
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "outside")
	err := errors.Join(
		os.MkdirAll(filepath.Join(dir, "blobs"), 0o755),
		os.WriteFile(filepath.Join(dir, "blobs/b"), []byte(blob), 0o644),
		os.WriteFile(outside, []byte(blob), 0o644),
		os.Symlink("b", filepath.Join(dir, "blobs/inside")),
		os.Symlink(outside, filepath.Join(dir, "blobs/out")),
		os.Symlink("../../../../../../../../etc", filepath.Join(dir, "up")),
		syscall.Mkfifo(filepath.Join(dir, "blobs/pipe"), 0o644),
	)
	if err != nil {
		t.Fatal(err)
	}
	return &source.Folder{Path: dir, Count: &source.Counter{}}
}

func TestFolderGivesItsFiles(t *testing.T) {
	f := stick(t)
	for _, path := range []string{"blobs/b", "blobs/inside"} {
		if data, err := f.Fetch(context.Background(), path, int64(len(blob))); err != nil || string(data) != blob {
			t.Errorf("%s: %q, %v", path, data, err)
		}
	}
	r, start, err := f.Open(context.Background(), "blobs/b", 5, int64(len(blob)))
	if err != nil || start != 5 {
		t.Fatalf("start %d, %v", start, err)
	}
	defer r.Close()
	if data, err := io.ReadAll(r); err != nil || string(data) != blob[5:] {
		t.Errorf("%q, %v", data, err)
	}
	if n := f.Count.Numbers(); n.Requests != 3 || n.BodyBytes != 55 { // twice the whole and once a part
		t.Errorf("counted %+v", n)
	}
}

func TestFolderRefusesWhatIsNoFileOfIts(t *testing.T) {
	f := stick(t)
	for name, row := range map[string]struct{ path, want string }{
		"a link out of it":          {"blobs/out", "escapes"},
		"a folder that leads out":   {"up/passwd", "escapes"},
		"a pipe":                    {"blobs/pipe", "no regular file"},
		"a folder":                  {"blobs", "no regular file"},
		"a file over the limit":     {"blobs/b", "more than 19 bytes"},
		"a file that is not there":  {"blobs/x", "not there"},
		"a folder that is no there": {"x/y", "not there"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := f.Fetch(context.Background(), row.path, 19)
			checkError(t, err, row.want)
			if missing := row.want == "not there"; errors.Is(err, source.ErrNotFound) != missing {
				t.Errorf("error %v", err)
			}
			_, _, err = f.Open(context.Background(), row.path, 0, 19)
			if err == nil {
				t.Error("Open gives it")
			}
		})
	}
}

func TestFolderThatIsNotThereIsNoAnswer(t *testing.T) {
	f := &source.Folder{Path: filepath.Join(t.TempDir(), "unplugged")}
	_, err := f.Fetch(context.Background(), "metadata/2.root.json", 100)
	checkError(t, err, "is it mounted?")
	if errors.Is(err, source.ErrNotFound) {
		t.Error("the file is said not to be there")
	}
}

func TestFolderObeysItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	r, _, err := stick(t).Open(ctx, "blobs/b", 0, int64(len(blob)))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cancel()
	if _, err := r.Read(make([]byte, 5)); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
