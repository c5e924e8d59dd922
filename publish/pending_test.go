package publish_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/durable/crashtest"
	"github.com/freshet/freshet/publish"
)

// cutShort replaces the timestamp's key, and ends as its file of what is
// decided is removed: before that, or before the folder is synced.
func cutShort(t *testing.T, r *publish.Repository, m *crashtest.Model, removed bool) {
	t.Helper()
	ended := false
	r.Disk = m.Disk(crashtest.Hooks{Before: func(op, path string) error {
		remove := op == "remove" && filepath.Base(path) == ".pending.json"
		if ended || remove && !removed {
			return crashtest.ErrStopped
		}
		ended = remove
		return nil
	}})
	if _, err := r.ReplaceKeys(t.Context(), publish.Rotation{What: []string{"timestamp"}}); !errors.Is(err, crashtest.ErrStopped) {
		t.Fatal(err)
	}
}

// TestAChangeOfKeysThatWasCompletedDoesNotComeBack: what removed its file was
// killed before it synced that; then a release follows, then the power is cut.
func TestAChangeOfKeysThatWasCompletedDoesNotComeBack(t *testing.T) {
	r := newRepo(t)
	dir := filepath.Dir(r.Dir)
	m, err := crashtest.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	cutShort(t, r, m, true)
	r.Disk = m.Disk(crashtest.Hooks{})
	put(t, r, "list", ten(1))
	r.Disk = nil
	was := client(t, r).Timestamp.Signed.Version

	clone := filepath.Join(t.TempDir(), "clone")
	if err := errors.Join(m.PowerCut(clone, nil), os.RemoveAll(dir), os.Rename(clone, dir)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Prune(t.Context(), true); err != nil { // takes the lock
		t.Fatal(err)
	}
	if now := client(t, r).Timestamp.Signed.Version; now < was {
		t.Errorf("the timestamp went back from version %d to %d", was, now)
	}
	check(t, r)
}

// TestADamagedChangeOfKeysTakesNoPlace: the old keys stand, and an error says
// which file it is.
func TestADamagedChangeOfKeysTakesNoPlace(t *testing.T) {
	r := newRepo(t)
	m, err := crashtest.New(filepath.Dir(r.Dir))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	before := read(t, r, "metadata/timestamp.json")
	cutShort(t, r, m, false)
	r.Disk = &durable.Disk{}
	file := filepath.Join(r.Dir, ".pending.json")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var parts map[string]any
	if err := json.Unmarshal(whole, &parts); err != nil {
		t.Fatal(err)
	}
	timestamp := filepath.Join(r.Dir, "metadata", "timestamp.json")
	for name, change := range map[string]func(p map[string]any){
		"nothing in it":            func(p map[string]any) { clear(p) },
		"another version":          func(p map[string]any) { p["root"] = 3 },
		"no timestamp":             func(p map[string]any) { delete(p, "timestamp") },
		"the timestamp before":     func(p map[string]any) { p["timestamp"] = before },
		"a root that nobody signs": func(p map[string]any) { p["root_data"] = []byte(`{"signatures":[],"signed":{}}`) },
	} {
		t.Run(name, func(t *testing.T) {
			damaged := map[string]any{}
			for k, v := range parts {
				damaged[k] = v
			}
			change(damaged)
			data, err := json.Marshal(damaged)
			if err := errors.Join(err, os.WriteFile(file, data, 0o600), os.WriteFile(timestamp, before, 0o644)); err != nil {
				t.Fatal(err)
			}
			if _, err := r.Prune(t.Context(), true); err == nil || !strings.Contains(err.Error(), ".pending.json") {
				t.Errorf("error %v", err)
			}
			if now := read(t, r, "metadata/timestamp.json"); string(now) != string(before) {
				t.Errorf("the timestamp is %q", now)
			}
		})
	}
	if err := os.WriteFile(file, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Prune(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	check(t, r)
}
