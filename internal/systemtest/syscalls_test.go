//go:build system

package systemtest_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestWhatIsAnnouncedAsSyncedIs watches the system calls of a release and of an
// update: a step that is announced to tests of power cuts and left out on the disk
// would pass all of them. What gets its name by a rename was synced before, and
// the folder is after, at the latest before the next commit.
func TestWhatIsAnnouncedAsSyncedIs(t *testing.T) {
	strace := needsProgram(t, "strace", "strace")
	p := newPublisher(t, released)
	p.release("list", records(1, 1000))
	e := newEndpoint(t, p, p.repo())
	e.run("update")
	rows := []struct {
		name, commit string
		command      *exec.Cmd
		renames      int // at least
	}{
		{"a release", "timestamp.json", p.command("base", p.repo(), "list", p.file("list", records(2, 1000))), 6},
		{"an update", "state.json", e.command("update"), 8},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			log := filepath.Join(folder(t), "strace.log")
			c := row.command
			c.Args = append([]string{strace, "-f", "-y", "-qq", "-s", "4096", "-e", "signal=none",
				"-e", "trace=fsync,fdatasync,syncfs,rename,renameat,renameat2", "-o", log, c.Path}, c.Args[1:]...)
			c.Path = strace
			if out, err := c.CombinedOutput(); err != nil {
				if strings.Contains(string(out), "ptrace") {
					t.Skipf("this kernel, or a container's policy, does not let strace watch: %s", out)
				}
				t.Fatalf("%v\n%s", err, out)
			}
			w := &syncs{t: t, commit: row.commit, synced: map[string]bool{}, named: map[string]string{}}
			w.read(log)
			if w.renames < row.renames || w.commits == 0 {
				t.Errorf("%d renames and %d commits were seen", w.renames, w.commits)
			}
		})
	}
}

// syncs follows what is synced and renamed.
type syncs struct {
	t                *testing.T
	commit           string // the base name of the file whose replacement is the commit
	synced           map[string]bool
	named            map[string]string // folders with a new name that is not synced yet, and that name
	renames, commits int
}

var (
	syncCall   = regexp.MustCompile(`^(?:fsync|fdatasync|syncfs)\(\d+<([^>]*)>\)\s+= 0`)
	renameCall = regexp.MustCompile(`^rename(?:at2?)?\(.*?"([^"]+)".*?"([^"]+)".*\)\s+= 0`)
)

func (w *syncs) read(path string) {
	w.t.Helper()
	f, err := os.Open(path)
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	begun := map[string]string{} // by thread: a call that another one interrupted
	for lines := bufio.NewScanner(f); lines.Scan(); {
		thread, call, _ := strings.Cut(lines.Text(), " ")
		call = strings.TrimSpace(call)
		if head, cut := strings.CutSuffix(call, " <unfinished ...>"); cut {
			begun[thread] = head
			continue
		}
		if _, rest, ok := strings.Cut(call, " resumed>"); ok {
			call = begun[thread] + rest
		}
		if m := syncCall.FindStringSubmatch(call); m != nil {
			w.synced[m[1]] = true
			delete(w.named, m[1])
		} else if m := renameCall.FindStringSubmatch(call); m != nil {
			w.renamed(m[1], m[2])
		}
	}
	for dir, name := range w.named {
		w.t.Errorf("at the end the name %s in %s is not synced", name, dir)
	}
}

func (w *syncs) renamed(old, new string) {
	w.t.Helper()
	w.renames++
	if st, err := os.Lstat(new); (err != nil || st.Mode()&os.ModeSymlink == 0) && !w.synced[old] {
		w.t.Errorf("%s gets its name, and was not synced before", new)
	} else if err == nil && st.IsDir() && !w.within(old) {
		w.t.Errorf("%s gets its name, and nothing in it was synced before", new)
	}
	delete(w.synced, old)
	if filepath.Base(new) == w.commit {
		w.commits++
		for dir, name := range w.named {
			w.t.Errorf("%s is committed before the name %s in %s is synced", new, name, dir)
		}
	}
	w.named[filepath.Dir(new)] = new
}

// within says whether a file in a folder was synced.
func (w *syncs) within(dir string) bool {
	for path := range w.synced {
		if strings.HasPrefix(path, dir+"/") {
			return true
		}
	}
	return false
}
