package durable_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/freshet/freshet/internal/durable"
	"golang.org/x/sys/unix"
)

// mounted answers as the kernel does for a file that is a mount of its own.
func mounted(op, path string) error {
	if op == "rename" {
		return &os.LinkError{Op: "rename", Old: path, New: path, Err: unix.EBUSY}
	}
	return nil
}

func TestAFileThatIsAMountIsOverwritten(t *testing.T) {
	rows := []struct {
		name string
		step func(op, path string) error
		same bool // it is the same file afterwards
	}{
		{"an ordinary file is replaced", nil, false},
		{"a mount", mounted, true},
		{"a read-only folder", func() func(op, path string) error {
			first := true
			return func(op, path string) error {
				if op == "open" && first {
					first = false
					return unix.EROFS
				}
				return nil
			}
		}(), true},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "freshet.yaml")
			for _, text := range []string{"version: 1\n# a long comment\n", "version: 1\n", "version: 1\n# a much longer comment than before\n"} {
				if err := os.WriteFile(path, bytes.Repeat([]byte("x"), 20), 0o600); err != nil {
					t.Fatal(err)
				}
				before, err := os.Stat(path)
				if err != nil {
					t.Fatal(err)
				}
				if err := (&durable.Disk{Step: row.step}).WriteInto(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				after, err := os.Stat(path)
				got, err2 := os.ReadFile(path)
				if err != nil || err2 != nil || string(got) != text {
					t.Fatalf("%q, %v, %v; want %q", got, err, err2, text)
				}
				if os.SameFile(before, after) != row.same && row.name != "a read-only folder" {
					t.Errorf("the same file: %v", !row.same)
				}
				if left, _ := filepath.Glob(path + ".tmp*"); len(left) > 0 {
					t.Errorf("%q is left", left)
				}
			}
		})
	}
}

func TestWhatIsNotAFileOfTheCallersIsNotOverwritten(t *testing.T) {
	dir := t.TempDir()
	other := filepath.Join(dir, "other")
	if err := os.WriteFile(other, []byte("of others"), 0o600); err != nil {
		t.Fatal(err)
	}
	link, fifo := filepath.Join(dir, "link"), filepath.Join(dir, "fifo")
	if err := errors.Join(os.Symlink(other, link), unix.Mkfifo(fifo, 0o600)); err != nil {
		t.Fatal(err)
	}
	disk := &durable.Disk{Step: mounted}
	for _, path := range []string{link, fifo} {
		if err := disk.WriteInto(path, []byte("mine"), 0o600); !errors.Is(err, unix.EBUSY) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if got, err := os.ReadFile(other); err != nil || string(got) != "of others" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestAReadOnlyMountIsSaidOnce: the folder and the file itself refuse for one reason.
func TestAReadOnlyMountIsSaidOnce(t *testing.T) {
	disk := &durable.Disk{Step: func(op, path string) error {
		return &os.PathError{Op: op, Path: path, Err: unix.EROFS}
	}}
	err := disk.WriteInto(filepath.Join(t.TempDir(), "freshet.yaml"), []byte("version: 1\n"), 0o600)
	if !errors.Is(err, unix.EROFS) || bytes.Count([]byte(err.Error()), []byte("read-only")) != 1 {
		t.Errorf("error %q", err)
	}
}
