package publish_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/publish"
)

func signed(states []publish.RoleState) string {
	var names []string
	for _, s := range states {
		if s.Signed {
			names = append(names, s.Role)
		}
	}
	return strings.Join(names, " ")
}

func TestRefresh(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	const days = 24 * time.Hour
	for _, row := range []struct {
		name  string
		after time.Duration
		want  string
	}{
		{"after a day only the timestamp is signed", days, "timestamp"},
		{"at half their life bases and the snapshot wait still", 7 * days, "timestamp"},
		{"after half their life bases and the snapshot are signed", 7*days + time.Second, "bases snapshot timestamp"},
		{"after all online roles expired they are signed", 40 * days, "bases snapshot timestamp"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRepoAt(t, start)
			at(r, start.Add(row.after))
			states, err := r.Refresh(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got := signed(states); got != row.want {
				t.Errorf("signed %q, want %q", got, row.want)
			}
			check(t, r)
		})
	}
}

func TestRefreshPointsOutOfflineRoles(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	r := newRepoAt(t, start)
	for _, row := range []struct {
		days int
		want string
	}{{60, ""}, {61, "modules"}, {336, "root targets modules"}} {
		now := start.AddDate(0, 0, row.days)
		at(r, now)
		states, err := r.Refresh(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var due []string
		for _, s := range states {
			if s.DueSoon(now) {
				due = append(due, s.Role)
			}
		}
		if got := strings.Join(due, " "); got != row.want {
			t.Errorf("after %d days %q are due, want %q", row.days, got, row.want)
		}
	}
}

func TestRefreshWithTheTimestampKeyAlone(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	r := newRepoAt(t, start)
	keys := filepath.Join(filepath.Dir(r.Dir), "keys")
	only := filepath.Join(filepath.Dir(r.Dir), "only")
	if err := os.Mkdir(only, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(keys, "online-timestamp.pem"), filepath.Join(only, "online-timestamp.pem")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(keys); err != nil {
		t.Fatal(err)
	}
	r.Keys = []string{only}
	at(r, start.AddDate(0, 0, 8))
	states, err := r.Refresh(t.Context())
	if err != nil || signed(states) != "timestamp" {
		t.Errorf("%q, %v", signed(states), err)
	}
	check(t, r)
}

func TestRenew(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for role, want := range map[string]string{
		"root":      "root timestamp",
		"targets":   "targets snapshot timestamp",
		"modules":   "modules snapshot timestamp",
		"bases":     "bases snapshot timestamp",
		"timestamp": "timestamp",
	} {
		t.Run(role+" is renewed", func(t *testing.T) {
			r := newRepoAt(t, start)
			now := start.AddDate(0, 0, 80)
			at(r, now)
			// The offline keys lie on two media.
			keys := filepath.Join(filepath.Dir(r.Dir), "keys")
			for _, pattern := range []string{"offline-*-1.pem", "offline-*-2.pem"} {
				medium := t.TempDir()
				found, err := filepath.Glob(filepath.Join(keys, pattern))
				if err != nil || len(found) != 3 {
					t.Fatal(found, err)
				}
				for _, f := range found {
					if err := os.Rename(f, filepath.Join(medium, filepath.Base(f))); err != nil {
						t.Fatal(err)
					}
				}
				r.Keys = append(r.Keys, medium)
			}
			states, err := r.Renew(t.Context(), role)
			if err != nil {
				t.Fatal(err)
			}
			if got := signed(states); got != want {
				t.Errorf("signed %q, want %q", got, want)
			}
			for _, s := range states {
				if s.Role == role && s.Expires.Sub(now) < 6*24*time.Hour {
					t.Errorf("%s expires at %s", role, s.Expires)
				}
			}
			if _, err := r.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			check(t, r)
		})
	}
}

func TestRenewNeedsTheThreshold(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	keys := filepath.Join(filepath.Dir(r.Dir), "keys")
	for _, f := range []string{"offline-root-1.pem", "offline-root-3.pem"} {
		if err := os.Remove(filepath.Join(keys, f)); err != nil {
			t.Fatal(err)
		}
	}
	before := files(t, r.Dir)
	_, err := r.Renew(t.Context(), "root")
	if err == nil || !strings.Contains(err.Error(), "takes 2 of its 3 keys, of which 1") {
		t.Errorf("one key of root: %v", err)
	}
	if _, err := r.Renew(t.Context(), "mirror"); err == nil {
		t.Error("a role that is not there was renewed")
	}
	if files(t, r.Dir) != before {
		t.Error("the refusal changed something")
	}
}
