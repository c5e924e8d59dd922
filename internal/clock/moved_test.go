//go:build testclock

package clock_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/clock"
)

func TestMoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clock")
	written := time.Now().Add(-10 * time.Minute)
	rows := map[string]struct {
		text  string
		want  time.Time // at the least; a minute later at the most, of its own
		timer time.Duration
		sync  clock.Sync
	}{
		"an offset":              {"72h", time.Now().Add(72 * time.Hour), time.Hour, clock.Unsynchronised},
		"an offset behind":       {"-48h\n", time.Now().Add(-48 * time.Hour), time.Hour, clock.Unsynchronised},
		"an offset and a factor": {"24h x60", written.Add(24*time.Hour + 600*time.Minute), time.Minute, clock.Unsynchronised},
		"slower":                 {"0s x0.5", written.Add(5 * time.Minute), 2 * time.Hour, clock.Unsynchronised},
		"a time":                 {"2030-01-02T03:04:05Z", time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC), time.Hour, clock.Unsynchronised},
		"synchronised":           {"72h synchronised", time.Now().Add(72 * time.Hour), time.Hour, clock.Synchronised},
		"a time, synchronised":   {"2030-01-02T03:04:05Z synchronised", time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC), time.Hour, clock.Synchronised},
		"all of it":              {"24h x60 synchronised", written.Add(24*time.Hour + 600*time.Minute), time.Minute, clock.Synchronised},
		"asleep":                 {"8h asleep", time.Now().Add(8 * time.Hour), time.Hour, clock.Unsynchronised},
	}
	for name, row := range rows {
		if err := os.WriteFile(path, []byte(row.text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, written, written); err != nil {
			t.Fatal(err)
		}
		c, err := clock.Moved(path)
		if err != nil {
			t.Fatal(err)
		}
		if ahead := c.Now().Sub(row.want); ahead < 0 || ahead > time.Hour {
			t.Errorf("%s: %s from the time wanted", name, ahead)
		}
		if got := c.Timer(time.Hour); got != row.timer {
			t.Errorf("%s: an hour takes %s, want %s", name, got, row.timer)
		}
		if got := c.Read().Sync; got != row.sync {
			t.Errorf("%s: synchronised: %v, want %v", name, got, row.sync)
		}
		slept := (c.SinceBoot() - (*clock.Clock)(nil).SinceBoot()).Round(time.Minute)
		if want := map[bool]time.Duration{true: 8 * time.Hour}[name == "asleep"]; slept != want {
			t.Errorf("%s: the machine slept for %s, want %s", name, slept, want)
		}
	}
	for _, text := range []string{"", "x60", "1h 60", "1h x0", "1h x-1", "1h xx", "soon", "1h x2 more", "1h awake", "asleep", "synchronised", "1h synchronized"} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := clock.Moved(path); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}
