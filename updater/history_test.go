package updater_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/freshet/freshet/internal/clock"
	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/modules"
	"github.com/freshet/freshet/rollback"
	"github.com/freshet/freshet/updater"
)

// leftByHand is an endpoint that went from version 2 back to 1, which an
// operator wanted.
func leftByHand(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	for v := 1; v <= 2; v++ {
		w.publish("list", records(v, 300))
		w.update(updater.Updated)
	}
	if _, err := w.updater().RollBack(t.Context(), []string{"list"}); err != nil {
		t.Fatal(err)
	}
	w.expect("list", 1)
	return w
}

func (w *world) path(name string) string { return filepath.Join(w.dir, "state", name) }

// files is the content of what is kept of the endpoint's state but locks.
func (w *world) files() string {
	w.t.Helper()
	var all strings.Builder
	for _, name := range []string{"state.json", "quarantine.json", "generations", "bases", "manifests"} {
		err := filepath.WalkDir(w.path(name), func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			all.WriteString(path + "\n")
			if e.Type().IsRegular() {
				data, err := os.ReadFile(path)
				all.Write(data)
				return err
			}
			target, err := os.Readlink(path)
			all.WriteString(target)
			return err
		})
		if err != nil {
			w.t.Fatal(err)
		}
	}
	return all.String()
}

func TestADiskThatGivesNothingForAMomentCostsNoHistory(t *testing.T) {
	w := leftByHand(t)
	before := w.files()
	for _, errno := range []error{unix.EACCES, unix.EIO, unix.EMFILE} {
		for _, name := range []string{"state.json", "quarantine.json", "generation.json"} {
			disk := &durable.Disk{Read: func(path string) error {
				if filepath.Base(path) == name {
					return &fs.PathError{Op: "open", Path: path, Err: errno}
				}
				return nil
			}}
			res := w.updater(func(u *updater.Updater) { u.Disk = disk }).Run(t.Context(), "test", nil)
			if res.Outcome != updater.Failed || !strings.Contains(res.Error, name+" cannot be read") {
				t.Errorf("%s, %v: %s: %s", name, errno, res.Outcome, res.Error)
			}
			if w.saw(event.StateDamaged) {
				t.Errorf("%s, %v: it is called damaged", name, errno)
			}
			if w.files() != before {
				t.Fatalf("%s, %v: something was changed", name, errno)
			}
		}
	}
	w.update(updater.NothingNew)
	w.expect("list", 1)
}

func TestAStateOfANewerFormatStopsUpdatesAndNothingElse(t *testing.T) {
	for _, name := range []string{"state.json", "quarantine.json"} {
		w := leftByHand(t)
		data, err := json.Marshal(map[string]any{"format": 2, "min_reader": 2, "min_version": "9.1.0", "what": "is to come"})
		if err == nil {
			err = os.WriteFile(w.path(name), data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		before := w.files()
		u := w.updater()
		res := u.Run(t.Context(), "test", nil)
		if res.Outcome != updater.Failed || !strings.Contains(res.Error, "install freshet 9.1.0 or newer") {
			t.Errorf("%s: %s", res.Outcome, res.Error)
		}
		if _, err := u.RollBack(t.Context(), nil); !errors.As(err, new(*durable.NewerError)) {
			t.Errorf("a rollback: %v", err)
		}
		if _, err := u.Release(t.Context(), "list"); !errors.As(err, new(*durable.NewerError)) {
			t.Errorf("an unhold: %v", err)
		}
		if w.files() != before {
			t.Error("something was changed")
		}
		if shown := u.Shown(); len(shown) != 1 || shown[0].Ref.Version != 1 {
			t.Errorf("in use: %+v", shown)
		}
	}
}

func TestWhatAPersonRejectedStaysSoWhateverIsLost(t *testing.T) {
	for name, lose := range map[string][]string{
		"the state":             {"state.json"},
		"its copy":              {"quarantine.json"},
		"the newest generation": {"generations/000003/generation.json"},
	} {
		for how, damage := range damages {
			t.Run(name+" "+how, func(t *testing.T) {
				w := leftByHand(t)
				for _, f := range lose {
					if err := damage(w.path(f)); err != nil {
						t.Fatal(err)
					}
				}
				w.update(updater.NothingNew)
				w.expect("list", 1)
				w.update(updater.NothingNew)
				if w.saw(event.HistoryLost) || w.saw(event.StateDamaged) {
					t.Errorf("told again: %v", w.events)
				}
				if _, held := w.check().Held("list", 2); !held {
					t.Error("version 2 is not held back any more")
				}
				w.publish("list", records(3, 300))
				w.update(updater.Updated)
				w.expect("list", 3)
			})
		}
	}
}

func TestWithoutAnyHistoryOnlyWhatIsPublishedLaterIsInstalled(t *testing.T) {
	lose := func(t *testing.T) *world {
		w := leftByHand(t)
		for _, f := range []string{"state.json", "quarantine.json"} {
			if err := os.Remove(w.path(f)); err != nil {
				t.Fatal(err)
			}
		}
		// What was published before: it may be what a person rolled back.
		res := w.updater(clockAt(time.Now().Add(time.Minute))).Run(t.Context(), "test", nil)
		if res.Outcome != updater.NothingNew || !w.saw(event.HistoryLost) || !strings.Contains(strings.Join(res.Notes, " "), "is not known any more") {
			t.Fatalf("%+v, %v", res, w.events)
		}
		w.expect("list", 1)
		return w
	}
	t.Run("a person decides", func(t *testing.T) {
		w := lose(t)
		if out, err := w.updater().Release(t.Context(), "list"); err != nil || len(out) != 1 {
			t.Fatalf("%+v, %v", out, err)
		}
		w.update(updater.Updated)
		w.expect("list", 2)
	})
	t.Run("the state is lost again", func(t *testing.T) {
		w := lose(t)
		if err := os.Remove(w.path("state.json")); err != nil {
			t.Fatal(err)
		}
		w.update(updater.NothingNew)
		w.expect("list", 1)
	})
	t.Run("the publisher makes a newer one", func(t *testing.T) {
		w := lose(t)
		st := w.check()
		st.Lost.At = time.Now().Add(-time.Second) // as if all had been published a while before
		if err := (rollback.Store{Dir: w.path("")}).Save(st); err != nil {
			t.Fatal(err)
		}
		w.publish("list", records(3, 300))
		w.update(updater.Updated)
		w.expect("list", 3)
		if w.check().Undecided("base", "list") {
			t.Error("the loss still holds the base back")
		}
	})
}

func TestAMachineThatWasWipedBeginsAsAnyOther(t *testing.T) {
	w := leftByHand(t)
	if err := os.RemoveAll(w.path("")); err != nil {
		t.Fatal(err)
	}
	w.update(updater.Updated)
	w.expect("list", 2)
	if w.saw(event.StateDamaged) || w.saw(event.HistoryLost) {
		t.Errorf("%v", w.events)
	}
}

func TestARecoveryTakesAGenerationThatIsWholeAndWasNotRejected(t *testing.T) {
	refuses := func(u *updater.Updater) {
		u.Engines = map[string]*modules.Engine{"list": {Base: "list", TookCommand: []string{"/bin/false"}}}
	}
	for name, row := range map[string]struct {
		spoil func(w *world)
		want  int64
	}{
		"the newest": {func(*world) {}, 2},
		"the newest is not whole": {func(w *world) {
			g := w.generation(w.check().Current)
			if err := os.RemoveAll(w.path("bases/list/" + g.Bases["list"].Dir)); err != nil {
				w.t.Fatal(err)
			}
		}, 1},
		"the newest was rejected by its engine": {func(w *world) {
			w.publish("list", records(3, 300))
			w.update(updater.Failed, refuses)
			// A generation that a cut kept from being pruned.
			g := w.generation(w.check().Current)
			g.Bases["list"] = rollback.Ref{Version: 3, Dir: g.Bases["list"].Dir, Manifest: g.Bases["list"].Manifest, Image: g.Bases["list"].Image}
			if _, _, err := (rollback.Store{Dir: w.path("")}).Make(w.check(), g); err != nil {
				w.t.Fatal(err)
			}
		}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			for v := 1; v <= 2; v++ {
				w.publish("list", records(v, 300))
				w.update(updater.Updated)
			}
			row.spoil(w)
			quarantine := len(w.check0().Quarantine)
			if err := damages["cut in half"](w.path("state.json")); err != nil {
				t.Fatal(err)
			}
			if _, err := w.updater(func(u *updater.Updater) { u.Sources = nil }).Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.expect("list", row.want)
			if st := w.check0(); len(st.Quarantine) != quarantine {
				t.Errorf("of %d rejected versions are known: %+v", quarantine, st.Quarantine)
			}
		})
	}
}

func (w *world) generation(n int) rollback.Generation {
	w.t.Helper()
	g, err := rollback.Store{Dir: w.path("")}.Generation(n)
	if err != nil {
		w.t.Fatal(err)
	}
	return g
}

// check0 is the state, whatever is wrong with what it leads to.
func (w *world) check0() rollback.State {
	w.t.Helper()
	st, err := rollback.Store{Dir: w.path("")}.Load()
	if err != nil {
		w.t.Fatal(err)
	}
	return st
}

func TestAHeldBaseStaysWhateverComes(t *testing.T) {
	w := newWorld(t)
	for v := 1; v <= 2; v++ {
		w.publish("list", records(v, 300))
		w.update(updater.Updated)
	}
	if _, err := w.updater().Hold(t.Context(), "list", 7); !errors.Is(err, updater.ErrNotKept) || !strings.Contains(err.Error(), "there is 1, 2") {
		t.Errorf("to a version that is not kept: %v", err)
	}
	c, err := w.updater().Hold(t.Context(), "list", 1)
	if err != nil || c.From != 2 || c.To != 1 || !w.saw(event.BaseHeld) {
		t.Fatalf("%+v, %v", c, err)
	}
	w.expect("list", 1)
	w.publish("list", records(3, 300))
	w.update(updater.NothingNew)
	w.expect("list", 1)
	if c, err = w.updater().Hold(t.Context(), "list", 0); err != nil || c.From != c.To {
		t.Errorf("held again: %+v, %v", c, err)
	}
	if _, err := w.updater().Release(t.Context(), "list"); err != nil {
		t.Fatal(err)
	}
	w.update(updater.Updated)
	w.expect("list", 3)
}

// clockAt has the updater's clock stand at a moment.
func clockAt(now time.Time) func(*updater.Updater) {
	return func(u *updater.Updater) { u.Clock = &clock.Clock{Wall: func() time.Time { return now }} }
}
