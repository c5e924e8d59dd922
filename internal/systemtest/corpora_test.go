//go:build system

package systemtest_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// corpusVersion is a version of a corpus, unpacked.
type corpusVersion struct {
	number    string // "001"
	published string // RFC 3339
	sha256    string // of the file; of a tree, that of its tar
	path      string // file or folder
	tree      bool
}

// corporaDir is where the real threat databases lie.
func corporaDir(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("FRESHET_CORPORA")
	if dir == "" {
		dir = "../../../shared/corpora"
	}
	if _, err := os.Stat(filepath.Join(dir, "unpack")); err != nil {
		missing(t, "the corpora: %v; name their folder in FRESHET_CORPORA", err)
	}
	return dir
}

// unpack rebuilds all versions of a corpus, each checked against its MANIFEST
// by the corpora's own tool.
func unpack(t *testing.T, corpora, name string) []corpusVersion {
	t.Helper()
	needsProgram(t, "zstd", "zstd")
	out := folder(t)
	sh(t, filepath.Join(corpora, "unpack"), name, out)
	manifest, err := os.ReadFile(filepath.Join(corpora, name, "MANIFEST"))
	if err != nil {
		t.Fatal(err)
	}
	var all []corpusVersion
	for line := range strings.Lines(string(manifest)) {
		f := strings.Fields(line)
		if strings.HasPrefix(line, "#") || len(f) != 5 {
			continue
		}
		v := corpusVersion{number: f[0], published: f[1], sha256: f[2], path: filepath.Join(out, f[0]), tree: f[4] == "tar"}
		if v.tree {
			if err := os.Mkdir(v.path, 0o755); err != nil {
				t.Fatal(err)
			}
			sh(t, "tar", "-x", "--no-same-owner", "-C", v.path, "-f", v.path+".tar")
			if err := os.Remove(v.path + ".tar"); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, v)
	}
	if len(all) < 2 {
		t.Fatalf("%s has %d versions", name, len(all))
	}
	return all
}

// compare asserts that dir, which an engine reads, holds the version to the
// byte and nothing else.
func (v corpusVersion) compare(t *testing.T, dir, file string) {
	t.Helper()
	want := map[string]string{file: "- " + v.sha256}
	if v.tree {
		want = sums(t, v.path)
	}
	got := sums(t, dir)
	if maps.Equal(got, want) {
		return
	}
	for path, sum := range want {
		if got[path] != sum {
			t.Errorf("%s: %s has %q, not %q", v.number, path, got[path], sum)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(got)) {
		if want[path] == "" {
			t.Errorf("%s: %s is not part of it", v.number, path)
		}
	}
	t.Fatalf("version %s is not what was published", v.number)
}

// sums are mode ("x" for executable, else "-") and SHA-256 of each file below
// dir.
func sums(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	root := dir + "/" // through the link
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		h := sha256.New()
		if _, err := io.Copy(h, f); err != nil {
			return err
		}
		mode := "-"
		if st.Mode()&0o100 != 0 {
			mode = "x"
		}
		all[strings.TrimPrefix(path, root)] = fmt.Sprintf("%s %x", mode, h.Sum(nil))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
