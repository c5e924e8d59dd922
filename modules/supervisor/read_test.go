package supervisor_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/modules/supervisor"
)

// TestOwnFilesThatCannotBeReadStay has the supervisor's own files withheld by the
// disk, and then written by a newer version: none of them is replaced or removed.
func TestOwnFilesThatCannotBeReadStay(t *testing.T) {
	const (
		events = `[{"code":"state-damaged"},{"code":"state-damaged"}]`
		kept   = `{"for":"agent 2.0.0","mode":420,"data":"dmVyc2lvbjogMQo="}`
		mark   = `{"generation":2,"support":"us"}`
	)
	newer := func(text string) string {
		if text == events {
			return `{"format":2,"min_version":"3.1.0","events":[]}`
		}
		return strings.Replace(text, "{", `{"format":2,"min_version":"3.1.0",`, 1)
	}
	for _, row := range []struct {
		name    string
		is      func(text string) string
		read    func(path string) error
		waiting int
		support string
		stays   bool
	}{
		{"whole: they are used", strings.Clone, nil, 3, "us", false},
		{"the disk does not give them", strings.Clone, func(string) error { return unix.EIO }, 1, "", true},
		{"a newer version wrote them", newer, nil, 1, "", true},
		{"damaged: they are made again", func(string) string { return "{" }, nil, 1, "", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir, run := t.TempDir(), t.TempDir()
			is := map[string]string{
				filepath.Join(dir, "supervisor-events.json"):     row.is(events),
				filepath.Join(dir, "settings-before-trial.json"): row.is(kept),
				filepath.Join(run, "modules-trial.json"):         row.is(mark),
			}
			for path, text := range is {
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			var log strings.Builder
			s := &supervisor.Supervisor{Dir: dir, Runtime: run, Disk: &durable.Disk{Read: row.read}, Output: &log}
			waiting, support := s.ReadsOwn()
			if waiting != row.waiting || support != row.support {
				t.Errorf("%d events wait, the mark says %q", waiting, support)
			}
			for path, text := range is {
				if data, err := os.ReadFile(path); row.stays && string(data) != text {
					t.Errorf("%s was %s and is %q, %v", filepath.Base(path), text, data, err)
				}
			}
			if row.stays && strings.Count(log.String(), "supervisor-events.json") == 0 {
				t.Errorf("it is not said: %s", log.String())
			}
			if _, err := os.Lstat(filepath.Join(dir, "settings-before-trial.json")); !row.stays && err == nil {
				t.Error("what was kept of the settings is not settled")
			}
			if !row.stays {
				return
			}
			// Once the disk gives them, or a person removed what is newer, all is told.
			s.Disk.Read = nil
			want := 4
			if row.read == nil {
				os.Remove(filepath.Join(dir, "supervisor-events.json"))
				want = 2
			}
			if waiting, _ := s.ReadsOwn(); waiting != want {
				t.Errorf("%d events wait then, want %d", waiting, want)
			}
		})
	}
}
