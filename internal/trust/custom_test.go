package trust_test

import (
	"testing"
	"time"

	"github.com/freshet/freshet/internal/clock"
	"github.com/freshet/freshet/internal/trust"
	"github.com/freshet/freshet/internal/trust/trusttest"
)

func TestAFieldOfTheTargetsIsReadOnceTheyAreVerified(t *testing.T) {
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	repo := trusttest.New(t, now)
	repo.Targets["targets"].Signed.UnrecognizedFields = map[string]any{"x-test": map[string]any{"n": 1}}
	repo.Publish("targets", "snapshot", "timestamp")
	c := &trust.Client{Dir: t.TempDir(), Root: repo.RootBytes(1), Clock: &clock.Clock{Wall: func() time.Time { return now }}}

	view, err := c.Load()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := view.TargetsField("x-test"); trust.KindOf(err) != trust.NotStored {
		t.Errorf("before the first refresh: %v", err)
	}
	if view, err = c.Refresh(t.Context(), repo); err != nil {
		t.Fatal(err)
	}
	stored, err := c.Load()
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]*trust.View{"refreshed": view, "stored": stored} {
		if data, err := v.TargetsField("x-test"); err != nil || string(data) != `{"n":1}` {
			t.Errorf("%s: %s, %v", name, data, err)
		}
		if data, err := v.TargetsField("x-other"); err != nil || data != nil {
			t.Errorf("%s: a field that is not there: %s, %v", name, data, err)
		}
	}
}

func TestARepositoryIsNamedByItsRootsOrByTheirHash(t *testing.T) {
	named := []byte(`{"signed":{"x-freshet-repository":"0123456789abcdef"}}`)
	if id := trust.RepositoryID(named); id != "0123456789abcdef" {
		t.Error(id)
	}
	for _, root := range []string{"", "{}", `{"signed":{"x-freshet-repository":"../../etc"}}`, `{"signed":{"x-freshet-repository":7}}`} {
		if id := trust.RepositoryID([]byte(root)); len(id) != 16 || id == "0123456789abcdef" {
			t.Errorf("%s is named %s", root, id)
		}
	}
}
