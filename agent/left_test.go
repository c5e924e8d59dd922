package agent_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/event"
)

// withheld is a disk that does not give some files of the state, until it does.
type withheld struct{ names atomic.Pointer[[]string] }

func withholding(names ...string) *withheld {
	h := &withheld{}
	h.names.Store(&names)
	return h
}

func (h *withheld) gives() { h.names.Store(&[]string{}) }

func (h *withheld) disk() *durable.Disk {
	return &durable.Disk{Read: func(path string) error {
		if slices.Contains(*h.names.Load(), filepath.Base(path)) {
			return unix.EIO
		}
		return nil
	}}
}

// later has a minute pass, after which files that were left are tried again.
func (w *world) later() { w.setClock(w.now.Load().Add(durable.RetryLeft)) }

// ownTasks are the names and intervals of the tasks that users made.
func (s *service) ownTasks() string {
	var all []string
	for _, task := range get[api.Tasks](s, "/v1/tasks").Tasks {
		if task.Own {
			all = append(all, task.Name+" "+time.Duration(task.Every).String())
		}
	}
	return strings.Join(all, ", ")
}

// TestTasksThatCanBeReadAgainAreInForce: nothing of before, and nothing that
// happened meanwhile, is lost, and no start is needed.
func TestTasksThatCanBeReadAgainAreInForce(t *testing.T) {
	for _, row := range []struct {
		name    string
		files   []string
		between string // tasks while it is withheld
		change  bool   // a person's change takes it up, and not the time
	}{
		{"the file", []string{"tasks.json"}, "mine 3h0m0s", false},
		{"the file, by a change", []string{"tasks.json"}, "mine 3h0m0s", true},
		{"its copy", []string{"tasks.set.json"}, "mine 3h0m0s", false},
		{"both", []string{"tasks.json", "tasks.set.json"}, "", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			w.publish("a.example")
			s := w.start().settled()
			three := api.Duration(3 * time.Hour)
			mine := api.TaskSpec{Name: "mine", Type: api.TypeVerify, TaskChange: api.TaskChange{Every: &three}}
			s.change(http.MethodPost, "/v1/tasks", mine)
			s.run(api.TaskVerify)
			before := get[api.Tasks](s, "/v1/tasks").Tasks
			s.stop()
			disk := withholding(row.files...)
			a := w.core()
			a.Disk = disk.disk()
			s = w.startOf(a)
			if n, m := s.events(event.FileUnread), s.events(event.FileBack); n != 1 || m != 0 {
				t.Errorf("it is told %d times, and %d times that it is back", n, m)
			}
			if got := s.ownTasks(); got != row.between {
				t.Errorf("tasks are %q", got)
			}
			if res := s.run(api.TaskUpdate); res.Outcome == api.Failed {
				t.Errorf("an update gave %+v", res)
			}
			mine.Name = "other"
			if err := s.Do(t.Context(), http.MethodPost, "/v1/tasks", mine, nil); err == nil {
				t.Error("a task is made that cannot be kept")
			}
			disk.gives()
			if row.change {
				s.change(http.MethodPost, "/v1/tasks", mine)
			} else {
				w.later()
			}
			w.eventually("that it is back is told", func() bool { return s.events(event.FileBack) == 1 })
			want := "mine 3h0m0s"
			if row.change {
				want += ", other 3h0m0s"
			}
			check := func(when string) {
				t.Helper()
				if got := s.ownTasks(); got != want {
					t.Errorf("%s tasks are %q, want %q", when, got, want)
				}
				for i, task := range get[api.Tasks](s, "/v1/tasks").Tasks[:len(before)] {
					if task.ID == api.TaskUpdate && (task.Run <= before[i].Run || task.Last == nil || task.Last.Outcome == api.Failed) {
						t.Errorf("%s the last update is %+v, after %+v", when, task, before[i])
					}
					if task.ID == api.TaskVerify && (task.Last == nil || !task.Last.Ended.Equal(before[i].Last.Ended)) {
						t.Errorf("%s the last verification is %+v, before it was %+v", when, task.Last, before[i].Last)
					}
				}
			}
			check("then")
			if s.events(event.TasksDamaged) != 0 {
				t.Error("it is called damaged")
			}
			s.stop()
			s = w.start()
			check("after another start")
			if n := s.events(event.FileUnread) + s.events(event.FileBack); n != 2 {
				t.Errorf("it is told %d times", n)
			}
		})
	}
}

// TestAStateThatCannotBeReadChangesNothing has an agent start on a state that a
// newer version wrote, or that the disk does not give: it protects as before,
// changes nothing, says so, and is in order by itself once it can be read.
func TestAStateThatCannotBeReadChangesNothing(t *testing.T) {
	for _, row := range []struct{ name, says string }{
		{"of a newer version", "freshet 9.0.0 or newer"},
		{"that the disk does not give", "input/output error"},
	} {
		t.Run(row.name, func(t *testing.T) {
			w, to, _ := delivered(t)
			path := filepath.Join(w.stateDir(), "state.json")
			is, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			disk, withheldState := withholding(), is
			if strings.Contains(row.name, "newer") {
				withheldState = []byte(`{"format": 99, "min_version": "9.0.0"}`)
				if err := os.WriteFile(path, withheldState, 0o644); err != nil {
					t.Fatal(err)
				}
			} else {
				disk = withholding("state.json")
			}
			engines := tree(t, to)
			a := w.core()
			a.Disk = disk.disk()
			s := w.startOf(a)
			off := false // no run of the schedule's puts it in order
			s.change(http.MethodPatch, fmt.Sprintf("/v1/tasks/%d", api.TaskUpdate), api.TaskChange{Enabled: &off})
			if st := s.status(); !strings.Contains(st.StateError, row.says) || st.State != "unknown" || len(st.Bases) != 1 {
				t.Errorf("status is %q, %q, bases %+v", st.State, st.StateError, st.Bases)
			}
			if n := s.events(event.StateUnread); n != 1 {
				t.Errorf("it is told %d times", n)
			}
			w.publish("b.example")
			if res := s.run(api.TaskUpdate); res.Outcome != api.Failed || !strings.Contains(res.Error, row.says) {
				t.Errorf("an update gave %+v", res)
			}
			if res := s.run(api.TaskRollback); res.Outcome != api.Failed {
				t.Errorf("a rollback gave %+v", res)
			}
			w.later()
			s.never("it is back", func() bool { return s.events(event.FileBack) > 0 })
			if n := s.events(event.StateUnread) + s.events(event.StateDamaged) + s.events(event.DeliveryTakenBack); n != 1 {
				t.Errorf("%d events about it", n)
			}
			if now, err := os.ReadFile(path); err != nil || string(now) != string(withheldState) {
				t.Errorf("the state is %s, %v", now, err)
			}
			if now := tree(t, to); now != engines {
				t.Errorf("the engine's folder was %s and is %s", engines, now)
			}

			// A file of the engine's that is gone is put back by what a start does.
			if err := os.Remove(filepath.Join(to, "hosts.txt")); err != nil {
				t.Fatal(err)
			}
			disk.gives()
			if err := os.WriteFile(path, is, 0o644); err != nil {
				t.Fatal(err)
			}
			w.later()
			w.eventually("it is back", func() bool { return s.events(event.FileBack) == 1 && s.status().StateError == "" })
			w.eventually("the engine's folder is in order", func() bool { return names(t, to) == "hosts.txt" })
			if res := s.run(api.TaskUpdate); res.Outcome != api.Updated {
				t.Errorf("an update then gave %+v", res)
			}
		})
	}
}

// tree lists what lies in a folder, with its content.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var all []string
	for name := range strings.FieldsSeq(names(t, dir)) {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, name+"="+string(data))
	}
	return strings.Join(all, " ")
}

// TestSmallFilesThatCanBeReadAgainAreUsed: what is read once at a start is read
// again, if the disk did not give it then.
func TestSmallFilesThatCanBeReadAgainAreUsed(t *testing.T) {
	t.Run("an enrolment", func(t *testing.T) {
		w := newWorld(t)
		w.publish("a.example")
		w.start().settled().stop()
		w.write("state/enroll.json", `{"source":`)
		disk := withholding("enroll.json")
		a := w.core()
		a.Disk = disk.disk()
		s := w.startOf(a)
		w.eventually("it is told", func() bool { return s.events(event.FileUnread) == 1 })
		disk.gives()
		w.later()
		w.eventually("it is read again", func() bool {
			_, err := os.Lstat(filepath.Join(w.stateDir(), "enroll.json"))
			return s.events(event.FileBack) == 1 && err != nil // it is damaged, and dropped
		})
	})
	t.Run("settings accepted before, where the file is wrong", func(t *testing.T) {
		w, to, _ := delivered(t)
		w.write("freshet.yaml", "version: 1\nbases: 7\n")
		disk := withholding("settings.yaml", "settings-accepted.json")
		a := w.closed()
		a.Disk = disk.disk()
		if err := a.Open(); err != nil {
			t.Fatal(err)
		}
		s := w.startOf(a)
		if st := s.status(); st.Refused == "" || len(st.Sources) != 0 || names(t, to) != "hosts.txt" {
			t.Errorf("status %+v, delivered %q", st, names(t, to))
		}
		disk.gives()
		w.later()
		w.eventually("they are in force", func() bool { return len(s.status().Sources) == 1 })
		if names(t, to) != "hosts.txt" || s.status().Refused == "" {
			t.Errorf("delivered %q", names(t, to))
		}
	})
}

// TestUnderAHistoryThatCannotBeReadNothingIsTakenAway: whether an operator wrote
// the settings in force is not known then.
func TestUnderAHistoryThatCannotBeReadNothingIsTakenAway(t *testing.T) {
	a := newAfterTrial(t)
	delivering := a.read()
	without := strings.Split(delivering, "bases:")[0] + "bases: [{name: other}]\n"
	a.accepts(without) // before the trial
	a.accepts(delivering + "newer: true\n")
	a.ends(without, false)
	a.start().settled().stop() // without is back in the file, and keeps all
	disk := withholding("settings-accepted.json")
	core := a.closed()
	core.Disk = disk.disk()
	if err := core.Open(); err != nil {
		t.Fatal(err)
	}
	s := a.startOf(core)
	s.run(api.TaskUpdate)
	disk.gives()
	a.later()
	a.eventually("it is back", func() bool { return s.events(event.FileBack) == 1 })
	s.run(api.TaskUpdate)
	if names(t, a.to) != "hosts.txt" || s.events(event.DeliveryTakenBack) != 0 {
		t.Errorf("the engine's folder has %q", names(t, a.to))
	}
}
