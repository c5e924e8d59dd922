package launch_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/freshet/freshet/internal/launch"
	"github.com/freshet/freshet/rollback"
)

func TestAProgramThatDoesNotComeUpIsGivenUpAfterThreeStarts(t *testing.T) {
	all := []string{"good", "previous", "package"}
	last, n := "", 0
	var got []string
	for range 9 {
		i, start := launch.Next(all, last, n)
		last, n = all[i], start
		got = append(got, all[i])
	}
	want := []string{"good", "good", "good", "previous", "previous", "previous", "package", "package", "package"}
	if !slices.Equal(got, want) {
		t.Errorf("started %q", got)
	}
	if i, _ := launch.Next(all, "package", 3); i != 2 {
		t.Errorf("after the last one came %q", all[i])
	}
	if i, n := launch.Next(all, "gone", 2); i != 0 || n != 1 {
		t.Errorf("after a program that is none any more came %q, start %d", all[i], n)
	}
}

// endpoint has versions 1 (previous), 2 (good) and 3 (on trial).
func endpoint(t *testing.T) launch.Place {
	t.Helper()
	dir := t.TempDir()
	s := rollback.Store{Dir: dir}
	st := rollback.State{Format: rollback.StateFormat}
	for _, v := range []string{"1", "2", "3"} {
		var g rollback.Generation
		var err error
		slot := rollback.Slot{Version: v, Dir: v, Start: []string{"freshet"}}
		if st, g, err = s.Make(st, rollback.Generation{Modules: map[string]rollback.Slot{"agent": slot}}); err != nil {
			t.Fatal(err)
		}
		if st, err = st.Switch(g.Number); err != nil {
			t.Fatal(err)
		}
		if v != "3" {
			st = st.Confirm()
		}
	}
	if err := s.Save(st); err != nil {
		t.Fatal(err)
	}
	return launch.Place{Dir: dir, Runtime: t.TempDir(), Package: "/package/freshet"}
}

func TestWhatIsStarted(t *testing.T) {
	for _, row := range []struct {
		name  string
		spoil func(dir string) error
		want  []string
	}{
		{"the good version, never the one on trial, then the one before, then the package's", func(string) error { return nil },
			[]string{"modules/agent/2/freshet", "modules/agent/1/freshet", "/package/freshet"}},
		{"with a damaged state the package's", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "state.json"), []byte(`{"sha256":"00","content":{"good":2}}`), 0o644)
		}, []string{"/package/freshet"}},
		{"with an empty state file the package's", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "state.json"), nil, 0o644)
		}, []string{"/package/freshet"}},
		{"without a state the package's", func(dir string) error { return os.Remove(filepath.Join(dir, "state.json")) }, []string{"/package/freshet"}},
		{"without the good generation the one before", func(dir string) error {
			return os.RemoveAll(filepath.Join(dir, "generations/000002"))
		}, []string{"modules/agent/1/freshet", "/package/freshet"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := endpoint(t)
			if err := row.spoil(p.Dir); err != nil {
				t.Fatal(err)
			}
			got := p.Candidates()
			for i := range got {
				if rel, err := filepath.Rel(p.Dir, got[i]); err == nil && filepath.IsLocal(rel) {
					got[i] = rel
				}
			}
			if !slices.Equal(got, row.want) {
				t.Errorf("%q", got)
			}
		})
	}
}
