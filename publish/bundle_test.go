package publish_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/internal/clock"
	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/source"
	"github.com/freshet/freshet/publish"
)

const day = 24 * time.Hour

func TestABundleLivesLongAndBelowItsRepository(t *testing.T) {
	r := newRepo(t)
	now := time.Now().UTC().Truncate(time.Second)
	at(r, now)
	put(t, r, "hosts", ten(1))
	before := client(t, r)
	out := filepath.Join(t.TempDir(), "bundle")
	done, err := r.Bundle(t.Context(), publish.Bundle{Out: out})
	if err != nil {
		t.Fatal(err)
	}
	check(t, r)
	after, in := client(t, r), client(t, &publish.Repository{Dir: out, Clock: r.Clock})
	for _, row := range []struct {
		role          string
		old, mid, new int64
		long, usual   time.Time
	}{
		{"timestamp", before.Timestamp.Signed.Version, in.Timestamp.Signed.Version, after.Timestamp.Signed.Version, in.Timestamp.Signed.Expires, after.Timestamp.Signed.Expires},
		{"snapshot", before.Snapshot.Signed.Version, in.Snapshot.Signed.Version, after.Snapshot.Signed.Version, in.Snapshot.Signed.Expires, after.Snapshot.Signed.Expires},
		{"bases", before.Targets["bases"].Signed.Version, in.Targets["bases"].Signed.Version, after.Targets["bases"].Signed.Version, in.Targets["bases"].Signed.Expires, after.Targets["bases"].Signed.Expires},
	} {
		if row.mid != row.old+1 || row.new != row.mid+1 {
			t.Errorf("%s: version %d, then %d in the bundle, then %d", row.role, row.old, row.mid, row.new)
		}
		if !row.long.Equal(now.Add(30*day)) || row.usual.After(now.Add(14*day)) {
			t.Errorf("%s: expires %s in the bundle, %s in the repository", row.role, row.long, row.usual)
		}
	}
	if !done.Until.Equal(now.Add(30*day)) || done.Ends != metadata.TIMESTAMP || len(done.Roles) > 0 {
		t.Errorf("%+v", done)
	}
	if m := manifest(t, &publish.Repository{Dir: out, Clock: r.Clock}, "hosts"); m.Version != 1 {
		t.Errorf("version %d", m.Version)
	}
	if names := files(t, out); strings.Contains(names, ".publish.json") || strings.Contains(names, ".lock") {
		t.Errorf("the publisher's own files are in it: %s", names)
	}
}

func TestAnArchiveHasWhatAFolderHas(t *testing.T) {
	r := newRepo(t)
	put(t, r, "hosts", ten(1))
	put(t, r, "hosts", ten(2))
	dir, file := filepath.Join(t.TempDir(), "b"), filepath.Join(t.TempDir(), "b.zip")
	for _, out := range []string{dir, file, file} { // an archive is replaced
		if _, err := r.Bundle(t.Context(), publish.Bundle{Out: out}); err != nil {
			t.Fatal(err)
		}
	}
	blobs, err := os.ReadDir(filepath.Join(dir, "blobs"))
	if err != nil || len(blobs) < 3 {
		t.Fatalf("%d blobs, %v", len(blobs), err)
	}
	for _, e := range blobs {
		want, _ := os.ReadFile(filepath.Join(dir, "blobs", e.Name()))
		got, err := source.Local(file, nil).Fetch(t.Context(), "blobs/"+e.Name(), 1<<20)
		if err != nil || string(got) != string(want) {
			t.Errorf("%s: %v", e.Name(), err)
		}
	}
}

func TestABundleOfDeltasHasWhatLeadsOn(t *testing.T) {
	r := newRepo(t)
	random := rand.New(rand.NewPCG(1, 2))
	var b strings.Builder
	for range 2000 {
		fmt.Fprintf(&b, "%08x.example\n", random.Uint32())
	}
	for n := int64(5); n <= 7; n++ {
		put(t, r, "hosts", b.String()+fmt.Sprintf("version-%d.example\n", n), func(rel *publish.Release) { rel.Version = n })
	}
	m := manifest(t, r, "hosts")
	for from, want := range map[int64][]bool{0: {true, true, true}, 5: {false, true, true}, 6: {false, true, false}} {
		out := filepath.Join(t.TempDir(), "b")
		if _, err := r.Bundle(t.Context(), publish.Bundle{Out: out, From: from}); err != nil {
			t.Fatal(err)
		}
		for i, blob := range []string{m.Full.Path(), m.Deltas[0].Path(), m.Deltas[1].Path()} {
			if _, err := os.Stat(filepath.Join(out, blob)); (err == nil) != want[i] {
				t.Errorf("from %d: blob %d: %v", from, i, err)
			}
		}
	}
	_, err := r.Bundle(t.Context(), publish.Bundle{Out: filepath.Join(t.TempDir(), "b"), From: 3})
	if err == nil || !strings.Contains(err.Error(), "no deltas lead from version 3 of base hosts to version 7") {
		t.Errorf("error %v", err)
	}
}

// TestABundleWithAFullImageHasWhatLeadsOnFromIt: the full image is that of a
// version before the one that the bundle begins at.
func TestABundleWithAFullImageHasWhatLeadsOnFromIt(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	random := rand.New(rand.NewPCG(3, 4))
	var first []string
	for range 1000 {
		first = append(first, fmt.Sprintf("%016x.example", random.Uint64()))
	}
	for v := range 12 {
		list := slices.Clone(first)
		for range 50 * min(v, 1) {
			list[random.IntN(len(list))] = fmt.Sprintf("%016x.example", random.Uint64())
		}
		put(t, r, "hosts", strings.Join(list, "\n")+"\n")
	}
	m := manifest(t, r, "hosts")
	if m.Start == nil || m.Start.Version != 1 {
		t.Fatalf("the full image is that of %+v", m.Start)
	}
	out := filepath.Join(t.TempDir(), "b")
	if _, err := r.Bundle(t.Context(), publish.Bundle{Out: out, From: 2}); err != nil {
		t.Fatal(err)
	}
	for _, b := range []bases.Blob{m.Full, m.FromStart().Blob} {
		if _, err := os.Stat(filepath.Join(out, b.Path())); err != nil {
			t.Error(err)
		}
	}
}

func TestABundleEndsWithTheFirstOfItsRoles(t *testing.T) {
	r := newRepo(t)
	put(t, r, "hosts", ten(1))
	targets := client(t, r).Targets["targets"].Signed.Expires
	at(r, targets.Add(-10*day))
	done, err := r.Bundle(t.Context(), publish.Bundle{Out: filepath.Join(t.TempDir(), "b")})
	if err != nil {
		t.Fatal(err)
	}
	if done.Until.After(targets) || len(done.Roles) != 2 {
		t.Errorf("%+v, targets until %s", done, targets)
	}
	at(r, targets.Add(day))
	_, err = r.Bundle(t.Context(), publish.Bundle{Out: filepath.Join(t.TempDir(), "b")})
	var refused *publish.Error
	if !errors.As(err, &refused) || !strings.Contains(refused.Hint, "freshet-publish sign") {
		t.Errorf("error %v", err)
	}
}

func TestWhatABundleRefusesChangesNothing(t *testing.T) {
	r := newRepo(t)
	put(t, r, "hosts", ten(1))
	put(t, r, "hosts", ten(2))
	there := t.TempDir()
	for name, row := range map[string]struct {
		b    publish.Bundle
		want string
	}{
		"a folder that is there":              {publish.Bundle{Out: there}, "is there already"},
		"more than 90 days":                   {publish.Bundle{Valid: 91 * day}, "valid for 1h to 90d"},
		"a moment":                            {publish.Bundle{Valid: time.Second}, "valid for 1h to 90d"},
		"from a version that no delta leaves": {publish.Bundle{From: 2}, "no base has a version above 2"},
		"from below nought":                   {publish.Bundle{From: -1}, "not negative"},
	} {
		t.Run(name, func(t *testing.T) {
			before := files(t, r.Dir)
			if row.b.Out == "" {
				row.b.Out = filepath.Join(t.TempDir(), "b.zip")
			}
			if _, err := r.Bundle(t.Context(), row.b); err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("error %v", err)
			}
			if files(t, r.Dir) != before {
				t.Error("the repository changed")
			}
		})
	}
	t.Run("a blob that is damaged", func(t *testing.T) {
		m := manifest(t, r, "hosts")
		path := filepath.Join(r.Dir, m.Full.Path())
		data, _ := os.ReadFile(path)
		defer os.WriteFile(path, data, 0o644)
		data[len(data)/2] ^= 1
		os.WriteFile(path, data, 0o644)
		data[len(data)/2] ^= 1
		before := client(t, r).Timestamp.Signed.Version
		out := filepath.Join(t.TempDir(), "b.zip")
		if _, err := r.Bundle(t.Context(), publish.Bundle{Out: out}); err == nil || !strings.Contains(err.Error(), "is damaged") {
			t.Errorf("error %v", err)
		}
		if now := client(t, r).Timestamp.Signed.Version; now != before {
			t.Errorf("timestamp %d to %d", before, now)
		}
		if left, _ := filepath.Glob(out + "*"); len(left) > 0 {
			t.Errorf("left: %q", left)
		}
	})
}

// TestABundleThatFailsAnywhere fails each disk step. The repository must be
// whole, and metadata of a bundle must lie nowhere, under whatever name, before
// the repository went beyond it.
func TestABundleThatFailsAnywhere(t *testing.T) {
	r := newRepo(t)
	put(t, r, "hosts", ten(1))
	for _, ending := range []string{"", ".zip"} {
		for n := 1; ; n++ {
			out := filepath.Join(t.TempDir(), "b"+ending)
			before := client(t, r).Timestamp.Signed.Version
			left := n
			stop := func(op, path string) error {
				if left--; left == 0 {
					return fmt.Errorf("step %d, %s", n, op)
				}
				if left < 0 && op != "remove" {
					return fs.ErrInvalid
				}
				if strings.HasPrefix(path, out+".tmp") && (strings.Contains(path, "timestamp") || op == "fsync") && client(t, r).Timestamp.Signed.Version == before {
					t.Errorf("step %d: %s %s while the repository is where it was", n, op, path)
				}
				return nil
			}
			failing := &publish.Repository{Dir: r.Dir, Disk: &durable.Disk{Step: stop}, Clock: &clock.Clock{}}
			_, err := failing.Bundle(t.Context(), publish.Bundle{Out: out})
			client(t, r)
			if _, serr := os.Stat(out); serr == nil && ending == "" {
				in := client(t, &publish.Repository{Dir: out}).Timestamp.Signed.Version
				if now := client(t, r).Timestamp.Signed.Version; in >= now {
					t.Errorf("step %d: bundle %d, repository %d", n, in, now)
				}
			}
			if left > 0 {
				if err != nil || n < 10 {
					t.Errorf("%d steps, then %v", n, err)
				}
				break
			}
			if err == nil {
				t.Errorf("step %d failed and nothing was said", n)
			}
		}
		check(t, r)
	}
}
