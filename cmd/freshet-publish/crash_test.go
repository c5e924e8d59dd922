package main_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/freshet/freshet/publish"
)

// TestKilledAtEachStep kills -9 the real program before each of its disk
// steps. What is left must be the repository as it was or as it was to be,
// whole, and the same command again must complete it.
func TestKilledAtEachStep(t *testing.T) {
	if testing.Short() {
		t.Skip("it kills a process some 150 times")
	}
	program := filepath.Join(t.TempDir(), "freshet-publish")
	if out, err := exec.Command("go", "build", "-tags", "crashpoints", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	start := twoVersions(t)
	for _, row := range []struct {
		name string
		args func(dir string) []string
		min  int // steps that it takes at least
		old  func(s *publish.Summary) bool
	}{
		{"base", func(dir string) []string {
			return []string{"base", dir + "/repo", "b", dir + "/3.txt"}
		}, 40, func(s *publish.Summary) bool { return s.Bases[0].Version == 2 }},
		{"the first version of a base", func(dir string) []string {
			return []string{"base", dir + "/repo", "c", dir + "/3.txt"}
		}, 25, func(s *publish.Summary) bool { return len(s.Bases) == 1 }},
		{"sign", func(dir string) []string {
			return []string{"sign", dir + "/repo", "modules"}
		}, 15, func(s *publish.Summary) bool { return s.Roles[2].Version == 1 }},
		{"refresh", func(dir string) []string {
			return []string{"refresh", dir + "/repo"}
		}, 5, func(s *publish.Summary) bool { return s.Roles[5].Version == 3 }},
		{"bundle", func(dir string) []string {
			return []string{"bundle", dir + "/repo", dir + "/out.zip"}
		}, 12, func(s *publish.Summary) bool { return s.Roles[5].Version == 3 }},
		{"prune", func(dir string) []string {
			return []string{"prune", dir + "/repo"}
		}, 4, func(*publish.Summary) bool { return false }},
		{"purge", func(dir string) []string {
			return []string{"purge", dir + "/repo", "b", "1"}
		}, 25, func(s *publish.Summary) bool { return len(s.Bases[0].Deltas) > 0 }},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			steps := 0
			stride := 1
			if os.Getenv("FRESHET_SOAK") == "" {
				stride = 3
			}
			for n := 1; killed(t, program, start, row.args, n, row.old); n += stride {
				steps = n
			}
			if steps+stride-1 < row.min {
				t.Errorf("%d steps: the test does not see them", steps)
			}
			t.Logf("%d steps", steps)
		})
	}
}

// killed runs a command on a repository with two versions, killed before its
// n-th step, and checks what is left. It gives false if there is no such step.
func killed(t *testing.T, program, start string, args func(string) []string, n int, old func(*publish.Summary) bool) bool {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(start)); err != nil {
		t.Fatal(err)
	}
	run := func(at string) error {
		c := exec.Command(program, args(dir)...)
		c.Env = append(os.Environ(), "FRESHET_CRASH_AT="+at)
		out, err := c.CombinedOutput()
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
			return syscall.EINTR
		}
		if err != nil {
			t.Fatalf("step %d: %v\n%s", n, err, out)
		}
		return nil
	}
	if run(fmt.Sprintf("n:%d", n)) == nil {
		return false
	}
	r := &publish.Repository{Dir: dir + "/repo"}
	before := whole(t, r, n)
	wasOld := old(before)
	if err := run(""); err != nil {
		t.Fatalf("step %d: again: %v", n, err)
	}
	after := whole(t, r, n)
	if old(after) {
		t.Fatalf("killed at step %d, the same command again leaves the old state", n)
	}
	if len(after.Bases) == len(before.Bases) && after.Bases[0].Version > 3 {
		t.Fatalf("killed at step %d, begun again: version %d", n, after.Bases[0].Version)
	}
	if !wasOld && args(dir)[0] == "base" && after.Roles[5].Version != before.Roles[5].Version {
		t.Fatalf("killed at step %d after the commit, the same command publishes again", n)
	}
	err := filepath.WalkDir(r.Dir, func(p string, _ os.DirEntry, err error) error {
		if strings.Contains(p, ".tmp-") {
			t.Errorf("killed at step %d, left after the next run: %s", n, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return true
}

func whole(t *testing.T, r *publish.Repository, n int) *publish.Summary {
	t.Helper()
	v, err := r.Verify(context.Background())
	if err != nil || len(v.Wrong) > 0 {
		t.Fatalf("step %d: verify: %v, %+v", n, err, v)
	}
	s, err := r.Show()
	if err != nil {
		t.Fatalf("step %d: %v", n, err)
	}
	return s
}

// twoVersions makes a folder with a repository of two versions, the third to
// come, and two blobs that nothing leads to.
func twoVersions(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	r := &publish.Repository{Dir: dir + "/repo"}
	if _, err := r.Init(t.Context(), t.TempDir()); err != nil { // copies share the keys
		t.Fatal(err)
	}
	var b strings.Builder
	for i := range 500 {
		fmt.Fprintf(&b, "%08x.example\n", uint32(i)*2654435761)
	}
	for n := 1; n <= 3; n++ {
		fmt.Fprintf(&b, "version-%d.example\n", n)
		path := fmt.Sprintf("%s/%d.txt", dir, n)
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		if n == 3 {
			break
		}
		if _, err := r.Publish(t.Context(), publish.Release{Name: "b", Path: path}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 2 {
		if err := os.WriteFile(fmt.Sprintf("%s/repo/blobs/%064d", dir, i), []byte("left over"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
