package rollback_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/rollback"
)

var when = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// kept is the store of keeps, made once: syncing is slow.
var kept = sync.OnceValues(func() (fstest.MapFS, error) {
	dir, err := os.MkdirTemp("", "rollback")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	s := rollback.Store{Dir: dir}
	for range 2 {
		if err := release(s); err != nil {
			return nil, err
		}
	}
	st, err := s.Load()
	if err == nil {
		err = s.Save(st.Withdraw(rollback.Withdrawn{Base: "b", Version: 9, At: when, ByHand: true}))
	}
	files := fstest.MapFS{}
	return files, errors.Join(err, fs.WalkDir(os.DirFS(dir), ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(dir, path))
		files[path] = &fstest.MapFile{Data: data, Mode: 0o644}
		return err
	}))
})

// keeps is a store with two confirmed generations and base b's version 9 rejected.
func keeps(t *testing.T) rollback.Store {
	t.Helper()
	s := rollback.Store{Dir: t.TempDir()}
	files, err := kept()
	if err == nil {
		err = os.CopyFS(s.Dir, files)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTheCopyOfTheQuarantineNeverLacksWhatTheStateHolds(t *testing.T) {
	changes := map[string]func(rollback.State) rollback.State{
		"one more": func(st rollback.State) rollback.State { return st.Withdraw(rollback.Withdrawn{Base: "c", Version: 1}) },
		"one less": func(st rollback.State) rollback.State { st, _ = st.Release("b"); return st },
		"one more, one less": func(st rollback.State) rollback.State {
			st, _ = st.Release("b")
			return st.Withdraw(rollback.Withdrawn{Base: "c", Version: 1})
		},
		"the history is lost": func(st rollback.State) rollback.State { st.Lost = &rollback.Loss{At: when}; return st },
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			for n := 1; ; n++ {
				s := keeps(t)
				st, err := s.Load()
				if err != nil {
					t.Fatal(err)
				}
				stopped := rollback.Store{Dir: s.Dir, Disk: stopAt(n)}.Save(change(st))
				now, err := s.Load()
				if err != nil {
					t.Fatal(err)
				}
				h, known, err := s.History()
				if err != nil || !known {
					t.Fatalf("step %d: %v, %v", n, known, err)
				}
				for _, w := range now.Quarantine {
					if _, held := (rollback.State{Quarantine: h.Quarantine}).Held(w.Base, w.Version); !held {
						t.Errorf("step %d: the copy lacks %s version %d", n, w.Base, w.Version)
					}
				}
				if (now.Lost == nil) != (h.Lost == nil) && now.Lost != nil {
					t.Errorf("step %d: the copy does not say that the history is lost", n)
				}
				if err := s.SettleHistory(now); err != nil {
					t.Fatal(err)
				}
				if h, _, _ = s.History(); len(h.Quarantine) != len(now.Quarantine) || (h.Lost == nil) != (now.Lost == nil) {
					t.Errorf("step %d: a released entry came back: %+v, %+v", n, h, now)
				}
				if stopped == nil {
					break
				}
			}
		})
	}
}

func TestAStateIsLostWhereWhatItLedToIsThere(t *testing.T) {
	for name, row := range map[string]struct {
		remove []string
		lost   bool
	}{
		"the state":                            {[]string{"state.json"}, true},
		"the state and the copy":               {[]string{"state.json", "quarantine.json"}, true},
		"the state and the generations":        {[]string{"state.json", "generations"}, true},
		"all: a machine that was wiped begins": {[]string{"state.json", "quarantine.json", "generations"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := keeps(t)
			for _, f := range row.remove {
				if err := os.RemoveAll(filepath.Join(s.Dir, f)); err != nil {
					t.Fatal(err)
				}
			}
			st, err := s.Load()
			if lost := errors.As(err, new(*rollback.DamagedError)); lost != row.lost || !lost && (err != nil || st.Last != 0) {
				t.Errorf("lost: %v; %+v, %v", lost, st, err)
			}
		})
	}
}

func TestAFirstGenerationCutShortIsNoLostState(t *testing.T) {
	for n := 1; ; n++ {
		dir := t.TempDir()
		err := release(rollback.Store{Dir: dir, Disk: stopAt(n)})
		if _, e := (rollback.Store{Dir: dir}).Load(); e != nil {
			t.Errorf("step %d: %v", n, e)
		}
		if err == nil {
			return
		}
	}
}

// withheld is a disk that does not give the files named so.
func withheld(name string) *durable.Disk {
	return &durable.Disk{Read: func(path string) error {
		if filepath.Base(path) == name {
			return &fs.PathError{Op: "open", Path: path, Err: unix.EMFILE}
		}
		return nil
	}}
}

func TestWhatIsNotReadNowIsNotDamagedAndNothingIsChangedByIt(t *testing.T) {
	for _, name := range []string{"state.json", "quarantine.json", "generation.json"} {
		t.Run(name, func(t *testing.T) {
			s := keeps(t)
			before := content(t, filepath.Join(s.Dir, "state.json")) + content(t, filepath.Join(s.Dir, "quarantine.json"))
			s.Disk = withheld(name)
			if err := release(s); !durable.Lasting(err) || errors.As(err, new(*rollback.DamagedError)) {
				t.Errorf("an update says %v", err)
			}
			st, _ := rollback.Store{Dir: s.Dir}.Load()
			if err := s.Prune(st); name == "generation.json" && !durable.Lasting(err) {
				t.Errorf("pruning says %v", err)
			}
			if name != "generation.json" && content(t, filepath.Join(s.Dir, "state.json"))+content(t, filepath.Join(s.Dir, "quarantine.json")) != before {
				t.Error("files were changed")
			}
			if all, err := (rollback.Store{Dir: s.Dir}).Generations(); err != nil || len(all) < 2 {
				t.Errorf("generations are gone: %v, %v", all, err)
			}
		})
	}
}

// content is all files under dir but locks.
func content(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.HasSuffix(path, "lock") {
			return err
		}
		data, err := os.ReadFile(path)
		fmt.Fprintln(&all, path, string(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

func TestFilesOfANewerFormatAreNeverTouched(t *testing.T) {
	files := map[string]string{"state.json": "state.json", "quarantine.json": "quarantine.json", "a generation": "generations/000002/generation.json"}
	for name, file := range files {
		for _, form := range []string{"sealed as ours", "sealed otherwise"} {
			t.Run(name+" "+form, func(t *testing.T) {
				s := keeps(t)
				path := filepath.Join(s.Dir, file)
				newer(t, path, form == "sealed as ours", `"format":3,"min_reader":2,"min_version":"2.4.0"`)
				before, read := os.ReadFile(path)
				err := release(s)
				if read != nil || !errors.As(err, new(*durable.NewerError)) || !strings.Contains(err.Error(), "install freshet 2.4.0 or newer") {
					t.Errorf("an update says %v", err)
				}
				st := rollback.State{Format: 1, Current: 2, Good: 2, Previous: 1, Last: 2}
				if err := s.Save(st); name != "a generation" && !errors.As(err, new(*durable.NewerError)) {
					t.Errorf("saving says %v", err)
				}
				if name == "a generation" {
					if err := s.Prune(rollback.State{Format: 1, Last: 2}); !errors.As(err, new(*durable.NewerError)) {
						t.Errorf("pruning says %v", err)
					}
				}
				if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, before) {
					t.Errorf("it was changed: %v", err)
				}
			})
		}
	}
}

// newer makes the file at path one that says fields, sealed or not.
func newer(t *testing.T, path string, asOurs bool, fields string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var s struct {
		SHA256  string                     `json:"sha256"`
		Content map[string]json.RawMessage `json:"content"`
	}
	if err := json.Unmarshal(data, &s); err != nil {
		t.Fatal(err)
	}
	if !asOurs {
		if err := os.WriteFile(path, []byte(`{"seal":"of another kind",`+fields+`}`), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	for _, f := range strings.Split(fields, ",") {
		name, value, _ := strings.Cut(f, ":")
		s.Content[strings.Trim(name, `"`)] = json.RawMessage(value)
	}
	sealed, err := rollback.Seal(s.Content)
	if err == nil {
		err = os.WriteFile(path, sealed, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestANewerFileThatSaysSoMayBeReadAndIsRewrittenAsOurs(t *testing.T) {
	s := keeps(t)
	newer(t, filepath.Join(s.Dir, "state.json"), true, `"format":2,"min_reader":1`)
	if err := release(s); err != nil {
		t.Fatal(err)
	}
	st := checkStore(t, s.Dir)
	if _, held := st.Held("b", 9); st.Format != rollback.StateFormat || !held {
		t.Errorf("%+v", st)
	}
}

func TestAnEntrySaysWhoMadeItAlsoOneOfAnOldFile(t *testing.T) {
	st := rollback.State{Format: 1}.Withdraw(
		rollback.Withdrawn{Base: "a", Version: 1}, rollback.Withdrawn{Base: "b", Version: 1, ByHand: true},
		rollback.Withdrawn{Base: "c", Version: 1, By: rollback.ByConsole})
	for i, want := range []string{"judge", "operator", "console"} {
		if st.Quarantine[i].By != want {
			t.Errorf("%s by %q", st.Quarantine[i].Base, st.Quarantine[i].By)
		}
	}
	s := rollback.Store{Dir: t.TempDir()}
	old, err := rollback.Seal(map[string]any{"format": 1, "quarantine": []any{map[string]any{"base": "b", "version": 3, "by_hand": true}, map[string]any{"base": "b", "version": 2}}})
	if err == nil {
		err = os.WriteFile(filepath.Join(s.Dir, "state.json"), old, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	if st, err = s.Load(); err != nil || st.Quarantine[0].By != "operator" || st.Quarantine[1].By != "judge" {
		t.Errorf("%+v, %v", st, err)
	}
}

func TestAfterALossOnlyWhatIsNewerOrAllowedIsInstalled(t *testing.T) {
	st := rollback.State{Format: 1, Lost: &rollback.Loss{At: when}}
	held := func(kind, name string, published time.Time) bool {
		_, held := st.HeldByLoss(kind, name, published)
		return held
	}
	if !held("base", "b", when) || held("base", "b", when.Add(time.Second)) || !held("module", "b", when) {
		t.Error("a loss holds back the wrong versions")
	}
	st, out := st.Release("b")
	if len(out) != 1 || held("base", "b", when) || !held("base", "c", when) || !held("module", "b", when) {
		t.Errorf("allowed by a person: %+v", st.Lost)
	}
	if st, out = st.Release("b"); len(out) != 0 {
		t.Errorf("allowed twice: %+v", out)
	}
	st, _ = st.ReleaseModule("b")
	if held("module", "b", when) {
		t.Error("a module cannot be allowed")
	}
	st = st.Forget(map[string]rollback.Ref{"c": {Version: 3, Published: when.Add(time.Hour)}, "d": {Version: 3, Published: when}}, nil)
	if held("base", "c", when) || !held("base", "d", when) {
		t.Errorf("a newer version in use: %+v", st.Lost)
	}
	if st = st.Disown(); held("base", "d", when) || !held("module", "x", when) {
		t.Errorf("another repository: %+v", st.Lost)
	}
}
