package rollback_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/rollback"
)

var errStop = errors.New("stopped here")

// stopAt fails the n-th disk step, and all after it.
func stopAt(n int) *durable.Disk {
	i := 0
	return &durable.Disk{Step: func(string, string) error {
		if i++; i >= n {
			return errStop
		}
		return nil
	}}
}

// checkStore asserts what must hold whatever happened.
func checkStore(t *testing.T, dir string) rollback.State {
	t.Helper()
	s := rollback.Store{Dir: dir}
	st, err := s.Load()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{st.Current, st.Good, st.Previous} {
		if _, err := s.Generation(n); err != nil {
			t.Errorf("generation %d of %+v: %v", n, st, err)
		}
	}
	return st
}

// release makes, switches to, confirms and prunes: all an update does here.
func release(s rollback.Store) error {
	st, err := s.Load()
	if err != nil {
		return err
	}
	st, g, err := s.Make(st, gen(0, map[string]int64{"b": int64(st.Last + 1)}))
	if err != nil {
		return err
	}
	if st, err = st.Switch(g.Number); err != nil {
		return err
	}
	if err := s.Save(st); err != nil {
		return err
	}
	st = st.Confirm()
	if err := s.Save(st); err != nil {
		return err
	}
	return s.Prune(st)
}

func TestStoppedAtAnyStepTheStateIsOldOrNewAndTheNextRunSucceeds(t *testing.T) {
	for n := 1; ; n++ {
		dir := t.TempDir()
		for range 3 {
			if err := release(rollback.Store{Dir: dir}); err != nil {
				t.Fatal(err)
			}
		}
		before := checkStore(t, dir)
		err := release(rollback.Store{Dir: dir, Disk: stopAt(n)})
		after := checkStore(t, dir)
		if after.Good < before.Good {
			t.Fatalf("step %d: good went from %d back to %d", n, before.Good, after.Good)
		}
		if again := release(rollback.Store{Dir: dir}); again != nil {
			t.Fatalf("step %d: the next run: %v", n, again)
		}
		if last := checkStore(t, dir); last.Good <= after.Good {
			t.Fatalf("step %d: the next run changed nothing: %+v", n, last)
		}
		if err == nil {
			if n < 10 {
				t.Fatalf("only %d steps were seen", n)
			}
			return
		}
		if !errors.Is(err, errStop) {
			t.Fatalf("step %d: %v", n, err)
		}
	}
}

func TestADamagedStateIsNotNoState(t *testing.T) {
	for name, text := range map[string]string{"cut": `{"format":1,"cur`, "empty": "", "another": `{"format":1,"current":9,"last":1}`, "a wrong sum": `{"sha256":"00","content":{"format":1}}`} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "state.json"), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := rollback.Store{Dir: dir}.Load()
			var damaged *rollback.DamagedError
			if !errors.As(err, &damaged) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestPruningKeepsWhatTheStateNames(t *testing.T) {
	dir := t.TempDir()
	s := rollback.Store{Dir: dir}
	for range 10 {
		if err := release(s); err != nil {
			t.Fatal(err)
		}
		checkStore(t, dir)
	}
	var left []int
	gens, err := s.Generations()
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range gens {
		left = append(left, g.Number)
	}
	if fmt.Sprint(left) != "[9 10]" {
		t.Errorf("left: %v", left)
	}
}
