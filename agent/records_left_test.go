package agent_test

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/event"
)

// TestAFileOfTasksThatIsNotToBeTouched has the file of tasks be of a newer
// version, or not be given by the disk: it stays as it is, what its copy says is in
// force, and updates go on.
func TestAFileOfTasksThatIsNotToBeTouched(t *testing.T) {
	newer := func(data []byte) []byte {
		return bytes.Replace(data, []byte(`"format": 1`), []byte(`"format": 2, "min_version": "9.0.0"`), 1)
	}
	rows := []struct {
		name, file, says string
		change           func([]byte) []byte
		read             func(path string) error
	}{
		{"of a newer version", "tasks.json", "freshet 9.0.0 or newer", newer, nil},
		{"whose copy is of a newer version", "tasks.set.json", "freshet 9.0.0 or newer", newer, nil},
		{"that the disk does not give", "tasks.json", "input/output error", nil, func(path string) error {
			if filepath.Base(path) == "tasks.json" {
				return unix.EIO
			}
			return nil
		}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			w.publish("a.example")
			s := w.start().settled()
			three := api.Duration(3 * time.Hour)
			mine := api.TaskSpec{Name: "mine", Type: api.TypeVerify, TaskChange: api.TaskChange{Every: &three}}
			s.change(http.MethodPost, "/v1/tasks", mine)
			s.stop()
			path := filepath.Join(w.stateDir(), row.file)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if row.change != nil {
				if is := row.change(data); bytes.Equal(is, data) {
					t.Fatalf("nothing was changed in %s", data)
				} else {
					data = is
				}
				if err := os.WriteFile(path, data, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			a := w.core()
			a.Disk = &durable.Disk{Read: row.read}
			s = w.startOf(a)
			w.publish("b.example")
			if res := s.run(api.TaskUpdate); res.Outcome == api.Failed { // the schedule, which knows of no run, may have come first
				t.Errorf("an update gave %+v", res)
			}
			tasks := get[api.Tasks](s, "/v1/tasks").Tasks
			if last := tasks[len(tasks)-1]; last.Name != "mine" {
				t.Errorf("the last task is %+v", last)
			}
			mine.Name = "other"
			if err := s.Do(t.Context(), http.MethodPost, "/v1/tasks", mine, nil); err == nil || !strings.Contains(err.Error(), row.says) {
				t.Errorf("another task: %v, want %q", err, row.says)
			}
			if s.events(event.TasksDamaged) != 0 {
				t.Error("it is called damaged")
			}
			s.stop()
			if is, err := os.ReadFile(path); err != nil || !bytes.Equal(is, data) {
				t.Errorf("%s was changed: %v\n%s", row.file, err, is)
			}
		})
	}
}

// TestAnEnrolmentThatIsNotToBeTouched: it waits for the version that wrote it, or
// for the disk.
func TestAnEnrolmentThatIsNotToBeTouched(t *testing.T) {
	rows := []struct {
		name, data string
		read       error
		left       bool
	}{
		{"of a newer version", `{"format":2,"min_version":"9.0.0"}`, nil, true},
		{"that the disk does not give", `{"source":"https://b.example"}`, unix.EIO, true},
		{"that is damaged", `{"source":`, nil, false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			w.publish("a.example")
			w.start().settled().stop()
			path := w.write("state/enroll.json", row.data)
			a := w.core()
			a.Disk = &durable.Disk{Read: func(path string) error {
				if filepath.Base(path) == "enroll.json" {
					return row.read
				}
				return nil
			}}
			s := w.startOf(a)
			w.publish("b.example")
			if res := s.run(api.TaskUpdate); res.Outcome != api.Updated {
				t.Errorf("an update gave %+v", res)
			}
			s.stop()
			if data, err := os.ReadFile(path); row.left != (err == nil && string(data) == row.data) {
				t.Errorf("afterwards it is %q, %v", data, err)
			}
		})
	}
}
