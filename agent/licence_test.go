package agent_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/publish"
)

func TestALicenceIsAskedForAndAdded(t *testing.T) {
	w := newWorld(t)
	if _, err := w.repo.RequireLicence(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	w.publish("1.example")
	s := w.start().settled()
	w.publish("1.example", "2.example")
	if res := s.run(api.TaskUpdate); res.Outcome != api.Failed || !strings.Contains(res.Error, "licence") {
		t.Fatalf("%+v", res)
	}
	if n := s.events(event.LicenceMissing); n != 2 { // with the one, and without
		t.Errorf("told %d times", n)
	}
	l := s.status().Licence
	if l == nil || l.State != "missing" || l.Left || len(l.Agent) != 32 {
		t.Fatalf("%+v", l)
	}

	issue := func(g publish.Grant) api.AddLicence {
		t.Helper()
		g.To, g.Until = "Example Ltd", w.now.Load().AddDate(1, 0, 0)
		_, data, err := w.repo.Licence(g)
		if err != nil {
			t.Fatal(err)
		}
		return api.AddLicence{Licence: string(data)}
	}
	good := issue(publish.Grant{Agent: l.Agent})
	for name, ask := range map[string]api.AddLicence{
		"nothing":   {},
		"changed":   {Licence: strings.Replace(good.Licence, "Example", "Another", 1)},
		"too long":  {Licence: good.Licence + strings.Repeat(" ", 20<<10)},
		"something": {Licence: "{}"},
	} {
		if err := s.Do(t.Context(), http.MethodPost, "/v1/licence", ask, nil); codeOf(err) != api.LicenceRefused {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The update that waited for it follows.
	s.change(http.MethodPost, "/v1/licence", good)
	w.eventually("the second version is installed", func() bool {
		st := s.status()
		return len(st.Bases) == 1 && st.Bases[0].Version == 2
	})
	l = s.status().Licence
	if l.State != "current" || l.To != "Example Ltd" || len(l.Licences) != 1 || s.events(event.LicenceAdded) != 1 {
		t.Errorf("%+v", l)
	}
}

func TestALicenceIsAddedWithoutAService(t *testing.T) {
	w := newWorld(t)
	if _, err := w.repo.RequireLicence(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	_, data, err := w.repo.Licence(publish.Grant{To: "x", Until: w.now.Load().AddDate(1, 0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	a := w.core()
	defer a.Close()
	me := api.Local(a.Handler(), api.Caller{UID: 0})
	ask := api.AddLicence{Licence: string(data)}
	if err := me.Do(t.Context(), http.MethodPost, "/v1/licence", ask, nil); codeOf(err) != api.LicenceRefused || !strings.Contains(err.Error(), "dry-run") {
		t.Errorf("before the repository is known: %v", err)
	}
	var l api.Licence
	if err := me.Get(t.Context(), "/v1/licence", &l); err != nil || l.State != "unknown" {
		t.Errorf("%+v, %v", l, err)
	}
	if err := me.Get(t.Context(), "/v1/plan", nil); err != nil {
		t.Fatal(err)
	}
	if err := me.Do(t.Context(), http.MethodPost, "/v1/licence", ask, &l); err != nil || l.State != "current" || !l.Left {
		t.Errorf("%+v, %v", l, err)
	}
	stranger := api.Local(a.Handler(), api.Caller{UID: 12345, GID: 12345})
	if err := stranger.Do(t.Context(), http.MethodPost, "/v1/licence", ask, nil); codeOf(err) != api.Forbidden {
		t.Errorf("as a stranger: %v", err)
	}
	if err := stranger.Get(t.Context(), "/v1/licence", &l); err != nil {
		t.Errorf("a stranger may read: %v", err)
	}
}
