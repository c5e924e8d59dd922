package agent_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/event"
)

func TestFirstUpdateRunsByItself(t *testing.T) {
	w := newWorld(t)
	w.publish("a.example", "b.example")
	s := w.start().settled()
	st := s.status()
	if len(st.Bases) != 1 || st.Bases[0].Version != 1 || st.Bases[0].Records != 2 {
		t.Fatalf("bases %+v", st.Bases)
	}
	if st.Update.Last.Outcome != api.Updated || st.Update.LastBytes == nil || st.Update.Next.Before(*w.now.Load()) {
		t.Fatalf("task %+v", st.Update)
	}
	s.stop()
	s = w.start()
	if again := s.update(); again.Run != st.Update.Run || !again.Next.Equal(st.Update.Next) {
		t.Fatalf("a restart changed the plan: %+v, before %+v", again, st.Update)
	}
}

func TestMissedRunIsMadeUpForAfterStart(t *testing.T) {
	w := newWorld(t)
	w.settings("update: {every: 1h, random_delay: 0s}\n")
	w.publish("a.example")
	w.start().settled().stop()
	w.setClock(w.now.Load().Add(90 * time.Minute))
	s := w.start()
	w.eventually("the missed update runs", func() bool { u := s.update(); return u.Run == 2 && !u.Running })
}

func TestUpdateRunsWhenItIsDue(t *testing.T) {
	w := newWorld(t)
	w.settings("update: {every: 1h, random_delay: 0s}\n")
	w.publish("a.example")
	s := w.start().settled()
	w.setClock(w.now.Load().Add(time.Hour - time.Second))
	s.never("it runs early", func() bool { return s.update().Run != 1 })
	w.setClock(w.now.Load().Add(time.Second))
	w.eventually("it runs", func() bool { return s.update().Run == 2 })
}

func TestClockSetFarBackDoesNotStopUpdates(t *testing.T) {
	w := newWorld(t)
	w.settings("update: {every: 1h, random_delay: 0s}\n")
	w.publish("a.example")
	s := w.start().settled()
	w.setClock(w.now.Load().Add(-1000 * time.Hour))
	w.eventually("the plan follows the clock", func() bool {
		return !s.update().Next.After(w.now.Load().Add(time.Hour))
	})
}

// hang has the server hold every request back until the test or the request
// ends.
func (w *world) hang() (asked <-chan struct{}) {
	ch := make(chan struct{}, 100)
	f := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		ch <- struct{}{}
		<-r.Context().Done()
	})
	w.answer.Store(&f)
	return ch
}

func TestOneRunAtATime(t *testing.T) {
	w := newWorld(t)
	w.publish("a.example")
	s := w.start().settled()
	w.publish("a.example", "b.example")
	asked := w.hang()

	var first, second api.Started
	for _, out := range []*api.Started{&first, &second} {
		if err := s.Do(t.Context(), "POST", "/v1/tasks/6/start", nil, out); err != nil {
			t.Fatal(err)
		}
	}
	if first.Joined || !second.Joined || first.Run != second.Run {
		t.Fatalf("first %+v, second %+v", first, second)
	}
	for _, path := range []string{"/v1/tasks/7/start", "/v1/bases/hosts/rollback", "/v1/bases/verify"} {
		if err := s.Do(t.Context(), "POST", path, nil, nil); codeOf(err) != api.Busy {
			t.Errorf("%s: %v, want busy", path, err)
		}
	}
	<-asked
	s.change("POST", "/v1/tasks/6/stop", nil)
	if res := s.result(api.TaskUpdate); res.Outcome != api.Stopped {
		t.Fatalf("outcome %q", res.Outcome)
	}
	if err := s.Do(t.Context(), "POST", "/v1/tasks/6/stop", nil, nil); codeOf(err) != api.NotRunning {
		t.Fatalf("stopping what does not run: %v", err)
	}
	if st := s.status(); st.Bases[0].Version != 1 || st.Update.Failures != 0 {
		t.Fatalf("after a stop: %+v", st)
	}
	w.answer.Store(nil)
	if res := s.run(api.TaskUpdate); res.Outcome != api.Updated {
		t.Fatalf("the next run: %q (%s)", res.Outcome, res.Error)
	}
}

func TestStoppingTheAgentEndsARun(t *testing.T) {
	w := newWorld(t)
	w.publish("a.example")
	asked := w.hang()
	s := w.start()
	<-asked
	s.stop()
	w.answer.Store(nil)
	s = w.start()
	if last := s.update().Last; last == nil || last.Outcome != api.Stopped {
		t.Fatalf("last run %+v, want stopped", last)
	}
	if res := s.run(api.TaskUpdate); res.Outcome != api.Updated {
		t.Fatalf("the next run: %q (%s)", res.Outcome, res.Error)
	}
}

func TestFailedUpdateIsTriedAgainSooner(t *testing.T) {
	w := newWorld(t)
	w.publish("a.example")
	s := w.start().settled()
	now := *w.now.Load()
	refuse := func(retryAfter string) {
		f := http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			if retryAfter != "" {
				rw.Header().Set("Retry-After", retryAfter)
			}
			rw.WriteHeader(http.StatusServiceUnavailable)
		})
		w.answer.Store(&f)
	}
	rows := []struct {
		name        string
		retryAfter  string
		failures    int
		least, most time.Duration
	}{
		{"the first failure waits up to a minute", "", 1, 30 * time.Second, time.Minute},
		{"the second waits twice as long", "", 2, time.Minute, 2 * time.Minute},
		{"what the source asks for is honoured", "1800", 3, 30 * time.Minute, 30 * time.Minute},
	}
	for _, row := range rows {
		refuse(row.retryAfter)
		if res := s.run(api.TaskUpdate); res.Outcome != api.Failed || res.Error == "" {
			t.Fatalf("%s: %+v", row.name, res)
		}
		u := s.update()
		if wait := u.Next.Sub(now); u.Failures != row.failures || wait < row.least || wait > row.most {
			t.Errorf("%s: %d failures, waits %s", row.name, u.Failures, wait)
		}
	}
	if st := s.status(); st.Bases[0].Version != 1 || st.State != "up to date" {
		t.Errorf("the installed base is not in use any more: %+v", st)
	}
	w.answer.Store(nil)
	s.run(api.TaskUpdate)
	if u := s.update(); u.Failures != 0 || u.Next.Sub(now) < time.Hour {
		t.Errorf("after success: %+v", u)
	}
}

func TestTaskScheduleSurvivesRestart(t *testing.T) {
	w := newWorld(t)
	w.publish("a.example")
	s := w.start().settled()
	every, none, off := api.Duration(30*time.Minute), api.Duration(0), false
	s.change("PATCH", "/v1/tasks/6", api.TaskChange{Every: &every, RandomDelay: &none, Enabled: &off})
	s.stop()
	s = w.start()
	if u := s.update(); u.Every != every || u.RandomDelay != 0 || u.Enabled || !u.Next.IsZero() {
		t.Fatalf("after a restart: %+v", u)
	}
	s.change("PATCH", "/v1/tasks/6", api.TaskChange{Default: true})
	if u := s.update(); time.Duration(u.Every) != time.Hour || !u.Enabled || u.Next.IsZero() {
		t.Fatalf("back to the settings: %+v", u)
	}
	for _, bad := range []api.Duration{0, api.Duration(time.Second), api.Duration(31 * 24 * time.Hour)} {
		err := s.Do(t.Context(), "PATCH", "/v1/tasks/6", api.TaskChange{Every: &bad}, nil)
		if codeOf(err) != api.BadRequest {
			t.Errorf("every %s: %v", bad, err)
		}
	}
	if err := s.Do(t.Context(), "PATCH", "/v1/tasks/7", api.TaskChange{Every: &every}, nil); codeOf(err) != api.BadRequest {
		t.Errorf("a schedule for the rollback: %v", err)
	}
}

func TestDamagedTaskFileIsNoReasonToStop(t *testing.T) {
	w := newWorld(t)
	w.publish("a.example")
	for _, content := range []string{"", "{", `{"format":99}`, `{"format":1,"tasks":{"6":{"every":"x"}}}`, strings.Repeat("x", 2<<20)} {
		if err := os.MkdirAll(w.stateDir(), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(w.stateDir(), "tasks.json"), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		w.start().settled().stop()
	}
}

func TestRollbackAndRelease(t *testing.T) {
	w := newWorld(t)
	w.publish("a.example")
	s := w.start().settled()
	if err := s.Do(t.Context(), "POST", "/v1/bases/hosts/rollback", nil, nil); codeOf(err) != api.NothingBefore {
		t.Fatalf("rolling the only version back: %v", err)
	}
	w.publish("a.example", "b.example")
	s.run(api.TaskUpdate)

	version := func(want int64, held int) {
		t.Helper()
		st := s.status()
		if st.Bases[0].Version != want || len(st.Held) != held {
			t.Fatalf("version %d, held %+v", st.Bases[0].Version, st.Held)
		}
	}
	version(2, 0)
	w.hang() // a rollback needs no network
	if res := s.run(api.TaskRollback); res.Outcome != api.RolledBack {
		t.Fatalf("rollback: %+v", res)
	}
	version(1, 1)
	w.answer.Store(nil)
	if res := s.run(api.TaskUpdate); res.Outcome != api.NothingNew {
		t.Fatalf("what was left is taken again: %+v", res)
	}
	version(1, 1)
	s.change("POST", "/v1/bases/hosts/release", nil)
	if err := s.Do(t.Context(), "POST", "/v1/bases/hosts/release", nil, nil); codeOf(err) != api.NothingHeld {
		t.Fatalf("releasing twice: %v", err)
	}
	s.run(api.TaskUpdate)
	version(2, 0)
	for _, verb := range []string{"rollback", "release"} {
		err := s.Do(t.Context(), "POST", "/v1/bases/none/"+verb, nil, nil)
		if c := codeOf(err); c != api.NoSuchBase && c != api.NothingHeld {
			t.Errorf("%s of a base that is not there: %v", verb, err)
		}
	}
	if s.events(event.BaseRolledBack) != 1 || s.events(event.BaseReleased) != 1 {
		t.Error("rollback and release are not in the log")
	}
}

func TestVerifyFindsDamage(t *testing.T) {
	w := newWorld(t)
	w.publish("a.example")
	s := w.start().settled()
	verify := func(names ...string) (out api.VerifiedAll, err error) {
		err = s.Do(t.Context(), "POST", "/v1/bases/verify", api.Verify{Names: names}, &out)
		return out, err
	}
	if out, err := verify(); err != nil || len(out.Bases) != 1 || out.Bases[0].Error != "" {
		t.Fatalf("a whole base: %+v, %v", out, err)
	}
	file := filepath.Join(s.status().Bases[0].Path, "hosts.txt")
	if err := os.WriteFile(file, []byte("b.example\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := verify("hosts"); err != nil || out.Bases[0].Error == "" {
		t.Fatalf("a damaged base: %+v, %v", out, err)
	}
	if _, err := verify("none"); codeOf(err) != api.NoSuchBase {
		t.Fatalf("a base that is not there: %v", err)
	}
	if s.events(event.BaseDamaged) != 1 {
		t.Error("the damage is not in the log")
	}
}

func TestDamageIsMendedDaily(t *testing.T) {
	w := newWorld(t)
	w.publish("a.example")
	s := w.start().settled()
	off := false
	s.change("PATCH", "/v1/tasks/6", api.TaskChange{Enabled: &off})
	file := filepath.Join(s.status().Bases[0].Path, "hosts.txt")
	if err := os.WriteFile(file, []byte("b.example\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	task := func() api.Task { return get[api.Task](s, "/v1/tasks/8") }
	if next := task().Next.Sub(*w.now.Load()); next < 24*time.Hour || next > 25*time.Hour {
		t.Fatalf("the next verification is in %s", next)
	}
	w.setClock(w.now.Load().Add(25 * time.Hour))
	w.eventually("the base is repaired", func() bool { return task().Last != nil })
	if data, err := os.ReadFile(file); string(data) != "a.example\n" || err != nil || task().Last.Outcome != api.Repaired {
		t.Fatalf("%q, %v, %+v", data, err, task().Last)
	}
	if s.events(event.BaseDamaged) != 1 || s.events(event.BaseRepaired) != 1 {
		t.Error("damage and repair are not in the log")
	}
}

func TestVerificationGivesWay(t *testing.T) {
	w := newWorld(t)
	w.publish("a.example")
	s := w.start().settled()
	file := filepath.Join(s.status().Bases[0].Path, "hosts.txt")
	if err := os.WriteFile(file, []byte("b.example\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	asked := w.hang()
	s.change("POST", "/v1/tasks/8/start", nil)
	<-asked // the repair waits for the mirror
	s.change("POST", "/v1/tasks/6/start", nil)
	if v := get[api.Task](s, "/v1/tasks/8"); v.Running || v.Last.Outcome != api.Stopped {
		t.Fatalf("the verification: %+v", v)
	}
	if !s.update().Running {
		t.Fatal("the update does not run")
	}
	s.change("POST", "/v1/tasks/6/stop", nil)
	s.result(api.TaskUpdate)
}

// TestAnUpdateTouchesNoFileThatTheAgentIsWriting has a write of the agent under
// way while an update clears what broken runs left.
func TestAnUpdateTouchesNoFileThatTheAgentIsWriting(t *testing.T) {
	w := newWorld(t)
	w.publish("a.example")
	w.start().settled().stop()
	half := filepath.Join("state", "tasks.set.json.tmp-HALFWRITTEN")
	path := w.write(half, "{")
	s := w.start().settled()
	if _, err := os.Stat(path); err == nil {
		t.Error("what a killed agent left half written is still there")
	}
	w.write(half, "{")
	w.publish("a.example", "b.example")
	if res := s.run(api.TaskUpdate); res.Outcome != api.Updated {
		t.Fatalf("%+v", res)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error("the update removed a file that was being written")
	}
}
