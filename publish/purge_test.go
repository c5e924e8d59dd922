package publish_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/delta"
	"github.com/freshet/freshet/publish"
)

// checkNothingLeadsTo tries every blob of the repository on every content: none
// may lead to the one that was purged.
func checkNothingLeadsTo(t *testing.T, r *publish.Repository, secret string, contents []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(r.Dir, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		patch, err := os.ReadFile(filepath.Join(r.Dir, "blobs", e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(patch, []byte(secret)) {
			t.Errorf("blob %s holds it", e.Name())
		}
		for _, old := range append(contents, "") {
			var out bytes.Buffer
			err := delta.Apply(t.Context(), &out, strings.NewReader(old), int64(len(old)), bytes.NewReader(patch), int64(len(patch)), int64(len(secret)))
			if err == nil && out.String() == secret {
				t.Errorf("blob %s leads to it", e.Name())
			}
		}
	}
}

func TestAPurgedVersionIsOutOfTheRepositoryAtOnce(t *testing.T) {
	t.Parallel()
	content := func(n int) string { return lines(0, 60) + lines(n, 3) }
	for _, row := range []struct {
		name   string
		days   []int // before now, a version each
		purge  []int64
		same   int64 // the version that has the content of the purged one, too
		images int   // that are kept another way
		deltas int   // to the newest version, after it
	}{
		{"one in the middle of a day", []int{0, 0, 0, 0}, []int64{2}, 0, 0, 2},
		{"the one that all others are built from", []int{0, 0, 0, 0}, []int64{1}, 0, 3, 2},
		{"two", []int{0, 0, 0, 0}, []int64{1, 3}, 0, 2, 1},
		{"one whose content came again", []int{0, 0, 0, 0, 0}, []int64{2}, 4, 0, 2},
		{"a checkpoint of a day before", []int{2, 1, 1, 0, 0}, []int64{2}, 0, 2, 3},
		{"a version that a checkpoint is reached from", []int{2, 1, 1, 0, 0}, []int64{1}, 0, 0, 3},
		{"the newest checkpoint", []int{2, 1, 1, 0, 0}, []int64{4}, 0, 4, 3},
		{"a milestone", []int{8, 7, 6, 5, 4, 3, 2, 1, 0, 0}, []int64{7}, 0, 6, 8},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRepo(t)
			var kept []string
			secret := ""
			for i, days := range row.days {
				v := int64(i + 1)
				c := content(i + 1)
				if v == row.same {
					c = secret
				} else if v == row.purge[0] {
					secret = c
				} else {
					kept = append(kept, c)
				}
				put(t, r, "b", c, daysAgo(days))
			}
			put(t, r, "other", lines(9, 5))
			before := manifest(t, r, "b")
			done, err := r.Purge(t.Context(), "b", row.purge, false)
			if err != nil {
				t.Fatal(err)
			}
			check(t, r)
			checkNothingLeadsTo(t, r, secret, kept)
			m := manifest(t, r, "b")
			if m.Version != before.Version || m.Image != before.Image || !m.Published.Equal(before.Published) || !done.Signed {
				t.Errorf("the newest version is %+v, was %+v", m, before)
			}
			if row.same > 0 && !slices.Contains(done.Versions, row.same) {
				t.Errorf("purged %v", done.Versions)
			}
			s, err := r.Show()
			if err != nil {
				t.Fatal(err)
			}
			if got := len(s.Bases[0].Deltas); got != row.deltas || done.Images != row.images {
				t.Errorf("%d deltas lead to it, want %d; %d images are kept another way, want %d", got, row.deltas, done.Images, row.images)
			}
			for _, d := range s.Bases[0].Deltas {
				if slices.Contains(done.Versions, d.From) {
					t.Errorf("a delta leads on from version %d", d.From)
				}
			}
			// Again, there is nothing to do, and the base goes on.
			if again, err := r.Purge(t.Context(), "b", row.purge, false); err != nil || again.Signed || len(again.Files) != 0 {
				t.Errorf("again: %+v, %v", again, err)
			}
			put(t, r, "b", content(90))
			checkNothingLeadsTo(t, r, secret, kept)
		})
	}
}

func TestWhatCannotBePurged(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	put(t, r, "b", lines(0, 20))
	put(t, r, "b", lines(0, 21))
	put(t, r, "b", lines(0, 20), func(rel *publish.Release) { rel.Every = time.Nanosecond })
	before := files(t, r.Dir)
	for _, row := range []struct {
		name, base string
		version    int64
		want       string
	}{
		{"the newest", "b", 3, "the newest"},
		{"one that has the newest one's content", "b", 1, "the newest"},
		{"one to come", "b", 4, "there is no 4"},
		{"none", "b", 0, "begin with 1"},
		{"another base", "c", 1, "there is no base c"},
	} {
		if _, err := r.Purge(t.Context(), row.base, []int64{row.version}, false); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v", row.name, err)
		}
	}
	if done, err := r.Purge(t.Context(), "b", []int64{2}, true); err != nil || !done.Signed || len(done.Files) != 0 {
		t.Errorf("a dry run: %+v, %v", done, err)
	}
	if files(t, r.Dir) != before {
		t.Error("the repository changed")
	}
}
