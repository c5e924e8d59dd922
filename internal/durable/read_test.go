package durable_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/freshet/freshet/internal/durable"
)

// kind says which of the four a file is.
func kind(err error) string {
	switch {
	case err == nil:
		return "read"
	case errors.As(err, new(*durable.UnreadError)):
		return "unread"
	case errors.As(err, new(*durable.NewerError)):
		return "newer"
	case errors.As(err, new(*durable.DamagedError)):
		return "damaged"
	case errors.Is(err, fs.ErrNotExist):
		return "missing"
	}
	return err.Error()
}

func TestAFileIsMissingWithheldNewerOrDamagedAndNeverTwoOfThese(t *testing.T) {
	withheld := &durable.Disk{Read: func(string) error { return &fs.PathError{Op: "open", Path: "f", Err: unix.EIO} }}
	for _, row := range []struct {
		name string
		disk *durable.Disk
		make func(path string) error
		want string
	}{
		{"there is none", nil, func(string) error { return nil }, "missing"},
		{"whole", nil, text(`{"format":2}`), "read"},
		{"without a format", nil, text(`{}`), "read"},
		{"of a format that is not known", nil, text(`{"format":3}`), "newer"},
		{"newer, and says that this one may read it", nil, text(`{"format":9,"min_reader":2}`), "read"},
		{"cut", nil, text(`{"format":9`), "damaged"},
		{"empty", nil, text(``), "damaged"},
		{"another type", nil, text(`[]`), "damaged"},
		{"too large", nil, text(`{"format":2}` + strings.Repeat(" ", 100)), "damaged"},
		{"a folder", nil, func(p string) error { return os.Mkdir(p, 0o755) }, "damaged"},
		{"a pipe", nil, func(p string) error { return unix.Mkfifo(p, 0o644) }, "damaged"},
		{"a link to itself", nil, func(p string) error { return os.Symlink("f", p) }, "damaged"},
		{"a failing disk", withheld, text(`{"format":2}`), "unread"},
	} {
		t.Run(row.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "f")
			if err := row.make(path); err != nil {
				t.Fatal(err)
			}
			var v struct{ Format int }
			if got := kind(row.disk.ReadJSON(path, 64, 2, &v)); got != row.want {
				t.Errorf("it is %s, want %s", got, row.want)
			}
		})
	}
}

func text(s string) func(string) error {
	return func(path string) error { return os.WriteFile(path, []byte(s), 0o644) }
}

func TestAProcessWithoutDescriptorsDoesNotCallItsFilesDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	none := limit
	none.Cur = 0
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	_, err := (*durable.Disk)(nil).ReadFile(path, 64)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if kind(err) != "unread" || !errors.Is(err, unix.EMFILE) {
		t.Errorf("got %v", err)
	}
}

func TestWhoMustNotReadAFileIsToldWhichVersionDoes(t *testing.T) {
	err := durable.CheckFormat("state.json", []byte(`{"format":4,"min_reader":3,"min_version":"1.9.0"}`), 2)
	if err == nil || !strings.Contains(err.Error(), "install freshet 1.9.0 or newer") || !durable.Lasting(err) {
		t.Errorf("got %v", err)
	}
}
