package publish_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/clock"
	"github.com/freshet/freshet/publish"
)

// TestAClockThatJumps signs by clocks at some distance from the last signing.
func TestAClockThatJumps(t *testing.T) {
	t.Parallel()
	const week = 7 * 24 * time.Hour
	start := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	r := newRepoAt(t, start)
	for _, row := range []struct {
		name  string
		jump  time.Duration
		sync  clock.Sync
		force bool
		want  string // "refused", "warned" or ""
	}{
		{"a week to the second is no jump", week, clock.Unsynchronised, false, ""},
		{"a second more is refused where nothing keeps the clock right", week + time.Second, clock.Unsynchronised, false, "refused"},
		{"so are 30 days", 30 * 24 * time.Hour, clock.Unsynchronised, false, "refused"},
		{"unless forced, with a warning", 30 * 24 * time.Hour, clock.Unsynchronised, true, "warned"},
		{"a synchronised clock signs, with a warning", 30 * 24 * time.Hour, clock.Synchronised, false, "warned"},
		{"so does one that cannot be asked about", 30 * 24 * time.Hour, clock.Unknown, false, "warned"},
		{"a clock behind signs, with a warning", -time.Hour, clock.Unsynchronised, false, "warned"},
	} {
		t.Run(row.name, func(t *testing.T) {
			kept := filepath.Join(t.TempDir(), "repo")
			if err := os.CopyFS(kept, os.DirFS(r.Dir)); err != nil {
				t.Fatal(err)
			}
			warned := ""
			own := &publish.Repository{Dir: kept, Force: row.force, Warn: func(text string) {
				if strings.Contains(text, "clock") {
					warned += text
				}
			}, Clock: &clock.Clock{
				Wall: func() time.Time { return start.Add(row.jump) }, Synced: func() clock.Sync { return row.sync },
			}}
			before := files(t, kept)
			_, err := own.Refresh(t.Context())
			var refused *publish.Error
			got := ""
			switch {
			case errors.As(err, &refused) && strings.Contains(refused.Hint, "--force"):
				got = "refused"
			case err != nil:
				t.Fatal(err)
			case warned != "":
				got = "warned"
			}
			if got != row.want {
				t.Errorf("it is %q, want %q (%v, %q)", got, row.want, err, warned)
			}
			if got == "refused" && files(t, kept) != before {
				t.Error("it changed the repository")
			}
		})
	}
}

// TestAllThatSignsIsHeldAgainstTheClock: one that is not would set all endpoints ahead.
func TestAllThatSignsIsHeldAgainstTheClock(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	r := newRepoAt(t, start)
	put(t, r, "b", ten(1))
	r.Clock = &clock.Clock{Wall: func() time.Time { return start.AddDate(0, 0, 30) }, Synced: func() clock.Sync { return clock.Unsynchronised }}
	before := files(t, r.Dir)
	for name, sign := range map[string]func() error{
		"base":    func() error { _, err := tryPut(t, r, "b", ten(2)); return err },
		"refresh": func() error { _, err := r.Refresh(t.Context()); return err },
		"sign":    func() error { _, err := r.Renew(t.Context(), "root"); return err },
		"key": func() error {
			_, err := r.ReplaceKeys(t.Context(), publish.Rotation{What: []string{"timestamp"}})
			return err
		},
		"bundle": func() error {
			_, err := r.Bundle(t.Context(), publish.Bundle{Out: filepath.Join(t.TempDir(), "out"), Valid: 24 * time.Hour})
			return err
		},
	} {
		var refused *publish.Error
		if err := sign(); !errors.As(err, &refused) || !strings.Contains(refused.Reason, "after the last signing") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if files(t, r.Dir) != before {
		t.Error("what was refused changed the repository")
	}
}
