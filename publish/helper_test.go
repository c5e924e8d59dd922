package publish_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/internal/clock"
	"github.com/freshet/freshet/internal/delta"
	"github.com/freshet/freshet/publish"
)

// lines are n records that differ by a seed.
func lines(seed, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%08x.example\n", uint32(i*2654435761+seed*40503))
	}
	return b.String()
}

// ten are the records of a small base with one that tells n apart.
func ten(n int) string { return lines(0, 1000) + fmt.Sprintf("version-%d.example\n", n) }

func writeFile(t *testing.T, path, content string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func newRepo(t *testing.T) *publish.Repository { return newRepoAt(t, time.Time{}) }

// newRepoAt is one whose clock stands; zero: it goes.
func newRepoAt(t *testing.T, now time.Time) *publish.Repository {
	t.Helper()
	dir := t.TempDir()
	r := &publish.Repository{Dir: filepath.Join(dir, "repo")}
	if !now.IsZero() {
		at(r, now)
	}
	if _, err := r.Init(t.Context(), filepath.Join(dir, "keys")); err != nil {
		t.Fatal(err)
	}
	check(t, r)
	return r
}

// at sets the repository's clock.
func at(r *publish.Repository, now time.Time) {
	r.Clock = &clock.Clock{Wall: func() time.Time { return now }}
}

// put publishes content as the next version of a base.
func put(t *testing.T, r *publish.Repository, name, content string, change ...func(*publish.Release)) *publish.Released {
	t.Helper()
	done, err := tryPut(t, r, name, content, change...)
	if err != nil {
		t.Fatal(err)
	}
	check(t, r)
	return done
}

// daysAgo has a version published some days ago.
func daysAgo(n int) func(*publish.Release) {
	return func(rel *publish.Release) { rel.Published = time.Now().Add(-time.Duration(n) * 24 * time.Hour) }
}

func tryPut(t *testing.T, r *publish.Repository, name, content string, change ...func(*publish.Release)) (*publish.Released, error) {
	t.Helper()
	rel := publish.Release{Name: name, Path: writeFile(t, filepath.Join(t.TempDir(), name+".txt"), content)}
	for _, c := range change {
		c(&rel)
	}
	return r.Publish(t.Context(), rel)
}

// check asserts what must hold after every step: the files alone, read as an
// agent reads them, are valid and whole, and nothing half written lies about.
func check(t *testing.T, r *publish.Repository) {
	t.Helper()
	client(t, r)
	v, err := r.Verify(t.Context())
	if err != nil {
		t.Fatalf("verify: %v", err)
	}
	if len(v.Wrong) > 0 {
		t.Fatalf("verify: %q", v.Wrong)
	}
	err = filepath.WalkDir(r.Dir, func(p string, _ os.DirEntry, err error) error {
		if strings.Contains(p, ".tmp-") {
			t.Errorf("left half written: %s", p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// client reads the metadata with go-tuf, in the order of the specification's
// client workflow, starting from the first root.
func client(t *testing.T, r *publish.Repository) *trustedmetadata.TrustedMetadata {
	t.Helper()
	read := func(format string, args ...any) []byte {
		data, err := os.ReadFile(filepath.Join(r.Dir, "metadata", fmt.Sprintf(format, args...)))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	c, err := trustedmetadata.New(read("1.root.json"))
	if err != nil {
		t.Fatal(err)
	}
	c.RefTime = r.Clock.Now()
	for n := 2; ; n++ {
		if _, err := os.Stat(filepath.Join(r.Dir, fmt.Sprintf("metadata/%d.root.json", n))); err != nil {
			break
		}
		if _, err := c.UpdateRoot(read("%d.root.json", n)); err != nil {
			t.Fatal(err)
		}
	}
	_, err1 := c.UpdateTimestamp(read("timestamp.json"))
	_, err2 := c.UpdateSnapshot(read("%d.snapshot.json", c.Timestamp.Signed.Meta["snapshot.json"].Version), false)
	_, err3 := c.UpdateTargets(read("%d.targets.json", c.Snapshot.Signed.Meta["targets.json"].Version))
	_, err4 := c.UpdateDelegatedTargets(read("%d.bases.json", c.Snapshot.Signed.Meta["bases.json"].Version), "bases", "targets")
	_, err5 := c.UpdateDelegatedTargets(read("%d.modules.json", c.Snapshot.Signed.Meta["modules.json"].Version), "modules", "targets")
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		t.Fatal(err)
	}
	return c
}

// manifest reads the newest manifest of a base as an agent does.
func manifest(t *testing.T, r *publish.Repository, name string) *bases.Manifest {
	t.Helper()
	target, ok := client(t, r).Targets["bases"].Signed.Targets["bases/"+name+".json"]
	if !ok {
		t.Fatalf("no base %s", name)
	}
	data, err := os.ReadFile(filepath.Join(r.Dir, "targets/bases", fmt.Sprintf("%x.%s.json", []byte(target.Hashes["sha256"]), name)))
	if err != nil {
		t.Fatal(err)
	}
	if err := target.VerifyLengthHashes(data); err != nil {
		t.Fatal(err)
	}
	m, err := bases.ParseManifest(name, data)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// index reads the delta index of a manifest.
func index(t *testing.T, r *publish.Repository, m *bases.Manifest) *bases.Index {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(r.Dir, m.Index.Path()))
	if err != nil {
		t.Fatal(err)
	}
	x, err := bases.ParseIndex(m.Name, m.Version, data)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// files lists the repository's files with their content's length.
func files(t *testing.T, dir string) string {
	t.Helper()
	list := map[string]int64{}
	err := filepath.WalkDir(dir, func(p string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		st, err := e.Info()
		list[p] = st.Size()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// treeFiles gives the paths in the newest version of a base that is a folder and
// has a full image.
func treeFiles(t *testing.T, r *publish.Repository, name string) (paths []string) {
	t.Helper()
	for _, c := range contents(t, r, name) {
		paths = append(paths, c.Path)
	}
	return paths
}

// contents gives the files of a version that has a full image.
func contents(t *testing.T, r *publish.Repository, name string) []bases.Content {
	t.Helper()
	m := manifest(t, r, name)
	patch, err := os.ReadFile(filepath.Join(r.Dir, m.Full.Path()))
	if err != nil {
		t.Fatal(err)
	}
	var image bytes.Buffer
	if err := delta.Apply(t.Context(), &image, bytes.NewReader(nil), 0, bytes.NewReader(patch), int64(len(patch)), m.Image.Size); err != nil {
		t.Fatal(err)
	}
	files, err := bases.Contents(m.Image.Kind, image.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return files
}
