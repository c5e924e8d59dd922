package updater_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/clock"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/internal/licence"
	"github.com/freshet/freshet/internal/source"
	"github.com/freshet/freshet/modules"
	"github.com/freshet/freshet/publish"
	"github.com/freshet/freshet/updater"
)

// newLicensedWorld has a repository that asks for a licence.
func newLicensedWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	if _, err := w.repo.RequireLicence(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	return w
}

// license issues a licence and adds it at the endpoint.
func (w *world) license(until time.Time, change ...func(*updater.Updater)) {
	w.t.Helper()
	_, data, err := w.repo.Licence(publish.Grant{To: "Example Ltd", Until: until})
	if err != nil {
		w.t.Fatal(err)
	}
	w.events = nil
	if _, err := w.updater(change...).AddLicence(data); err != nil {
		w.t.Fatal(err)
	}
	if !w.saw(event.LicenceAdded) {
		w.t.Errorf("events %v", w.events)
	}
}

// refused runs an update that must not install anything, for want of a licence.
func (w *world) refused(code event.Code, change ...func(*updater.Updater)) {
	w.t.Helper()
	before := w.check()
	res := w.update(updater.Failed, change...)
	if !strings.Contains(res.Error, "licence") || !w.saw(code) || !w.saw(event.UpdateFailed) {
		w.t.Errorf("%q, events %v, want %s", res.Error, w.events, code)
	}
	if res.RetryAfter < time.Hour {
		w.t.Errorf("it is tried again after %s", res.RetryAfter)
	}
	if after := w.check(); after.Current != before.Current || after.Last != before.Last {
		w.t.Errorf("the state went from %+v to %+v", before, after)
	}
}

// at sets the endpoint's clock.
func at(now time.Time) func(*updater.Updater) {
	return func(u *updater.Updater) { u.Clock = &clock.Clock{Wall: func() time.Time { return now }} }
}

func (w *world) left() bool {
	w.t.Helper()
	s, err := w.updater().Licence()
	if err != nil {
		w.t.Fatal(err)
	}
	return s.Left
}

func TestWithoutALicenceExactlyOneUpdateIsPossible(t *testing.T) {
	w := newLicensedWorld(t)
	w.publish("list", records(1, 300))
	w.update(updater.Updated)
	w.expect("list", 1)
	if !w.saw(event.LicenceMissing) || w.left() {
		t.Errorf("events %v, left %v", w.events, w.left())
	}
	w.update(updater.NothingNew)
	w.publish("list", records(2, 300))
	w.publish("other", records(1, 100))
	w.refused(event.LicenceMissing)
	w.refused(event.LicenceMissing)
	w.expect("list", 1)
	plan, err := w.updater().Plan(t.Context())
	if err != nil || plan.Bytes != 0 || len(plan.Bases) != 2 || !strings.Contains(plan.Bases[0].Held, "licence") {
		t.Errorf("%+v, %v", plan, err)
	}
}

func TestALicenceOpensUpdatesAndItsEndDoesNotRenewTheOne(t *testing.T) {
	w := newLicensedWorld(t)
	w.publish("list", records(1, 300))
	w.update(updater.Updated)
	w.publish("list", records(2, 300))
	w.refused(event.LicenceMissing)
	until := time.Now().AddDate(1, 0, 0)
	w.license(until)
	w.update(updater.Updated)
	w.expect("list", 2)
	w.publish("list", records(3, 300))
	w.update(updater.Updated)
	w.expect("list", 3)

	after := until.Add(time.Second)
	w.repo.Clock = &clock.Clock{Wall: func() time.Time { return after }}
	for _, role := range []string{"root", "targets", "modules", "timestamp"} {
		if _, err := w.repo.Renew(t.Context(), role); err != nil {
			t.Fatal(err)
		}
	}
	w.publish("list", records(4, 300))
	w.refused(event.LicenceExpired, at(after))
	w.expect("list", 3)
	// The repository's signed time counts where the clock was set back.
	w.refused(event.LicenceExpired)

	// Rolling back works, and gives nothing back.
	if _, err := w.updater(at(after)).RollBack(t.Context(), []string{"list"}); err != nil {
		t.Fatal(err)
	}
	w.expect("list", 2)
	if _, err := w.updater(at(after)).Release(t.Context(), "list"); err != nil {
		t.Fatal(err)
	}
	w.refused(event.LicenceExpired, at(after))
	w.expect("list", 2)
	// So does a repository that asks no longer.
	if _, err := w.repo.RequireLicence(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	w.update(updater.Updated, at(after))
	w.expect("list", 4)
}

func TestALicenceFromTheStartLeavesTheOneForItsEnd(t *testing.T) {
	w := newLicensedWorld(t)
	if _, err := w.updater().Start(t.Context()); err != nil { // gives the agent its ID
		t.Fatal(err)
	}
	if _, err := w.updater().AddLicence([]byte("{}")); err == nil {
		t.Fatal("nonsense was added")
	}
	_, data, err := w.repo.Licence(publish.Grant{To: "x", Until: time.Now().AddDate(1, 0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.updater().AddLicence(data); err == nil || !strings.Contains(err.Error(), "--dry-run") {
		t.Errorf("before anything was fetched: %v", err)
	}
	if _, err := w.updater().Plan(t.Context()); err != nil {
		t.Fatal(err)
	}
	until := time.Now().Add(licence.SoonBefore / 2)
	w.license(until)
	w.publish("list", records(1, 300))
	w.update(updater.Updated)
	if !w.saw(event.LicenceExpiresSoon) {
		t.Errorf("events %v", w.events)
	}
	w.publish("list", records(2, 300))
	w.update(updater.Updated)
	if w.saw(event.LicenceExpiresSoon) {
		t.Error("its end was pointed out twice")
	}
	w.publish("list", records(3, 300))
	w.repo.Clock = &clock.Clock{Wall: func() time.Time { return until }}
	if _, err := w.repo.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.update(updater.Updated, at(until))
	w.expect("list", 3)
	if !w.saw(event.LicenceExpired) || w.left() {
		t.Errorf("events %v, left %v", w.events, w.left())
	}
	w.publish("list", records(4, 300))
	w.refused(event.LicenceExpired, at(until))
}

func TestLicencesThatDoNotFitAreNotAdded(t *testing.T) {
	w, other := newLicensedWorld(t), newLicensedWorld(t)
	w.publish("list", records(1, 300))
	w.update(updater.Updated)
	issue := func(r *publish.Repository, g publish.Grant) []byte {
		t.Helper()
		_, data, err := r.Licence(g)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	year := time.Now().AddDate(1, 0, 0)
	// The other endpoint's ID.
	if _, err := other.updater().Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	stranger, err := other.updater().Licence()
	if err != nil || stranger.State != licence.Unknown {
		t.Fatalf("%+v, %v", stranger, err)
	}
	mine, err := w.updater().Licence()
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"of another repository": issue(other.repo, publish.Grant{To: "x", Until: year}),
		"for another agent":     issue(w.repo, publish.Grant{To: "x", Until: year, Agent: stranger.Agent}),
		"changed":               []byte(strings.Replace(string(issue(w.repo, publish.Grant{To: "x", Until: year})), `"x"`, `"y"`, 1)),
	} {
		if _, err := w.updater().AddLicence(data); err == nil {
			t.Errorf("a licence %s was added", name)
		}
	}
	short := issue(w.repo, publish.Grant{To: "x", Until: time.Now().Add(time.Hour)})
	if _, err := w.updater(at(time.Now().Add(2 * time.Hour))).AddLicence(short); err == nil {
		t.Error("one that has ended was added")
	}
	if _, err := w.updater().AddLicence(issue(w.repo, publish.Grant{To: "x", Until: year, Agent: mine.Agent})); err != nil {
		t.Errorf("one for this agent: %v", err)
	}
}

func TestWhatUsesNothingUp(t *testing.T) {
	broken := func(command string) func(*updater.Updater) {
		return func(u *updater.Updater) {
			e := &modules.Engine{Base: "list"}
			if command == "try" {
				e.TryCommand = []string{"/bin/false"}
			} else {
				e.HealthCommand, e.TookCommand = []string{"/bin/true"}, []string{"/bin/false"}
			}
			u.Engines = map[string]*modules.Engine{"list": e}
		}
	}
	for _, row := range []struct {
		name string
		do   func(w *world)
	}{
		{"nothing", func(*world) {}},
		{"a version that its engine refuses", func(w *world) { w.update(updater.Failed, broken("try")) }},
		{"a version that is rolled back", func(w *world) { w.update(updater.Failed, broken("took")) }},
		{"a trial under which the agent dies", func(w *world) {
			died := w.dir + "-died"
			ctx, cancel := context.WithCancel(w.t.Context())
			w.updater(func(u *updater.Updater) { u.Engines = map[string]*modules.Engine{"list": slow()} }).Run(ctx, "test", func(p updater.Progress) {
				if p.Phase == updater.PhaseWatch {
					copyTree(w.t, w.dir, died)
					cancel()
				}
			})
			cancel()
			w.dir = died
			w.expect("list", 1)
		}},
		{"a source that fails", func(w *world) {
			w.update(updater.Failed, func(u *updater.Updater) { u.Sources = []source.Source{&source.Folder{Path: w.t.TempDir()}} })
		}},
		{"a plan", func(w *world) {
			if _, err := w.updater().Plan(w.t.Context()); err != nil {
				w.t.Fatal(err)
			}
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newLicensedWorld(t)
			w.update(updater.NothingNew) // there is no base yet
			w.publish("list", records(1, 300))
			row.do(w)
			if !w.left() {
				t.Fatal("the one update is used up")
			}
			w.publish("list", records(2, 300)) // the first may be quarantined
			w.update(updater.Updated)
			w.publish("list", records(3, 300))
			w.refused(event.LicenceMissing)
			w.expect("list", 2)
		})
	}
}

func TestAnUpdateOfWhichAPartIsRolledBackIsTheOne(t *testing.T) {
	w := newLicensedWorld(t)
	w.publish("list", records(1, 300))
	w.publish("other", records(1, 100))
	bad := func(u *updater.Updater) {
		u.Engines = map[string]*modules.Engine{"other": {Base: "other", HealthCommand: []string{"/bin/true"}, TookCommand: []string{"/bin/false"}}}
	}
	w.update(updater.Partly, bad)
	w.expect("list", 1)
	w.publish("list", records(2, 300))
	w.refused(event.LicenceMissing)
	w.expect("list", 1)
}

func TestWhatIsInstalledIsRepairedWithoutALicence(t *testing.T) {
	w := newLicensedWorld(t)
	w.publish("list", records(1, 300))
	w.publish("other", records(1, 100))
	w.update(updater.Updated)
	remove := func(name string) {
		t.Helper()
		if err := os.Remove(filepath.Join(w.dir, "state/bases", name, "current", name+".txt")); err != nil {
			t.Fatal(err)
		}
	}
	remove("list")
	if res := w.updater().Run(t.Context(), "test", nil); res.Outcome != updater.Updated {
		t.Fatalf("%+v", res)
	}
	w.expect("list", 1)
	w.publish("other", records(2, 100))
	remove("list")
	if res := w.updater().Run(t.Context(), "test", nil); res.Outcome != updater.Partly || !strings.Contains(res.Error, "licence") {
		t.Fatalf("%+v", res)
	}
	w.expect("list", 1)
	w.expect("other", 1)
	remove("other")
	if all, err := w.updater().Repair(t.Context(), nil, nil); err != nil {
		t.Errorf("%+v, %v", all, err)
	}
	w.expect("other", 1)
}

func TestDamageGivesNoUpdateAndIsToldOnce(t *testing.T) {
	w := newLicensedWorld(t)
	w.publish("list", records(1, 300))
	w.update(updater.Updated)
	w.license(time.Now().AddDate(1, 0, 0))
	w.publish("list", records(2, 300))
	files, err := filepath.Glob(filepath.Join(w.dir, "state/licence/*.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	marks, err := filepath.Glob(filepath.Join(w.dir, "state/licence/marks/*.json"))
	if err != nil || len(marks) != 1 {
		t.Fatalf("%v, %v", marks, err)
	}
	for _, path := range append(files, marks...) {
		if err := os.Truncate(path, 50); err != nil {
			t.Fatal(err)
		}
	}
	w.refused(event.LicenceMissing)
	if n := len(slices.DeleteFunc(slices.Clone(w.events), func(c event.Code) bool { return c != event.StateDamaged })); n != 2 {
		t.Errorf("damage was told %d times: %v", n, w.events)
	}
	w.refused(event.LicenceMissing)
	if w.saw(event.StateDamaged) {
		t.Error("it was told again")
	}
	w.expect("list", 1)
}
