package publish_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/publish"
)

func TestVerifyNamesEachFileWithItsHash(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	put(t, r, "a", ten(1))
	put(t, r, "a", ten(2))
	put(t, r, "b", ten(1))
	v, err := r.Verify(t.Context())
	if err != nil || len(v.Wrong) > 0 {
		t.Fatal(v, err)
	}
	if v.Followed != 1 {
		t.Errorf("%d deltas followed", v.Followed)
	}
	seen := map[string]bool{}
	for _, f := range v.Files {
		data, err := os.ReadFile(filepath.Join(r.Dir, f.File))
		if err != nil || fmt.Sprintf("%x", sha256.Sum256(data)) != f.SHA256.String() || seen[f.File] {
			t.Errorf("%s: %v", f.File, err)
		}
		seen[f.File] = true
	}
	m := manifest(t, r, "a")
	for _, want := range []string{"metadata/timestamp.json", "metadata/1.root.json", m.Full.Path(), m.Index.Path(), m.Deltas[0].Path()} {
		if !seen[want] {
			t.Errorf("%s is not named", want)
		}
	}
}

// TestVerifyFindsDamage flips a byte in each file that verify names.
func TestVerifyFindsDamage(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	put(t, r, "a", ten(1), daysAgo(1))
	put(t, r, "a", ten(2))
	far := index(t, r, manifest(t, r, "a")).Checkpoints[1].Far
	v, err := r.Verify(t.Context())
	if err != nil || v.Followed != 1 {
		t.Fatal(v, err)
	}
	if !slices.ContainsFunc(v.Files, func(s publish.Sum) bool { return s.File == far.Path() }) {
		t.Error("the far index is not named")
	}
	for _, f := range v.Files {
		path := filepath.Join(r.Dir, f.File)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for name, damaged := range map[string][]byte{
			"flipped": flip(data), "cut": data[:len(data)/2], "longer": append(data[:len(data):len(data)], 'x'), "empty": {},
		} {
			if err := os.WriteFile(path, damaged, 0o644); err != nil {
				t.Fatal(err)
			}
			if got, err := r.Verify(t.Context()); err == nil && len(got.Wrong) == 0 {
				t.Errorf("%s, %s: verify finds nothing wrong", f.File, name)
			}
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if got, err := r.Verify(t.Context()); err == nil && len(got.Wrong) == 0 {
			t.Errorf("%s, removed: verify finds nothing wrong", f.File)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	check(t, r)
}

func flip(data []byte) []byte {
	d := append([]byte(nil), data...)
	d[len(d)/2] ^= 1
	return d
}

func TestVerifyMindsExpiry(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	at(r, time.Now().Add(8*24*time.Hour))
	v, err := r.Verify(t.Context())
	if err != nil || len(v.Wrong) != 1 || !strings.Contains(v.Wrong[0], "expired") {
		t.Errorf("%+v, %v", v, err)
	}
	if _, err := (&publish.Repository{Dir: t.TempDir()}).Verify(t.Context()); err == nil {
		t.Error("an empty folder verifies")
	}
}
