package feed_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/freshet/freshet/publish/feed"
)

const list = "b.example\na.example\n"

func gz(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(data)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zst(t testing.TB, data []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(data, nil)
}

func tarOf(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		content := h.PAXRecords["content"]
		h.PAXRecords, h.Mode = nil, 0o644
		h.Size = int64(len(content))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		w.Write([]byte(content))
	}
	w.Close()
	return b.Bytes()
}

func plain(name, content string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeReg, PAXRecords: map[string]string{"content": content}}
}

func zipOf(t testing.TB, mode fs.FileMode, names ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range names {
		h := &zip.FileHeader{Name: name, Method: zip.Deflate}
		h.SetMode(mode)
		f, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		f.Write([]byte("of " + name))
	}
	w.Close()
	return b.Bytes()
}

func cvd(t testing.TB, archive []byte) []byte {
	return append([]byte("ClamAV-VDB:"+strings.Repeat(" ", 501)), archive...)
}

// found says what is at a path: the content of a file, or NAME=CONTENT of each.
func found(t *testing.T, root string) string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(p)
		if rel, _ := filepath.Rel(root, p); rel != "." {
			all = append(all, rel+"="+string(data))
		} else {
			all = append(all, string(data))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, " ")
}

func TestUnpacking(t *testing.T) {
	two := tarOf(t, tar.Header{Name: "./sub/", Typeflag: tar.TypeDir}, plain("./a.hdb", "A"), plain("sub/b.hdb", "B"))
	xz := exec.Command("xz", "-c")
	xz.Stdin = strings.NewReader(list)
	xzed, noXZ := xz.Output()
	for _, row := range []struct {
		name, file string
		content    []byte
		want       string // of what is there, or of the error
		as         string // the file's name at the endpoint
		fails      bool
	}{
		{"a list in gzip", "l.txt.gz", gz(t, []byte(list)), list, "l.txt", false},
		{"a list in zstd", "l.zst", zst(t, []byte(list)), list, "l", false},
		{"a list in xz", "l.xz", xzed, list, "l", false},
		{"a tar archive in gzip", "l.tgz", gz(t, two), "a.hdb=A sub/b.hdb=B", "", false},
		{"a tar archive", "l.tar", two, "a.hdb=A sub/b.hdb=B", "", false},
		{"a zip archive", "l.zip", zipOf(t, 0o644, "a", "b/c"), "a=of a b/c=of b/c", "", false},
		{"a zip archive of one file", "l.zip", zipOf(t, 0o644, "full.csv"), "of full.csv", "full.csv", false},
		{"a CVD", "daily.cvd", cvd(t, gz(t, two)), "a.hdb=A sub/b.hdb=B", "", false},
		{"a CLD", "daily.cld", cvd(t, two), "a.hdb=A sub/b.hdb=B", "", false},
		{"what is none", "l.txt", []byte(list), "no archive that can be unpacked", "", true},
		{"cut short", "l.gz", gz(t, []byte(strings.Repeat(list, 100)))[:40], "cut short", "", true},
		{"xz cut short", "l.xz", xzed[:len(xzed)/2], "unpacking", "", true},
		{"7z", "l.7z", []byte("7z\xbc\xaf\x27\x1c000000"), "7z cannot be unpacked", "", true},
		{"a way out", "l.tar", tarOf(t, plain("../../etc/passwd", "x")), "leads out of its folder", "", true},
		{"an absolute way out", "l.tar", tarOf(t, plain("/etc/passwd", "x")), "leads out of its folder", "", true},
		{"a way out of a zip archive", "l.zip", zipOf(t, 0o644, "a/../../x", "b"), "leads out of its folder", "", true},
		{"a link", "l.tar", tarOf(t, tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "/etc"}, plain("l/passwd", "x")), "no plain file", "", true},
		{"a hard link", "l.tar", tarOf(t, tar.Header{Name: "l", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}), "no plain file", "", true},
		{"a link in a zip archive", "l.zip", zipOf(t, fs.ModeSymlink|0o777, "l", "b"), "no plain file", "", true},
		{"a device", "l.tar", tarOf(t, tar.Header{Name: "d", Typeflag: tar.TypeChar}), "no plain file", "", true},
		{"a file twice", "l.tar", tarOf(t, plain("a", "x"), plain("./a", "y")), "twice", "", true},
		{"a bomb", "l.gz", gz(t, make([]byte, 2<<20)), "it has more than", "", true},
		{"a bomb of many files", "l.tar", tarOf(t, plain("a", strings.Repeat("x", 700<<10)), plain("b", strings.Repeat("x", 700<<10))), "it has more than", "", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			if noXZ != nil && strings.HasSuffix(row.file, ".xz") {
				t.Skip("no xz here")
			}
			dir := t.TempDir()
			t.Setenv("TMPDIR", filepath.Join(dir, "tmp"))
			if err := os.Mkdir(filepath.Join(dir, "tmp"), 0o700); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, row.file)
			if err := os.WriteFile(path, row.content, 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := feed.Open(t.Context(), feed.Source{Path: path, Unpack: true, Max: 1 << 20})
			var known *feed.Error
			switch {
			case row.fails && (!errors.As(err, &known) || known.Hint == "" || !strings.Contains(err.Error()+known.Hint, row.want)):
				t.Errorf("%v, want %q", err, row.want)
			case !row.fails && err != nil:
				t.Fatal(err)
			case !row.fails:
				if got := found(t, f.Path); got != row.want || row.as != "" && f.Name != row.as {
					t.Errorf("%q as %q, want %q as %q", got, f.Name, row.want, row.as)
				}
				if err := f.Close(); err != nil {
					t.Error(err)
				}
			}
			if left := found(t, filepath.Join(dir, "tmp")); left != "" {
				t.Errorf("left: %s", left)
			}
		})
	}
}

func TestPipesAreReadToTheirEnd(t *testing.T) {
	t.Parallel()
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	wrote := make(chan error, 1)
	go func() { wrote <- os.WriteFile(pipe, gz(t, []byte(list)), 0) }()
	f, err := feed.Open(t.Context(), feed.Source{Path: pipe, Unpack: true, Sort: true})
	if err != nil || <-wrote != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got := found(t, f.Path); got != "a.example\nb.example\n" || f.Name != "" {
		t.Errorf("%q as %q", got, f.Name)
	}
	for _, row := range []struct {
		in, want string
	}{{"", "nothing came"}, {strings.Repeat("x", 11), "it has more than"}} {
		if _, err := feed.Open(t.Context(), feed.Source{Path: "-", Stdin: strings.NewReader(row.in), Max: 10}); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%q: %v, want %q", row.in, err, row.want)
		}
	}
	// Nobody writes to it, and who waits can be interrupted.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := feed.Open(ctx, feed.Source{Path: pipe}); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

func TestSorting(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "list")
	if err := os.WriteFile(path, []byte("b\n# of today\na\nc"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := feed.Open(t.Context(), feed.Source{Path: path, Sort: true})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got := found(t, f.Path); got != "# of today\na\nb\nc\n" || f.Name != "list" {
		t.Errorf("%q as %q", got, f.Name)
	}
	if _, err := feed.Open(t.Context(), feed.Source{Path: dir, Sort: true}); err == nil {
		t.Error("a folder was sorted")
	}
	if err := os.WriteFile(path, []byte("b\x00\na\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := feed.Open(t.Context(), feed.Source{Path: path, Sort: true}); err == nil {
		t.Error("a program was sorted")
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(gz(f, tarOf(f, plain("a", "x"), plain("b/c", "y"))))
	f.Add(cvd(f, tarOf(f, plain("../a", "x"))))
	f.Add(zipOf(f, 0o644, "a", "../b"))
	f.Add(zst(f, []byte(list)))
	f.Add([]byte("BZh91AY&SY"))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		path := filepath.Join(dir, "x.bin")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if bytes.HasPrefix(data, []byte("\xfd7zXZ")) {
			return // another program's
		}
		out, err := feed.Open(t.Context(), feed.Source{Path: path, Unpack: true, Max: 1 << 16})
		if err == nil {
			err = out.Close()
			if err != nil {
				t.Error(err)
			}
		}
		if entries, _ := os.ReadDir(dir); len(entries) != 1 {
			t.Errorf("it wrote beside its folder: %v", entries)
		}
	})
}
