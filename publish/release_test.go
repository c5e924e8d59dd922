package publish_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/publish"
)

func TestPublishVersions(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	for n := 1; n <= 6; n++ {
		done := put(t, r, "domains", ten(n))
		if done.Version != int64(n) || done.Unchanged || done.Records != 1001 {
			t.Fatalf("version %d: %+v", n, done)
		}
	}
	m := manifest(t, r, "domains")
	var from []int64
	for _, d := range m.Deltas {
		from = append(from, d.From)
	}
	if !slices.Equal(from, []int64{5, 4, 3, 1}) {
		t.Errorf("the manifest has deltas from %v", from)
	}
	x := index(t, r, m)
	if len(x.Deltas) != 1 || x.Deltas[0].From != 2 {
		t.Errorf("the index has the deltas %+v, not the fourth", x.Deltas)
	}
	if m.Start == nil || m.Start.Version != 1 {
		t.Errorf("the full image is that of %+v, not of the first version of the day", m.Start)
	}
	if len(x.Checkpoints) != 1 || x.Checkpoints[0].Version != 1 {
		t.Errorf("the checkpoints are %+v", x.Checkpoints)
	}
	if m.Image.File != "domains.txt" || m.Image.Kind != bases.KindFile {
		t.Errorf("image %+v", m.Image)
	}
	if m.Stale != bases.DefaultThresholds {
		t.Errorf("thresholds %+v", m.Stale)
	}
}

func TestPublishTree(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "a/one.rule"), lines(1, 500))
	writeFile(t, filepath.Join(dir, "two.rule"), lines(2, 500))
	rel := publish.Release{Name: "rules", Path: dir, Every: 48 * time.Hour}
	if _, err := r.Publish(t.Context(), rel); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "two.rule"), filepath.Join(dir, "a/three.rule")); err != nil {
		t.Fatal(err)
	}
	done, err := r.Publish(t.Context(), rel)
	if err != nil {
		t.Fatal(err)
	}
	check(t, r)
	m := manifest(t, r, "rules")
	if m.Image.Kind != bases.KindTree || m.Image.File != "" || m.Records != 1000 {
		t.Errorf("%+v, %d records", m.Image, m.Records)
	}
	if m.Stale != bases.ThresholdsFor(48*time.Hour) {
		t.Errorf("thresholds %+v", m.Stale)
	}
	if done.Delta > 200 {
		t.Errorf("a renamed file costs a delta of %d bytes", done.Delta)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Publish(t.Context(), rel); err == nil || !strings.Contains(err.Error(), "link") {
		t.Errorf("a tree with a link: %v", err)
	}
}

func TestPublishRefuses(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	r := newRepoAt(t, now)
	put(t, r, "b", ten(3), func(r *publish.Release) { r.Version = 3 })
	type change = func(*publish.Release)
	for _, row := range []struct {
		name, content, want string
		change              change
	}{
		{"an empty file", "", "is empty", nil},
		{"a file of comments alone", "# nothing\n\n", "no records", nil},
		{"less than half of the records", lines(0, 500), "500 records where version 3 has 1001", nil},
		{"ten times the records", lines(0, 10010), "--allow-growth", nil},
		{"ten times the bytes", strings.Repeat(strings.Repeat("x", 170)+"\n", 1001), "bytes where version 3 has", nil},
		{"less than half of the bytes", strings.Repeat("x\n", 1001), "bytes where version 3 has", nil},
		{"fewer records than the floor", ten(9), "floor is 5000", func(r *publish.Release) { r.MinRecords = 5000 }},
		{"fewer records than the floor, shrunk on purpose", lines(0, 10), "floor is 900", func(r *publish.Release) { r.Shrink, r.MinRecords = "cleaned", 900 }},
		{"a record that is missing", ten(9), "lacks the record", func(r *publish.Release) { r.MustHave = []string{"evil.example"} }},
		{"a record that must not be there", ten(9), "must not be there", func(r *publish.Release) { r.MustLack = []string{"version-9.example"} }},
		{"a version that was there", ten(9), "not above version 3", func(r *publish.Release) { r.Version = 2 }},
		{"the newest version with other content", ten(9), "not above version 3", func(r *publish.Release) { r.Version = 3 }},
		{"a publication 6 minutes ahead", ten(9), "ahead of the clock", func(r *publish.Release) { r.Published = now.Add(6 * time.Minute) }},
		{"a publication before the last one", ten(9), "before that of version 3", func(r *publish.Release) { r.Published = now.Add(-time.Second) }},
		{"a name with a slash", ten(9), "no name", func(r *publish.Release) { r.Name = "a/b" }},
		{"a file name with a slash", ten(9), "no file name", func(r *publish.Release) { r.File = "../x" }},
		{"notes that no agent takes", ten(9), "shorten the notes", func(r *publish.Release) { r.Notes = strings.Repeat("x", bases.MaxManifest) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			before := metadataFiles(t, r)
			if row.change == nil {
				row.change = func(*publish.Release) {}
			}
			_, err := tryPut(t, r, "b", row.content, row.change)
			var refusal *publish.Error
			if !errors.As(err, &refusal) || !strings.Contains(refusal.Reason+refusal.Hint, row.want) {
				t.Fatalf("error %v, want a refusal with %q", err, row.want)
			}
			if metadataFiles(t, r) != before {
				t.Error("the refusal changed the metadata")
			}
			check(t, r)
		})
	}
}

func metadataFiles(t *testing.T, r *publish.Repository) string {
	return files(t, filepath.Join(r.Dir, "metadata")) + files(t, filepath.Join(r.Dir, "targets"))
}

func TestPublishAccepts(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for _, row := range []struct {
		name, content string
		change        func(*publish.Release)
	}{
		{"exactly half of the records", lines(0, 501), func(*publish.Release) {}},
		{"a publication 5 minutes ahead", ten(9), func(r *publish.Release) { r.Published = now.Add(5 * time.Minute) }},
		{"a publication at the time of the last one", ten(9), func(r *publish.Release) { r.Published = now }},
		{"a version far above the last", ten(9), func(r *publish.Release) { r.Version = 20260501 }},
		{"five times the records", lines(0, 5005), func(*publish.Release) {}},
		{"a large version for a reason", lines(0, 10010), func(r *publish.Release) { r.Growth = "two lists became one" }},
		{"a small version for a reason", lines(0, 1), func(r *publish.Release) { r.Shrink = "split in two" }},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRepoAt(t, now)
			put(t, r, "b", ten(3))
			if done := put(t, r, "b", row.content, row.change); done.Unchanged || done.Version < 2 {
				t.Errorf("%+v", done)
			}
		})
	}
}

func TestPublishSameContent(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	r := newRepoAt(t, now)
	put(t, r, "b", ten(1))
	put(t, r, "b", ten(2))
	before := files(t, r.Dir)
	at(r, now.Add(59*time.Minute))
	if done := put(t, r, "b", ten(2)); !done.Unchanged || done.Version != 2 {
		t.Errorf("within the hour: %+v", done)
	}
	if files(t, r.Dir) != before {
		t.Error("publishing the same content again changed something")
	}
	at(r, now.Add(60*time.Minute))
	done := put(t, r, "b", ten(2))
	if done.Unchanged || done.Version != 3 || done.Delta > 100 {
		t.Errorf("after an hour: %+v", done)
	}
	m := manifest(t, r, "b")
	if len(m.Deltas) != 2 {
		t.Errorf("deltas %+v", m.Deltas)
	}
	for _, c := range []struct {
		name string
		give func(*publish.Release)
	}{
		{"a floor", func(r *publish.Release) { r.MinRecords = 10 }},
		{"a sample", func(r *publish.Release) { r.MustLack = []string{"good.example"} }},
		{"another pace", func(r *publish.Release) { r.Every = 48 * time.Hour }},
		{"notes", func(r *publish.Release) { r.Every, r.Notes = 48*time.Hour, "Nothing new." }},
	} {
		if done := put(t, r, "b", ten(2), c.give); done.Unchanged {
			t.Errorf("the same content with %s: %+v", c.name, done)
		}
		if done := put(t, r, "b", ten(2), c.give); !done.Unchanged {
			t.Errorf("the same content with %s again: %+v", c.name, done)
		}
	}
	done = put(t, r, "b", ten(2), func(r *publish.Release) { r.Every, r.Version = 48*time.Hour, 7 })
	if !done.Unchanged {
		t.Errorf("the version by its number again: %+v", done)
	}
}

func TestPublishRemembers(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	put(t, r, "b", ten(1), func(r *publish.Release) {
		r.MinRecords, r.MustHave, r.MustLack, r.File = 900, []string{"version-1.example"}, []string{"good.example"}, "b.list"
	})
	if _, err := tryPut(t, r, "b", ten(2)); err == nil || !strings.Contains(err.Error(), "lacks the record") {
		t.Errorf("the sample is forgotten: %v", err)
	}
	put(t, r, "b", ten(2), func(r *publish.Release) { r.MustHave = []string{""} })
	m := manifest(t, r, "b")
	if m.Checks.MinRecords != 900 || len(m.Checks.MustHave) != 0 || len(m.Checks.MustLack) != 1 || m.Image.File != "b.list" {
		t.Errorf("%+v, file %q", m.Checks, m.Image.File)
	}
	put(t, r, "b", lines(0, 950), func(r *publish.Release) { r.Notes, r.Shrink = "Cleaned.", "duplicates" })
	if m := manifest(t, r, "b"); m.Notes != "Cleaned.\n\nSmaller on purpose: duplicates" {
		t.Errorf("notes %q", m.Notes)
	}
}

func TestPublishWithoutAnOldImage(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	put(t, r, "b", ten(1))
	old := manifest(t, r, "b").Full.Path()
	put(t, r, "b", ten(2))
	if err := os.WriteFile(filepath.Join(r.Dir, old), []byte("rubbish"), 0o644); err != nil {
		t.Fatal(err)
	}
	done, err := tryPut(t, r, "b", ten(3))
	if err != nil || len(done.Warnings) != 2 || done.Deltas != 0 { // version 2 is built from version 1
		t.Errorf("%+v, %v", done, err)
	}
	if m := manifest(t, r, "b"); m.Start != nil || m.Full.Path() == old {
		t.Errorf("the full image is that of %+v", m.Start)
	}
	v, err := r.Verify(t.Context())
	if err != nil || len(v.Wrong) != 1 {
		t.Errorf("verify: %+v, %v", v, err)
	}
}

func TestPublishWithoutTheIndex(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	put(t, r, "b", ten(1))
	put(t, r, "b", ten(2))
	if err := os.Remove(filepath.Join(r.Dir, manifest(t, r, "b").Index.Path())); err != nil {
		t.Fatal(err)
	}
	done, err := tryPut(t, r, "b", ten(3))
	if err != nil || len(done.Warnings) != 1 || done.Deltas != 2 {
		t.Errorf("%+v, %v", done, err)
	}
	check(t, r)
	put(t, r, "b", ten(4))
	if _, err := r.Prune(t.Context(), false); err != nil {
		t.Errorf("pruning: %v", err)
	}
	check(t, r)
}

func TestPublishNeedsOnlineKeysAlone(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	offline, err := filepath.Glob(filepath.Join(filepath.Dir(r.Dir), "keys/offline-*.pem"))
	if err != nil || len(offline) != 8 {
		t.Fatal(offline, err)
	}
	for _, f := range offline {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	put(t, r, "b", ten(1))
	if err := os.Remove(filepath.Join(filepath.Dir(r.Dir), "keys/online-bases.pem")); err != nil {
		t.Fatal(err)
	}
	if _, err := tryPut(t, r, "b", ten(2)); err == nil || !strings.Contains(err.Error(), "signing bases takes 1") {
		t.Errorf("without the key of bases: %v", err)
	}
}
