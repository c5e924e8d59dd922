package agent_test

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/event"
)

// TestADamagedFileOfTasksLosesNoTask damages tasks.json, and its copy, in all
// ways in which a disk or a person does.
func TestADamagedFileOfTasksLosesNoTask(t *testing.T) {
	flip := func(old, new string) func(path string) error {
		return func(path string) error {
			data, err := os.ReadFile(path)
			if err == nil && !bytes.Contains(data, []byte(old)) {
				t.Fatalf("no %s in %s", old, data)
			}
			return os.WriteFile(path, bytes.Replace(data, []byte(old), []byte(new), 1), 0o644)
		}
	}
	cut := func(path string) error { return os.Truncate(path, 100) }
	rows := map[string]struct {
		file, copied func(path string) error
		tasks        []string // of users, that are there afterwards
		says         string
	}{
		"a bit flipped that still reads":       {flip(`"3h0m0s"`, `"2h0m0s"`), nil, []string{"mine 3h0m0s"}, "as they were set"},
		"a name flipped":                       {flip(`"mine"`, `"mins"`), nil, []string{"mine 3h0m0s"}, "as they were set"},
		"cut short":                            {cut, nil, []string{"mine 3h0m0s"}, "as they were set"},
		"emptied":                              {func(p string) error { return os.Truncate(p, 0) }, nil, []string{"mine 3h0m0s"}, "as they were set"},
		"removed":                              {os.Remove, nil, []string{"mine 3h0m0s"}, "as they were set"},
		"a folder in its place":                {func(p string) error { os.Remove(p); return os.Mkdir(p, 0o755) }, nil, []string{"mine 3h0m0s"}, "as they were set"},
		"a link to nowhere in its place":       {func(p string) error { os.Remove(p); return os.Symlink("nowhere", p) }, nil, []string{"mine 3h0m0s"}, "as they were set"},
		"the copy too, but it can be read":     {flip(`"3h0m0s"`, `"2h0m0s"`), cut, []string{"mine 2h0m0s"}, "what can be read of it is in force"},
		"both, past reading":                   {cut, cut, nil, "are lost"},
		"a task that this version cannot have": {flip(`"verify"`, `"verifx"`), nil, []string{"mine 3h0m0s"}, "as they were set"},
	}
	w := newWorld(t)
	w.publish("a.example")
	s := w.start().settled()
	three := api.Duration(3 * time.Hour)
	s.change(http.MethodPost, "/v1/tasks", api.TaskSpec{Name: "mine", Type: api.TypeVerify, TaskChange: api.TaskChange{Every: &three}})
	off := false
	s.change(http.MethodPatch, "/v1/tasks/8", api.TaskChange{Enabled: &off})
	s.stop()
	whole := map[string][]byte{}
	for _, name := range []string{"tasks.json", "tasks.set.json"} {
		data, err := os.ReadFile(filepath.Join(w.stateDir(), name))
		if err != nil {
			t.Fatal(err)
		}
		whole[name] = data
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			for file, data := range whole {
				path := filepath.Join(w.stateDir(), file)
				if err := os.RemoveAll(path); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, data, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			file, kept := filepath.Join(w.stateDir(), "tasks.json"), filepath.Join(w.stateDir(), "tasks.json.damaged")
			os.RemoveAll(kept)
			err := row.file(file)
			if err == nil && row.copied != nil {
				err = row.copied(filepath.Join(w.stateDir(), "tasks.set.json"))
			}
			if err != nil {
				t.Fatal(err)
			}
			damaged, _ := os.ReadFile(file)
			s := w.start()
			told := s.events(event.TasksDamaged)
			var own []string
			for _, task := range get[api.Tasks](s, "/v1/tasks").Tasks {
				if task.Own {
					own = append(own, task.Name+" "+time.Duration(task.Every).String())
				}
				if task.ID == api.TaskVerify && task.Enabled && row.tasks != nil {
					t.Error("the daily verification is on again")
				}
			}
			if strings.Join(own, ", ") != strings.Join(row.tasks, ", ") {
				t.Errorf("tasks %q, want %q", own, row.tasks)
			}
			var last event.Event
			for _, e := range get[api.Events](s, "/v1/events").Events {
				if e.Code == event.TasksDamaged {
					last = e
				}
			}
			if !strings.Contains(last.Text, row.says) || !strings.Contains(last.Hint, kept) || last.Time.Before(w.now.Load().Add(-time.Minute)) {
				t.Errorf("it says %q, %q", last.Text, last.Hint)
			}
			if data, err := os.ReadFile(kept); len(damaged) > 0 && (err != nil || !bytes.Equal(data, damaged)) {
				t.Errorf("the damaged file is not kept: %v", err)
			}
			s.stop()
			s = w.start()
			if again := s.events(event.TasksDamaged); again != told {
				t.Error("it tells again, or did not mend it")
			}
			s.stop()
		})
	}
}
