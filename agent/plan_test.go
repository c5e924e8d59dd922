package agent_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/event"
)

// noon is a Sunday's.
var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// timed is a service in UTC at noon whose update task has run once and is off.
func timed(t *testing.T) (*world, *service) {
	t.Helper()
	w := newWorld(t)
	w.setClock(noon)
	w.publish("a.example")
	s := w.again().settled()
	off := false
	s.change("PATCH", "/v1/tasks/6", api.TaskChange{Enabled: &off})
	return w, s
}

// again is a service in UTC.
func (w *world) again() *service {
	w.t.Helper()
	a := w.core()
	a.Zone = time.UTC
	return w.startOf(a)
}

func (s *service) create(spec api.TaskSpec) api.Task {
	s.w.t.Helper()
	var task api.Task
	if err := s.Do(s.w.t.Context(), "POST", "/v1/tasks", spec, &task); err != nil {
		s.w.t.Fatal(err)
	}
	return task
}

func (s *service) task(id int) api.Task {
	s.w.t.Helper()
	return get[api.Task](s, fmt.Sprintf("/v1/tasks/%d", id))
}

// ran waits until a task has run n times and runs no more.
func (s *service) ran(id int, n int64) api.Task {
	s.w.t.Helper()
	var task api.Task
	s.w.eventually(fmt.Sprintf("task %d has run %d times", id, n), func() bool {
		task = s.task(id)
		return task.Run >= n && !task.Running
	})
	if task.Run != n {
		s.w.t.Fatalf("task %d has run %d times, want %d", id, task.Run, n)
	}
	return task
}

func (w *world) nextIs(task api.Task, want time.Time) {
	w.t.Helper()
	if !task.Next.Equal(want) {
		w.t.Errorf("task %d runs next at %s, want %s", task.ID, task.Next, want)
	}
}

func at(clock string) *api.Timing { return &api.Timing{Kind: api.Daily, At: clock} }

func TestDailyTaskRunsOnceADayWhateverTheClockDoes(t *testing.T) {
	w, s := timed(t)
	id := s.create(api.TaskSpec{Name: "nightly", Type: api.TypeVerify, TaskChange: api.TaskChange{Timing: at("03:00")}}).ID
	night := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	w.nextIs(s.task(id), night)
	w.setClock(night)
	w.nextIs(s.ran(id, 1), night.Add(day))

	w.setClock(night.Add(-10 * time.Second)) // as NTP sets it back
	s.never("it runs again", func() bool { return s.task(id).Run != 1 })
	w.nextIs(s.task(id), night.Add(day))

	w.setClock(night.Add(4*day + time.Hour)) // asleep over several of its times
	w.nextIs(s.ran(id, 2), night.Add(5*day))

	s.stop() // off over several of its times
	w.setClock(night.Add(9*day + time.Hour))
	s = w.again()
	w.nextIs(s.ran(id, 3), night.Add(10*day))

	w.setClock(night.Add(-20 * day)) // a clock that was wrong
	w.eventually("the plan follows the clock", func() bool { return s.task(id).Next.Equal(night.Add(-19 * day)) })
	if n := s.task(id).Run; n != 3 {
		t.Errorf("it ran %d times", n)
	}
}

const day = 24 * time.Hour

func TestMissedRunIsLeftOutWhereThatIsSet(t *testing.T) {
	w, s := timed(t)
	no := false
	id := s.create(api.TaskSpec{Name: "window", Type: api.TypeVerify, TaskChange: api.TaskChange{Timing: at("03:00"), MakeUp: &no}}).ID
	night := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)

	w.setClock(night.Add(2*day + time.Hour)) // asleep
	w.eventually("it is left out", func() bool { return s.task(id).Next.Equal(night.Add(3 * day)) })
	s.stop() // off
	w.setClock(night.Add(5*day + time.Hour))
	s = w.again()
	w.nextIs(s.task(id), night.Add(6*day))
	if n := s.events(event.TaskSkipped); n != 2 {
		t.Errorf("%d events tell of runs that were left out, want 2", n)
	}
	w.setClock(night.Add(6*day + 5*time.Minute)) // a little late is not missed
	s.ran(id, 1)
}

func TestOneRunAtATimeOnSchedule(t *testing.T) {
	w, s := timed(t)
	skip := api.Skip
	waits := s.create(api.TaskSpec{Name: "waits", Type: api.TypeVerify, TaskChange: api.TaskChange{Timing: at("13:00")}}).ID
	skips := s.create(api.TaskSpec{Name: "skips", Type: api.TypeVerify, TaskChange: api.TaskChange{Timing: at("13:00"), Overlap: &skip}}).ID
	w.publish("a.example", "b.example")
	asked := w.hang()
	s.change("POST", "/v1/tasks/6/start", nil)
	<-asked
	w.setClock(noon.Add(time.Hour))
	w.eventually("the one that skips is left out", func() bool { return s.task(skips).Next.Equal(noon.Add(25 * time.Hour)) })
	if task := s.task(waits); task.Run != 0 || !task.Next.Equal(noon.Add(time.Hour)) {
		t.Fatalf("the one that waits: %+v", task)
	}
	w.setClock(noon.Add(2 * time.Hour)) // longer than what counts as missed
	w.answer.Store(nil)
	s.change("POST", "/v1/tasks/6/stop", nil)
	s.ran(waits, 1)
	if n := s.task(skips).Run; n != 0 || s.events(event.TaskSkipped) != 1 {
		t.Errorf("the one that skips has run %d times; %d events", n, s.events(event.TaskSkipped))
	}
}

func TestTimeLimitEndsARun(t *testing.T) {
	w, s := timed(t)
	limit := api.Duration(time.Second)
	id := s.create(api.TaskSpec{Name: "short", Type: api.TypeUpdate, TaskChange: api.TaskChange{Timing: at("13:00"), Limit: &limit}}).ID
	w.publish("a.example", "b.example")
	w.hang()
	w.setClock(noon.Add(time.Hour))
	task := s.ran(id, 1)
	if task.Last.Outcome != api.Failed || !strings.Contains(task.Last.Error, "its time limit of 1s is over") || task.Failures != 1 {
		t.Errorf("%+v, %d failures", task.Last, task.Failures)
	}
	if task.Next.Before(*w.now.Load()) || task.Next.After(w.now.Load().Add(time.Minute)) {
		t.Errorf("it is tried again at %s", task.Next)
	}
	if s.events(event.TaskTimedOut) != 1 {
		t.Error("no event tells it")
	}
	w.answer.Store(nil)
	if res := s.run(id); res.Outcome != api.Updated {
		t.Errorf("the next run: %+v", res)
	}
}

func TestTaskAfterStartAndAfterAnUpdate(t *testing.T) {
	w, s := timed(t)
	delay := api.Duration(5 * time.Minute)
	boot := s.create(api.TaskSpec{Name: "boot", Type: api.TypeVerify, TaskChange: api.TaskChange{Timing: &api.Timing{Kind: api.AtStart, Delay: delay}}}).ID
	after := s.create(api.TaskSpec{Name: "after", Type: api.TypeVerify, TaskChange: api.TaskChange{Timing: &api.Timing{Kind: api.OnBase, Bases: []string{"hosts"}}}}).ID
	other := s.create(api.TaskSpec{Name: "other", Type: api.TypeVerify, TaskChange: api.TaskChange{Timing: &api.Timing{Kind: api.OnBase, Bases: []string{"urls"}}}}).ID
	s.run(api.TaskUpdate) // nothing new
	w.publish("a.example", "b.example")
	s.run(api.TaskUpdate)
	s.ran(after, 1)
	for _, id := range []int{boot, other} {
		if task := s.task(id); task.Run != 0 || !task.Next.IsZero() {
			t.Errorf("task %d is due: %+v", id, task)
		}
	}
	s.stop()
	s = w.again()
	w.nextIs(s.task(boot), noon.Add(5*time.Minute))
	w.setClock(noon.Add(5 * time.Minute))
	if task := s.ran(boot, 1); !task.Next.IsZero() {
		t.Errorf("it runs again at %s", task.Next)
	}
}

func TestTaskHasItsOwnBasesAndOrderOfMirrors(t *testing.T) {
	w, s := timed(t)
	var asked []string
	second := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		r.Header.Del("If-Modified-Since")
		http.FileServer(http.Dir(w.repo.Dir)).ServeHTTP(rw, r)
	}))
	t.Cleanup(second.Close)
	spec := api.TaskSpec{Name: "own", Type: api.TypeUpdate}
	spec.Sources = &[]string{second.URL}
	if err := s.Do(t.Context(), "POST", "/v1/tasks", spec, nil); codeOf(err) != api.BadRequest {
		t.Fatalf("a source that the settings do not have: %v", err)
	}
	w.write("freshet.yaml", fmt.Sprintf("version: 1\nsources:\n  - {url: %s, proxy: none}\n  - {url: %s, proxy: none}\nroot: %s/metadata/1.root.json\n",
		w.server.URL, second.URL, w.repo.Dir))
	w.eventually("the settings are taken", func() bool { return len(s.status().Sources) == 2 })
	spec.Bases = &[]string{"urls"}
	id := s.create(spec).ID
	w.publish("a.example", "b.example")
	if res := s.run(id); len(res.Bases) != 1 || !res.Bases[0].Unknown {
		t.Errorf("a base that the repository does not have: %+v", res)
	}
	if st := s.status(); len(st.Bases) != 1 || st.Bases[0].Version != 1 {
		t.Errorf("a base that the task is not about: %+v", st.Bases)
	}
	s.change("PATCH", fmt.Sprintf("/v1/tasks/%d", id), api.TaskChange{Bases: &[]string{"hosts"}})
	if res := s.run(id); res.Outcome != api.Updated || res.Source != second.URL || len(asked) == 0 {
		t.Errorf("%+v, of the second source were asked %q", res, asked)
	}
	w.settings("")
	w.eventually("the settings are taken", func() bool { return len(s.status().Sources) == 1 })
	if res := s.run(id); res.Outcome != api.Failed || !strings.Contains(res.Error, "none of the task's sources") {
		t.Errorf("without its source: %+v", res)
	}
}

func TestBoundsOfTasksAreTheAgents(t *testing.T) {
	w, s := timed(t)
	long := api.Duration(8 * day)
	rows := []struct {
		name string
		spec api.TaskSpec
		want api.Code
	}{
		{"no name", api.TaskSpec{Type: api.TypeUpdate}, api.BadRequest},
		{"a name that is a number", api.TaskSpec{Name: "12", Type: api.TypeUpdate}, api.BadRequest},
		{"a name that moves the cursor", api.TaskSpec{Name: "a\x1b[2J", Type: api.TypeUpdate}, api.BadRequest},
		{"a name that is a path", api.TaskSpec{Name: "a/b", Type: api.TypeUpdate}, api.BadRequest},
		{"a long name", api.TaskSpec{Name: strings.Repeat("x", 65), Type: api.TypeUpdate}, api.BadRequest},
		{"the name of another", api.TaskSpec{Name: "uPDATE", Type: api.TypeUpdate}, api.TaskExists},
		{"no type", api.TaskSpec{Name: "x"}, api.BadRequest},
		{"a rollback", api.TaskSpec{Name: "x", Type: api.TypeRollback}, api.BadRequest},
		{"a limit of eight days", api.TaskSpec{Name: "x", Type: api.TypeUpdate, TaskChange: api.TaskChange{Limit: &long}}, api.BadRequest},
		{"a random delay of eight days on every day", api.TaskSpec{Name: "x", Type: api.TypeUpdate, TaskChange: api.TaskChange{Timing: at("03:00"), RandomDelay: &long}}, api.BadRequest},
		{"a timing of no kind", api.TaskSpec{Name: "x", Type: api.TypeUpdate, TaskChange: api.TaskChange{Timing: &api.Timing{}}}, api.BadRequest},
		{"a verification with sources", api.TaskSpec{Name: "x", Type: api.TypeVerify, TaskChange: api.TaskChange{Sources: &[]string{w.server.URL}}}, api.BadRequest},
	}
	for _, row := range rows {
		if err := s.Do(t.Context(), "POST", "/v1/tasks", row.spec, nil); codeOf(err) != row.want {
			t.Errorf("%s: %v", row.name, err)
		}
	}
	for n := range 100 {
		s.create(api.TaskSpec{Name: fmt.Sprint("task ", n), Type: api.TypeVerify})
	}
	if err := s.Do(t.Context(), "POST", "/v1/tasks", api.TaskSpec{Name: "one more", Type: api.TypeVerify}, nil); codeOf(err) != api.BadRequest {
		t.Errorf("the 101st task: %v", err)
	}
	if err := s.Do(t.Context(), "DELETE", "/v1/tasks/6", nil, nil); codeOf(err) != api.BadRequest {
		t.Errorf("deleting the update: %v", err)
	}
	s.change("DELETE", "/v1/tasks/199", nil)
	s.stop()
	s = w.again()
	if id := s.create(api.TaskSpec{Name: "new", Type: api.TypeVerify}).ID; id != 200 {
		t.Errorf("the ID of a deleted task is given again: %d", id)
	}
}
