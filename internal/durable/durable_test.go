package durable_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/freshet/freshet/internal/durable"
)

// recorder notes each step, with paths relative to dir, and fails the n-th.
type recorder struct {
	dir   string
	steps []string
	fail  int
}

var errStep = errors.New("no")

func (r *recorder) disk() *durable.Disk {
	return &durable.Disk{Step: func(op, path string) error {
		rel, _ := filepath.Rel(r.dir, path)
		r.steps = append(r.steps, op+" "+rel)
		if len(r.steps) == r.fail {
			return errStep
		}
		return nil
	}}
}

func TestAFileIsSyncedBeforeItsNameAndItsNameBeforeSuccess(t *testing.T) {
	r := &recorder{dir: t.TempDir()}
	if err := r.disk().WriteFile(filepath.Join(r.dir, "f"), []byte("x"), 0o640); err != nil {
		t.Fatal(err)
	}
	want := []string{"open f", "write f", "fsync f", "rename f", "syncdir ."}
	if !slices.Equal(r.steps, want) {
		t.Errorf("steps %v, want %v", r.steps, want)
	}
	st, err := os.Stat(filepath.Join(r.dir, "f"))
	if err != nil || st.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
}

func TestAWriteThatFailsAnywhereLeavesTheOldOrTheNewWholeAndNoLeftover(t *testing.T) {
	for n := 1; n <= 5; n++ {
		t.Run(fmt.Sprintf("step %d", n), func(t *testing.T) {
			r := &recorder{dir: t.TempDir(), fail: n}
			path := filepath.Join(r.dir, "f")
			if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := r.disk().WriteFile(path, []byte("new"), 0o600); !errors.Is(err, errStep) {
				t.Fatalf("got %v", err)
			}
			data, err := os.ReadFile(path)
			if err != nil || string(data) != "old" && string(data) != "new" {
				t.Errorf("found %q, %v", data, err)
			}
			if n < 5 && string(data) != "old" {
				t.Errorf("step %d failed and yet the new content is there", n)
			}
			if entries, _ := os.ReadDir(r.dir); len(entries) != 1 {
				t.Errorf("left over: %v", entries)
			}
		})
	}
}

func TestFoldersThatGainANameAreSynced(t *testing.T) {
	r := &recorder{dir: t.TempDir()}
	d := r.disk()
	if err := d.MkdirAll(filepath.Join(r.dir, "a/b"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := d.WriteFile(filepath.Join(r.dir, "a/b/f"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r.steps = nil
	if err := d.Rename(filepath.Join(r.dir, "a/b/f"), filepath.Join(r.dir, "g")); err != nil {
		t.Fatal(err)
	}
	if want := []string{"rename g", "syncdir .", "syncdir a/b"}; !slices.Equal(r.steps, want) {
		t.Errorf("steps %v, want %v", r.steps, want)
	}
	r.steps = nil
	if err := d.MkdirAll(filepath.Join(r.dir, "a/c/d"), 0o755); err != nil {
		t.Fatal(err)
	}
	if want := []string{"syncdir .", "mkdir a/c", "syncdir a", "mkdir a/c/d", "syncdir a/c"}; !slices.Equal(r.steps, want) {
		t.Errorf("steps %v, want %v", r.steps, want)
	}
}

func TestALinkIsReplacedInOneStep(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "current")
	var d *durable.Disk
	for _, target := range []string{"1", "2"} {
		if err := d.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
		if got, _ := os.Readlink(link); got != target {
			t.Errorf("it leads to %q, want %q", got, target)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left over: %v", entries)
	}
}

func TestTwoFoldersChangePlacesInOneStep(t *testing.T) {
	dir := t.TempDir()
	for _, n := range []string{"a", "b"} {
		os.Mkdir(filepath.Join(dir, n), 0o755)
		os.WriteFile(filepath.Join(dir, n, "name"), []byte(n), 0o644)
	}
	var d *durable.Disk
	if err := d.Exchange(filepath.Join(dir, "a"), filepath.Join(dir, "b")); err != nil {
		t.Fatal(err)
	}
	if data, _ := os.ReadFile(filepath.Join(dir, "a/name")); string(data) != "b" {
		t.Errorf("in a stands %q", data)
	}
}

func TestOfTwoNamesOfOneFileTheOldOneGoes(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	if err := errors.Join(os.WriteFile(a, []byte("x"), 0o644), os.Link(a, b)); err != nil {
		t.Fatal(err)
	}
	var d *durable.Disk
	if err := d.Rename(a, b); err != nil {
		t.Fatal(err)
	}
	if data, _ := os.ReadFile(b); string(data) != "x" {
		t.Errorf("under the new name stands %q", data)
	}
	if _, err := os.Lstat(a); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the old name stays: %v", err)
	}
}

func TestReapRemovesHalfWrittenFilesAlone(t *testing.T) {
	dir := t.TempDir()
	var d *durable.Disk
	f, err := d.Create(filepath.Join(dir, "f"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	f.Write([]byte("half"))
	os.WriteFile(filepath.Join(dir, "kept.tmp"), nil, 0o600)
	if err := d.Reap(dir); err != nil {
		t.Fatal(err)
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != 1 || entries[0].Name() != "kept.tmp" {
		t.Errorf("left: %v", entries)
	}
	if err := d.Reap(filepath.Join(dir, "not-there")); err != nil {
		t.Error(err)
	}
}

func TestReapFileRemovesWhatIsLeftOfThatFileAlone(t *testing.T) {
	dir := t.TempDir()
	var d *durable.Disk
	for _, name := range []string{"mine", "mine-too"} {
		f, err := d.Create(filepath.Join(dir, name), 0o600)
		if err != nil {
			t.Fatal(err)
		}
		f.Write([]byte("half"))
	}
	os.WriteFile(filepath.Join(dir, "mine"), nil, 0o600)
	if err := d.ReapFile(filepath.Join(dir, "mine")); err != nil {
		t.Fatal(err)
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != 2 || entries[0].Name() != "mine" || !strings.HasPrefix(entries[1].Name(), "mine-too.tmp-") {
		t.Errorf("left: %v", entries)
	}
}

func TestATreeOfAnySizeIsSyncedWhole(t *testing.T) {
	for _, n := range []int{3, 200} {
		r := &recorder{dir: t.TempDir()}
		for i := range n {
			os.WriteFile(filepath.Join(r.dir, fmt.Sprint(i)), bytes.Repeat([]byte("x"), 100), 0o644)
		}
		if err := r.disk().SyncTree(r.dir); err != nil {
			t.Fatal(err)
		}
		if n == 3 && len(r.steps) != 4 || n == 200 && !slices.Equal(r.steps, []string{"syncfs ."}) {
			t.Errorf("%d files: steps %v", n, r.steps)
		}
	}
}

// TestMain lets the test run itself as the other process that holds a lock.
func TestMain(m *testing.M) {
	path := os.Getenv("FRESHET_TEST_LOCK")
	if path == "" {
		os.Exit(m.Run())
	}
	if _, err := (*durable.Disk)(nil).Lock(path); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("locked")
	os.Stdin.Read(make([]byte, 1)) // until killed
}

func TestALockIsOneProcessesAndEndsWithIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	other := exec.Command(os.Args[0])
	other.Env = append(os.Environ(), "FRESHET_TEST_LOCK="+path)
	if _, err := other.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 64)
	if n, _ := out.Read(buf); !strings.HasPrefix(string(buf[:n]), "locked") {
		t.Fatalf("the other process says %q", buf[:n])
	}
	var d *durable.Disk
	if _, err := d.Lock(path); !errors.Is(err, durable.ErrLocked) {
		t.Errorf("while the other holds it: %v", err)
	}
	other.Process.Kill()
	other.Wait()
	l, err := d.Lock(path)
	if err != nil {
		t.Fatalf("after its death: %v", err)
	}
	if _, err := d.Lock(path); !errors.Is(err, durable.ErrLocked) {
		t.Errorf("taken twice: %v", err)
	}
	l.Unlock()
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		t.Error("the file went with the lock")
	}
}

func TestAWriteThatFailsAfterItHappenedLeavesTheOldOrTheNewWholeAndNoLeftover(t *testing.T) {
	for _, op := range []string{"open", "write", "fsync", "rename", "syncdir"} {
		t.Run(op, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "f")
			if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
				t.Fatal(err)
			}
			d := &durable.Disk{After: func(o, _ string) error {
				if o == op {
					return errStep
				}
				return nil
			}}
			if err := d.WriteFile(path, []byte("new"), 0o600); !errors.Is(err, errStep) {
				t.Fatalf("got %v", err)
			}
			want := "old"
			if op == "rename" || op == "syncdir" {
				want = "new"
			}
			if data, err := os.ReadFile(path); err != nil || string(data) != want {
				t.Errorf("found %q, %v, want %q", data, err, want)
			}
			if entries, _ := os.ReadDir(dir); len(entries) != 1 {
				t.Errorf("left over: %v", entries)
			}
		})
	}
}
