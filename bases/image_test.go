package bases_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/freshet/freshet/bases"
)

func write(t *testing.T, dir string, files map[string]string) string {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func image(t *testing.T, path string) (*bases.Reader, []byte) {
	t.Helper()
	r, err := bases.NewImage(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	data, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
	if err != nil {
		t.Fatal(err)
	}
	return r, data
}

func manifestOf(r *bases.Reader, data []byte, records int64) *bases.Manifest {
	return &bases.Manifest{Image: bases.Image{Kind: r.Kind(), File: r.File(), Size: int64(len(data)), SHA256: sha256.Sum256(data)}, Records: records}
}

// build writes data in pieces of n bytes.
func build(dir string, m *bases.Manifest, data []byte, n int, old *bases.Reader, oldDir string) (bases.Count, error) {
	b := bases.NewBuilder(nil, dir, m, old, oldDir)
	for len(data) > 0 {
		k := min(n, len(data))
		if _, err := b.Write(data[:k]); err != nil {
			b.Abort()
			return bases.Count{}, err
		}
		data = data[k:]
	}
	return b.Finish()
}

func TestATreeComesBackAsItWasInPiecesOfAnySize(t *testing.T) {
	src := write(t, t.TempDir(), map[string]string{
		"a/rule.yml": "one\ntwo\n", "a-b": "x", "a/empty": "", "z/deep/er/list.txt": "# note\n\nr1\r\nr2", "z/z-empty": "",
	})
	if err := os.Chmod(filepath.Join(src, "a-b"), 0o755); err != nil {
		t.Fatal(err)
	}
	r, data := image(t, src)
	for _, n := range []int{1, 2, 7, 64, 1 << 20} {
		t.Run(fmt.Sprintf("%d bytes at a time", n), func(t *testing.T) {
			dst := t.TempDir()
			count, err := build(dst, manifestOf(r, data, 5), data, n, nil, "")
			if err != nil {
				t.Fatal(err)
			}
			if count.Records != 5 {
				t.Errorf("%d records, want 5", count.Records)
			}
			if _, again := image(t, dst); !bytes.Equal(again, data) {
				t.Errorf("the image of what was written differs:\n%q\n%q", again, data)
			}
			if st, _ := os.Stat(filepath.Join(dst, "a-b")); st.Mode().Perm() != 0o755 {
				t.Errorf("a-b has mode %o", st.Mode().Perm())
			}
		})
	}
}

func TestTheImageOfATreeIsAsDocumented(t *testing.T) {
	src := write(t, t.TempDir(), map[string]string{"b": "22", "a/c": "1"})
	_, data := image(t, src)
	if want := "freshet-tree 1\n- 1 a/c\n- 2 b\n\n122"; string(data) != want {
		t.Errorf("got %q, want %q", data, want)
	}
}

func TestUnchangedFilesOfATreeAreLinksAndChangedOnesAreNot(t *testing.T) {
	old := write(t, t.TempDir(), map[string]string{"same": strings.Repeat("s", 5000), "end": strings.Repeat("e", 5000) + "1", "gone": "g"})
	oldReader, _ := image(t, old)
	src := write(t, t.TempDir(), map[string]string{"same": strings.Repeat("s", 5000), "end": strings.Repeat("e", 5000) + "2", "new": "n"})
	r, data := image(t, src)
	// Beside the old one: links do not cross file systems.
	dst := filepath.Join(filepath.Dir(old), "new-version")
	if err := os.Mkdir(dst, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := build(dst, manifestOf(r, data, 3), data, 100, oldReader, old); err != nil {
		t.Fatal(err)
	}
	inode := func(dir, name string) uint64 {
		st, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return st.Sys().(*syscall.Stat_t).Ino
	}
	if inode(old, "same") != inode(dst, "same") {
		t.Error("the unchanged file was written again")
	}
	if inode(old, "end") == inode(dst, "end") {
		t.Error("the changed file is a link to the old one")
	}
	if _, again := image(t, dst); !bytes.Equal(again, data) {
		t.Error("the image of what was written differs")
	}
}

func TestHostileImagesAreRefused(t *testing.T) {
	rows := []struct{ name, image string }{
		{"a path that climbs out", "freshet-tree 1\n- 1 ../x\n\n1"},
		{"a path that climbs out further in", "freshet-tree 1\n- 1 a/../../x\n\n1"},
		{"an absolute path", "freshet-tree 1\n- 1 /etc/x\n\n1"},
		{"an empty part", "freshet-tree 1\n- 1 a//x\n\n1"},
		{"the folder itself", "freshet-tree 1\n- 1 .\n\n1"},
		{"a duplicate", "freshet-tree 1\n- 1 a\n- 1 a\n\n11"},
		{"files out of order", "freshet-tree 1\n- 1 b\n- 1 a\n\n11"},
		{"names that differ by case", "freshet-tree 1\n- 1 A\n- 1 a\n\n11"},
		{"folders that differ by case", "freshet-tree 1\n- 1 A/x\n- 1 a/y\n\n11"},
		{"a name in Unicode form D", "freshet-tree 1\n- 1 e\u0301\n\n1"},
		{"a file that is a folder too", "freshet-tree 1\n- 1 a\n- 1 a/b\n\n11"},
		{"a link", "freshet-tree 1\nl 1 a\n\n1"},
		{"a control character", "freshet-tree 1\n- 1 a\x01\n\n1"},
		{"bytes that are no UTF-8", "freshet-tree 1\n- 1 a\xff\n\n1"},
		{"a negative size", "freshet-tree 1\n- -1 a\n\n1"},
		{"a size with a plus", "freshet-tree 1\n- +1 a\n\n1"},
		{"a size beyond the image", "freshet-tree 1\n- 99 a\n\n1"},
		{"sizes that overflow together", "freshet-tree 1\n- 9223372036854775807 a\n- 9223372036854775807 b\n\n1"},
		{"more bytes than the files have", "freshet-tree 1\n- 1 a\n\n12"},
		{"no files", "freshet-tree 1\n\n"},
		{"an index without end", "freshet-tree 1\n- 1 a\n"},
		{"another format", "freshet-tree 2\n- 1 a\n\n1"},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			parent := t.TempDir()
			dst := filepath.Join(parent, "version")
			if err := os.Mkdir(dst, 0o755); err != nil {
				t.Fatal(err)
			}
			m := &bases.Manifest{Image: bases.Image{Kind: bases.KindTree, Size: int64(len(r.image))}}
			if _, err := build(dst, m, []byte(r.image), 5, nil, ""); err == nil {
				t.Error("it was taken")
			}
			if entries, _ := os.ReadDir(parent); len(entries) != 1 {
				t.Errorf("something was written outside: %v", entries)
			}
		})
	}
}

func TestAFolderThatIsNoTreeOfPlainFilesIsRefused(t *testing.T) {
	rows := map[string]func(dir string) error{
		"a symbolic link": func(dir string) error { return os.Symlink("/etc/passwd", filepath.Join(dir, "l")) },
		"a named pipe":    func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, "p"), 0o644) },
		"a line break":    func(dir string) error { return os.WriteFile(filepath.Join(dir, "a\nb"), nil, 0o644) },
	}
	for name, spoil := range rows {
		t.Run(name, func(t *testing.T) {
			dir := write(t, t.TempDir(), map[string]string{"ok": "1"})
			if err := spoil(dir); err != nil {
				t.Fatal(err)
			}
			if r, err := bases.NewImage(dir); err == nil {
				r.Close()
				t.Error("it was taken")
			}
		})
	}
}

func TestRecordsAreCountedAlikeInPiecesOfAnySize(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	rows := []struct {
		name, text string
		want       int64
	}{
		{"lines", "a\nb\nc\n", 3},
		{"a last line without LF", "a\nb", 2},
		{"comments and empty lines do not count", "# c\n\n\r\na\n#\n", 1},
		{"a line longer than any sample", long + "\n#" + long + "\na\n", 2},
		{"a binary file is one record", "a\nb\n\x00c\nd\n", 1},
		{"a NUL far behind makes no binary", strings.Repeat("a\n", 5000) + "\x00\n", 5001},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			src := write(t, t.TempDir(), map[string]string{"f": r.text})
			rd, data := image(t, filepath.Join(src, "f"))
			for _, n := range []int{1, 3, 4096, 1 << 20} {
				count, err := build(t.TempDir(), manifestOf(rd, data, r.want), data, n, nil, "")
				if err != nil {
					t.Fatal(err)
				}
				if count.Records != r.want {
					t.Errorf("in pieces of %d: %d records, want %d", n, count.Records, r.want)
				}
			}
			if c, err := rd.Count(); err != nil || c.Records != r.want {
				t.Errorf("read back: %d records, %v", c.Records, err)
			}
		})
	}
}

func TestContentChecksSayWhatIsWrong(t *testing.T) {
	src := write(t, t.TempDir(), map[string]string{"f": "eicar\nevil.example\ngood.example\n"})
	rd, data := image(t, filepath.Join(src, "f"))
	rows := []struct {
		name    string
		records int64
		checks  bases.Checks
		want    string // part of the error; "" is no error
	}{
		{"what is signed passes", 3, bases.Checks{MinRecords: 3, MustHave: []string{"eicar"}, MustLack: []string{"google.com"}}, ""},
		{"another number of records", 6, bases.Checks{}, "3 records, the manifest says 6"},
		{"below the floor", 3, bases.Checks{MinRecords: 4}, "the floor is 4"},
		{"a record that must be there", 3, bases.Checks{MustHave: []string{"worse.example"}}, "lacks"},
		{"a record that must not be there", 3, bases.Checks{MustLack: []string{"good.example"}}, "must not be there"},
		{"part of a record is no record", 3, bases.Checks{MustHave: []string{"evil"}}, "lacks"},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			m := manifestOf(rd, data, r.records)
			m.Checks = r.checks
			count, err := build(t.TempDir(), m, data, 10, nil, "")
			if err != nil {
				t.Fatal(err)
			}
			err = m.Verify(count)
			if (err == nil) != (r.want == "") || err != nil && !strings.Contains(err.Error(), r.want) {
				t.Errorf("got %v, want %q", err, r.want)
			}
		})
	}
}

func FuzzBuilder(f *testing.F) {
	f.Add([]byte("freshet-tree 1\n- 1 a/c\n- 2 b\n\n122"), 3)
	f.Add([]byte("freshet-tree 1\n- 0 a\nx 1 b\n\n1"), 1)
	f.Add([]byte("freshet-tree 1\n- 1 ../x\n\n1"), 100)
	f.Fuzz(func(t *testing.T, data []byte, n int) {
		if len(data) == 0 || n < 1 {
			return
		}
		parent := t.TempDir()
		dst := filepath.Join(parent, "v")
		os.Mkdir(dst, 0o755)
		m := &bases.Manifest{Image: bases.Image{Kind: bases.KindTree, Size: int64(len(data))}}
		_, err := build(dst, m, data, n, nil, "")
		if entries, _ := os.ReadDir(parent); len(entries) != 1 {
			t.Fatalf("something was written outside: %v", entries)
		}
		if err != nil {
			return
		}
		if _, again := image(t, dst); !bytes.Equal(again, data) {
			t.Fatalf("%q came back as %q", data, again)
		}
	})
}
