package publish_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/publish"
)

// age sets back the times of all files, as if the repository had been left
// alone for d.
func age(t *testing.T, r *publish.Repository, d time.Duration) {
	t.Helper()
	err := filepath.WalkDir(r.Dir, func(p string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		st, err := e.Info()
		if err != nil {
			return err
		}
		return os.Chtimes(p, st.ModTime().Add(-d), st.ModTime().Add(-d))
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestPruneKeepsTheLastHours(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	put(t, r, "b", ten(1))
	first := manifest(t, r, "b")
	put(t, r, "b", ten(2))
	stale := manifest(t, r, "b")
	put(t, r, "b", ten(3))
	writeFile(t, filepath.Join(r.Dir, "blobs", strings.Repeat("a", 64)), "left by a killed run")
	p, err := r.Prune(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range []*bases.Blob{index(t, r, first).Images, index(t, r, stale).Images} {
		if !slices.Contains(p.Files, list.Path()) {
			t.Errorf("%s, of which the newest version has another, is not pruned", list.Path())
		}
	}
	if len(p.Files) != 3 || !strings.Contains(strings.Join(p.Files, " "), "aaaa") {
		t.Errorf("pruned %q", p.Files)
	}
	check(t, r)

	age(t, r, 3*time.Hour)
	put(t, r, "b", ten(4)) // version 3 is superseded just now, version 2 three hours ago
	before := files(t, r.Dir)
	dry, err := r.Prune(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	if files(t, r.Dir) != before {
		t.Error("a dry run removed something")
	}
	p, err = r.Prune(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Join(p.Files, " ") != strings.Join(dry.Files, " ") || p.Bytes != dry.Bytes {
		t.Errorf("pruned %q, the dry run said %q", p.Files, dry.Files)
	}
	check(t, r)
	if _, err := os.Stat(filepath.Join(r.Dir, stale.Index.Path())); err == nil {
		t.Error("the delta index of version 2 is there three hours after it was superseded")
	}
	for _, kept := range []string{"metadata/1.root.json", "metadata/4.bases.json", "metadata/5.bases.json", first.Full.Path()} {
		if _, err := os.Stat(filepath.Join(r.Dir, kept)); err != nil {
			t.Errorf("%s is gone", kept)
		}
	}
	if _, err := os.Stat(filepath.Join(r.Dir, "metadata/3.bases.json")); err == nil {
		t.Error("metadata superseded three hours ago is there")
	}
	if _, err := os.Stat(filepath.Join(r.Dir, stale.Deltas[0].Path())); err != nil {
		t.Error("the delta that version 2 is built from is gone")
	}
	put(t, r, "b", ten(5))
	if d := manifest(t, r, "b").Deltas; len(d) != 4 {
		t.Errorf("deltas %v: not from all versions before, of which one has a full image", d)
	}
	check(t, r)
}

func TestPruneKeepsAFullImageForHours(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	put(t, r, "b", ten(1), daysAgo(1))
	stale := manifest(t, r, "b")
	put(t, r, "b", ten(2))
	for _, row := range []struct {
		after time.Duration
		there bool
	}{{time.Hour, true}, {90 * time.Minute, false}} {
		age(t, r, row.after)
		if _, err := r.Prune(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		for _, b := range []string{stale.Full.Path(), stale.Index.Path()} {
			_, err := os.Stat(filepath.Join(r.Dir, b))
			if there := err == nil; there != row.there {
				t.Errorf("%v later %s of version 1 is there: %v", row.after, b, there)
			}
		}
		check(t, r)
	}
	put(t, r, "b", ten(3))
	if d := manifest(t, r, "b").Deltas; len(d) != 2 {
		t.Errorf("deltas %v: none from version 1, which is built from version 2", d)
	}
	check(t, r)
}

func TestPruneKeepsFarIndexes(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	put(t, r, "b", ten(1), daysAgo(2))
	put(t, r, "b", ten(2), daysAgo(1))
	put(t, r, "b", ten(3))
	age(t, r, 25*time.Hour)
	put(t, r, "b", ten(4))
	age(t, r, 25*time.Hour)
	p, err := r.Prune(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Files) == 0 {
		t.Error("nothing was pruned")
	}
	check(t, r)
	far := index(t, r, manifest(t, r, "b")).Checkpoints[1].Far
	if _, err := os.Stat(filepath.Join(r.Dir, far.Path())); err != nil {
		t.Fatal(err)
	}

	// What is lost cannot say what to keep, and no agent comes by it: the rest is
	// pruned, and it is told.
	if err := os.Remove(filepath.Join(r.Dir, far.Path())); err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(r.Dir, "blobs", strings.Repeat("a", 64))
	writeFile(t, left, "left by a killed run")
	var told []string
	r.Warn = func(text string) { told = append(told, text) }
	if _, err := r.Prune(t.Context(), false); err != nil || len(told) != 1 || !strings.Contains(told[0], "far index of base b version 2") {
		t.Errorf("with a far index lost: %v, told %q", err, told)
	}
	if _, err := os.Stat(left); err == nil {
		t.Error("it did not prune")
	}
	put(t, r, "b", ten(5)) // lets go of it; check follows every path that is left
}
