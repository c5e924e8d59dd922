package crashtest_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/durable/crashtest"
)

// look lists what a folder holds, as "name=content", "name/" and "name->target".
func look(t *testing.T, dir string) string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(dir, p)
		switch {
		case err != nil || rel == ".":
			return err
		case e.IsDir():
			all = append(all, rel+"/")
		case e.Type()&fs.ModeSymlink != 0:
			target, _ := os.Readlink(p)
			all = append(all, rel+"->"+target)
		default:
			data, _ := os.ReadFile(p)
			all = append(all, rel+"="+string(data))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, " ")
}

func cut(t *testing.T, m *crashtest.Model, random *rand.Rand) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "left")
	if err := m.PowerCut(to, random); err != nil {
		t.Fatal(err)
	}
	return look(t, to)
}

func TestAPowerCutLeavesWhatWasSyncedAlone(t *testing.T) {
	rows := map[string]struct {
		do   func(dir string, d *durable.Disk) error
		want string
	}{
		"nothing done": {func(string, *durable.Disk) error { return nil }, "d/ d/old=old"},
		"a file written by durable": {func(dir string, d *durable.Disk) error {
			return d.WriteFile(dir+"/f", []byte("new"), 0o644)
		}, "d/ d/old=old f=new"},
		"a file replaced by durable": {func(dir string, d *durable.Disk) error {
			return d.WriteFile(dir+"/d/old", []byte("new"), 0o644)
		}, "d/ d/old=new"},
		"a file written beside durable": {func(dir string, _ *durable.Disk) error {
			return os.WriteFile(dir+"/f", []byte("new"), 0o644)
		}, "d/ d/old=old"},
		"a name that is synced and content that is not": {func(dir string, d *durable.Disk) error {
			return errors.Join(os.WriteFile(dir+"/f", []byte("new"), 0o644), d.SyncDir(dir))
		}, "d/ d/old=old f="},
		"content that is synced and a name that is not": {func(dir string, d *durable.Disk) error {
			return errors.Join(os.Mkdir(dir+"/e", 0o755), os.WriteFile(dir+"/e/f", []byte("new"), 0o644), d.SyncTree(dir+"/e"))
		}, "d/ d/old=old"},
		"a tree synced with its name": {func(dir string, d *durable.Disk) error {
			return errors.Join(os.Mkdir(dir+"/e", 0o755), os.WriteFile(dir+"/e/f", []byte("new"), 0o644), d.SyncTree(dir+"/e"), d.SyncDir(dir))
		}, "d/ d/old=old e/ e/f=new"},
		"a folder synced whose own name is not": {func(dir string, d *durable.Disk) error {
			return errors.Join(os.MkdirAll(dir+"/e/f", 0o755), d.SyncDir(dir+"/e"))
		}, "d/ d/old=old"},
		"a folder made by durable in one whose own name was not synced": {func(dir string, d *durable.Disk) error {
			return errors.Join(os.Mkdir(dir+"/e", 0o755), d.MkdirAll(dir+"/e/f", 0o755))
		}, "d/ d/old=old e/ e/f/"},
		"a file written over in place": {func(dir string, _ *durable.Disk) error {
			return os.WriteFile(dir+"/d/old", []byte("new"), 0o644)
		}, "d/ d/old=old"},
		"a file removed beside durable, and its inode number given again": {func(dir string, _ *durable.Disk) error {
			return errors.Join(os.Remove(dir+"/d/old"), os.WriteFile(dir+"/d/new", []byte("new"), 0o644))
		}, "d/ d/old=old"},
		"a folder removed by durable": {func(dir string, d *durable.Disk) error {
			return d.RemoveAll(dir + "/d")
		}, ""},
		"a folder renamed by durable": {func(dir string, d *durable.Disk) error {
			return d.Rename(dir+"/d", dir+"/e")
		}, "e/ e/old=old"},
		"a link": {func(dir string, d *durable.Disk) error {
			return d.Symlink("d/old", dir+"/l")
		}, "d/ d/old=old l->d/old"},
		"a hard link whose folder is not synced": {func(dir string, d *durable.Disk) error {
			return d.Link(dir+"/d/old", dir+"/l")
		}, "d/ d/old=old"},
		"many files synced by one call": {func(dir string, d *durable.Disk) error {
			var err error
			for i := range 70 {
				err = errors.Join(err, os.WriteFile(dir+fmt.Sprintf("/d/%02d", i), nil, 0o644))
			}
			if err = errors.Join(err, d.SyncTree(dir+"/d")); err != nil {
				return err
			}
			for i := range 69 {
				err = errors.Join(err, d.RemoveAll(dir+fmt.Sprintf("/d/%02d", i)))
			}
			return err
		}, "d/ d/69= d/old=old"},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			m := start(t)
			if err := row.do(m.Dir, m.Disk(crashtest.Hooks{})); err != nil {
				t.Fatal(err)
			}
			if got := cut(t, m, nil); got != row.want {
				t.Errorf("left is %q, want %q", got, row.want)
			}
			k, err := m.Kill(filepath.Join(t.TempDir(), "killed"))
			if err != nil {
				t.Fatal(err)
			}
			defer k.Close()
			if got, want := look(t, k.Dir), look(t, m.Dir); got != want {
				t.Errorf("killed, left is %q, want %q", got, want)
			}
			if got := cut(t, k, nil); got != row.want {
				t.Errorf("killed and cut, left is %q, want %q", got, row.want)
			}
		})
	}
}

func start(t *testing.T) *crashtest.Model {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "root")
	if err := errors.Join(os.MkdirAll(dir+"/d", 0o755), os.WriteFile(dir+"/d/old", []byte("old"), 0o644)); err != nil {
		t.Fatal(err)
	}
	m, err := crashtest.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

func TestOfWhatWasNotSyncedAnyPartMayBeLeft(t *testing.T) {
	m := start(t)
	d := m.Disk(crashtest.Hooks{After: func(op, path string) error {
		if op == "rename" { // the name is there, its folder not yet synced
			return errStop
		}
		return nil
	}})
	if err := d.WriteFile(m.Dir+"/d/old", []byte("new"), 0o644); !errors.Is(err, errStop) {
		t.Fatal(err)
	}
	os.WriteFile(m.Dir+"/plain", []byte("abc"), 0o644)
	seen := map[string]bool{}
	for seed := range uint64(500) {
		for _, word := range strings.Fields(strings.ReplaceAll(cut(t, m, rand.New(rand.NewPCG(seed, 0))), "\x00", "0")) {
			if !strings.Contains(word, ".tmp-") {
				seen[word] = true
			}
		}
	}
	for _, want := range []string{"d/old=old", "d/old=new", "plain=", "plain=abc", "plain=ab", "plain=a00", "plain=000"} {
		if !seen[want] {
			t.Errorf("never left: %q", want)
		}
		delete(seen, want)
	}
	for word := range seen {
		if !slices.Contains([]string{"d/", "plain=a", "plain=ab0"}, word) {
			t.Errorf("left, though it never was: %q", word)
		}
	}
}

var errStop = errors.New("no")

func TestAStepThatFailedSyncsNothing(t *testing.T) {
	m := start(t)
	d := m.Disk(crashtest.Hooks{Before: func(op, path string) error {
		if op == "syncdir" {
			return errStop
		}
		return nil
	}})
	if err := d.WriteFile(m.Dir+"/f", []byte("new"), 0o644); !errors.Is(err, errStop) {
		t.Fatal(err)
	}
	if got := cut(t, m, nil); got != "d/ d/old=old" {
		t.Errorf("left is %q", got)
	}
}
