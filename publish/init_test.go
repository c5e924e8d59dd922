package publish_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/publish"
)

func TestInitRoles(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	c := client(t, r)
	if !c.Root.Signed.ConsistentSnapshot {
		t.Error("the repository is without consistent snapshots")
	}
	held := map[string]string{} // key → role
	hold := func(role string, ids []string, threshold, wantKeys, wantThreshold int) {
		if len(ids) != wantKeys || threshold != wantThreshold {
			t.Errorf("%s: %d of %d keys, not %d of %d", role, threshold, len(ids), wantThreshold, wantKeys)
		}
		for _, id := range ids {
			if other, ok := held[id]; ok {
				t.Errorf("a key is shared by %s and %s", role, other)
			}
			held[id] = role
		}
	}
	for name, want := range map[string][2]int{"root": {3, 2}, "targets": {2, 2}, "snapshot": {1, 1}, "timestamp": {1, 1}} {
		hold(name, c.Root.Signed.Roles[name].KeyIDs, c.Root.Signed.Roles[name].Threshold, want[0], want[1])
	}
	delegated := c.Targets["targets"].Signed.Delegations.Roles
	if len(delegated) != 2 || delegated[0].Name != "bases" || delegated[1].Name != "modules" {
		t.Fatalf("delegations: %+v", delegated)
	}
	for i, want := range []struct {
		path            string
		keys, threshold int
	}{{"bases/*.json", 1, 1}, {"modules/*.json", 3, 2}} {
		d := delegated[i]
		hold(d.Name, d.KeyIDs, d.Threshold, want.keys, want.threshold)
		if !d.Terminating || len(d.Paths) != 1 || d.Paths[0] != want.path {
			t.Errorf("%s: terminating %v, paths %q", d.Name, d.Terminating, d.Paths)
		}
	}
}

func TestInitExpiries(t *testing.T) {
	t.Parallel()
	now := time.Now().UTC().Truncate(time.Second)
	dir := t.TempDir()
	r := &publish.Repository{Dir: filepath.Join(dir, "repo")}
	at(r, now)
	if _, err := r.Init(t.Context(), filepath.Join(dir, "keys")); err != nil {
		t.Fatal(err)
	}
	s, err := r.Show()
	if err != nil {
		t.Fatal(err)
	}
	days := map[string]int{"root": 365, "targets": 365, "modules": 90, "bases": 14, "snapshot": 14, "timestamp": 7}
	for _, ro := range s.Roles {
		if want := now.AddDate(0, 0, days[ro.Role]); !ro.Expires.Equal(want) {
			t.Errorf("%s expires at %s, not %s", ro.Role, ro.Expires, want)
		}
	}
	if s.SignedAt != now.Format(time.RFC3339) {
		t.Errorf("signed at %q, not %s", s.SignedAt, now)
	}
	stamp := filepath.Join(r.Dir, "metadata/timestamp.json")
	data, err := os.ReadFile(stamp)
	if err != nil {
		t.Fatal(err)
	}
	forged := bytes.Replace(data, []byte(s.SignedAt), []byte(now.AddDate(0, 0, 3).Format(time.RFC3339)), 1)
	if err := os.WriteFile(stamp, forged, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Show(); err == nil {
		t.Error("a changed time of signing passes for signed")
	}
}

func TestInitKeysArePrivate(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	keys := filepath.Join(filepath.Dir(r.Dir), "keys")
	st, err := os.Stat(keys)
	if err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("folder: %v, %v", st.Mode(), err)
	}
	entries, err := os.ReadDir(keys)
	if err != nil || len(entries) != 11 {
		t.Fatalf("%d keys, %v", len(entries), err)
	}
	for _, e := range entries {
		if st, err := e.Info(); err != nil || st.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", e.Name(), st.Mode(), err)
		}
	}
	if err := os.Chmod(filepath.Join(keys, "online-bases.pem"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := tryPut(t, r, "b", ten(1)); err == nil || !strings.Contains(err.Error(), "read by others") {
		t.Errorf("a key that others can read is used: %v", err)
	}
}

func TestInitRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	done := newRepo(t)
	full := filepath.Dir(writeFile(t, filepath.Join(dir, "full/letter.txt"), "dear"))
	for _, row := range []struct{ name, repo, keys, want string }{
		{"a repository that is complete", done.Dir, filepath.Join(dir, "k1"), "repository already"},
		{"a folder that holds something else", full, filepath.Join(dir, "k2"), "not empty"},
		{"keys that it did not make", filepath.Join(dir, "r3"), filepath.Join(filepath.Dir(done.Dir), "keys"), "not empty"},
		{"keys inside the repository", filepath.Join(dir, "r4"), filepath.Join(dir, "r4/keys"), "lies in the repository"},
	} {
		t.Run(row.name, func(t *testing.T) {
			before := files(t, filepath.Dir(done.Dir)) + files(t, dir)
			_, err := (&publish.Repository{Dir: row.repo}).Init(t.Context(), row.keys)
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("error %v, want %q", err, row.want)
			}
			if files(t, filepath.Dir(done.Dir))+files(t, dir) != before {
				t.Error("the refusal changed something")
			}
		})
	}
}

func TestInitCutShortIsCompleted(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	// A file takes five steps: every third step shows each of them.
	for n := 1; ; n += 3 {
		dir := t.TempDir()
		left := n
		r := &publish.Repository{Dir: filepath.Join(dir, "repo"), Disk: &durable.Disk{Step: func(_, path string) error {
			if strings.Contains(path, "offline-") {
				return nil // eight keys like the online three
			}
			if left--; left == 0 {
				return boom
			}
			return nil
		}}}
		_, err := r.Init(t.Context(), filepath.Join(dir, "keys"))
		if err == nil {
			if n < 50 {
				t.Fatalf("done in %d steps: the test does not see them", n)
			}
			return
		}
		_, statErr := os.Stat(filepath.Join(r.Dir, "metadata/timestamp.json"))
		r.Disk = nil
		if _, err := r.Init(t.Context(), filepath.Join(dir, "keys")); (err == nil) == (statErr == nil) {
			t.Fatalf("cut short at step %d, begun again: %v", n, err)
		}
		check(t, r)
	}
}
