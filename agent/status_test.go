package agent_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/api"
)

func TestWantedBaseThatIsNotInstalledIsSaid(t *testing.T) {
	w := newWorld(t)
	w.publish("a.example")
	w.settings("bases: [{name: hosts}, {name: hots}]\n")
	s := w.start().settled()
	st := s.status()
	if st.State != "up to date" || len(st.Bases) != 1 || len(st.Missing) != 1 {
		t.Fatalf("status %+v", st)
	}
	m := st.Missing[0]
	if m.Name != "hots" || !strings.Contains(m.Error, "has no base") || !strings.Contains(st.Why, "not installed: hots (") {
		t.Errorf("missing %+v, why %q", m, st.Why)
	}
	w.settings("bases: [{name: hosts}]\n")
	w.eventually("nothing is missing", func() bool { st := s.status(); return len(st.Missing) == 0 && st.Why == "" })
}

func TestFirstDownloadThatFailsIsSaid(t *testing.T) {
	w := newWorld(t)
	w.publish("a.example")
	w.settings("bases: [{name: hosts}]\n")
	down := http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusInternalServerError) })
	w.answer.Store(&down)
	st := w.start().settled().status()
	if st.State != "without databases" || len(st.Missing) != 1 || !strings.Contains(st.Missing[0].Error, "500") {
		t.Fatalf("state %q, missing %+v", st.State, st.Missing)
	}
}

// TestBaseAddedWhileNoAgentRan looks at when the first run after a start is
// due; the clock stands still.
func TestBaseAddedWhileNoAgentRan(t *testing.T) {
	w := newWorld(t)
	w.publish("a.example")
	const never = "update: {every: 1h, random_delay: 0s}\n"
	w.settings(never + "bases: [{name: hosts}]\n")
	w.start().settled().stop()

	w.settings(never + "bases: [{name: hosts}, {name: urls}]\n")
	s := w.start()
	w.eventually("the new base is asked for at once", func() bool {
		u := s.update()
		return u.Run == 2 && !u.Running && len(s.status().Missing) == 1 && s.status().Missing[0].Error != ""
	})
	s.stop()

	s = w.start()
	if u := s.update(); u.Run != 2 || !u.Next.After(*w.now.Load()) {
		t.Errorf("a base that the last run did not get is asked for again at each start: %+v", u)
	}
}

func TestDeliveryThatFailsIsSaidUntilItSucceeds(t *testing.T) {
	w := newWorld(t)
	w.publish("a.example")
	to := filepath.Join(w.dir, "engine")
	w.settings("bases: [{name: hosts, deliver: {to: " + to + "}}]\n")
	s := w.start().settled()
	st := s.status()
	if len(st.Bases) != 1 || len(st.Engines) != 1 || st.Engines[0].Base != "hosts" || st.Engines[0].Step != "deliver" || st.Engines[0].Error == "" {
		t.Fatalf("bases %+v, engines %+v", st.Bases, st.Engines)
	}
	if err := os.Mkdir(to, 0o755); err != nil {
		t.Fatal(err)
	}
	s.run(api.TaskUpdate)
	if st := s.status(); len(st.Engines) != 0 {
		t.Errorf("after a delivery that succeeds: %+v", st.Engines)
	}
}

func TestTransferHasTheTimeOfItsRun(t *testing.T) {
	w := newWorld(t)
	w.publish("a.example")
	s := w.start().settled()
	changed := *w.now.Load()
	w.setClock(changed.Add(10 * time.Minute))
	s.run(api.TaskUpdate)
	u := s.update()
	if u.Last.Outcome != api.NothingNew || u.LastBytes == nil || !u.LastBytes.At.Equal(changed) {
		t.Fatalf("last %+v, transfer %+v", u.Last, u.LastBytes)
	}
}

func TestRefusedSettingsAreTheReasonWhereNoneWereAccepted(t *testing.T) {
	w := newWorld(t)
	w.write("freshet.yaml", "version: 1\nsuorces: []\n")
	s := w.start()
	st := s.status()
	s.stop()
	if !strings.Contains(st.Refused, "suorces") || st.Why != "nothing can be updated before the settings file is mended" {
		t.Errorf("refused %q, why %q", st.Refused, st.Why)
	}
	w.write("freshet.yaml", "version: 1\n")
	if st := w.again().status(); st.Refused != "" || !strings.HasPrefix(st.Why, "no source") {
		t.Errorf("refused %q, why %q", st.Refused, st.Why)
	}
}

// TestWithoutASourceTheStatusSaysThatNothingUpdatesTheBases: fresh as they are
// now, they only get older.
func TestWithoutASourceTheStatusSaysThatNothingUpdatesTheBases(t *testing.T) {
	w := newWorld(t)
	w.publish("a.example")
	s := w.start().settled()
	if st := s.status(); st.Unsupplied {
		t.Error("with a source")
	}
	root := "root: " + w.repo.Dir + "/metadata/1.root.json\n"
	w.write("freshet.yaml", "version: 1\n"+root)
	w.eventually("there is none", func() bool { return len(s.status().Sources) == 0 })
	if st := s.status(); !st.Unsupplied || st.State != "up to date" {
		t.Errorf("%+v", st)
	}
	s.change(http.MethodPost, "/v1/import", api.Import{Path: w.repo.Dir})
	w.eventually("the import is over", func() bool { u := s.update(); return u.Last != nil && u.Last.Imported })
	if st := s.status(); st.Unsupplied {
		t.Error("it lives on bundles")
	}
}
