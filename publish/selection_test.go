package publish_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/freshet/freshet/publish"
)

func TestWhatOfAFolderIsPublished(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	dir := t.TempDir()
	for _, name := range []string{
		"a.rules", "b.rules.bak", "sub/c.rules", "sub/deep/d.rules", "docs/readme",
		".git/config", "sub/.svn/entries", ".hg/store", ".env",
	} {
		writeFile(t, filepath.Join(dir, name), "of "+name+"\n")
	}
	writeFile(t, filepath.Join(dir, "sub/deep/.git"), "gitdir: /elsewhere\n") // a file, in a submodule
	if err := os.Symlink("config", filepath.Join(dir, ".git/HEAD")); err != nil {
		t.Fatal(err)
	}
	r.Warn = func(string) {}
	for i, row := range []struct {
		include, exclude []string
		want             string
	}{
		{nil, nil, ".env a.rules b.rules.bak docs/readme sub/c.rules sub/deep/d.rules"},
		{nil, []string{".*", "*.bak", "docs"}, "a.rules sub/c.rules sub/deep/d.rules"},
		{nil, []string{"sub/deep", "/docs", ".env"}, "a.rules b.rules.bak sub/c.rules"},
		{[]string{"*.rules"}, nil, "a.rules sub/c.rules sub/deep/d.rules"},
		{[]string{"sub"}, []string{"c.*"}, "sub/deep/d.rules"},
		{[]string{"sub/*.rules", ".git"}, nil, "sub/c.rules"},
	} {
		name := "t" + string(rune('0'+i))
		if _, err := r.Publish(t.Context(), publish.Release{Name: name, Path: dir, Include: row.include, Exclude: row.exclude}); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(treeFiles(t, r, name), " "); got != row.want {
			t.Errorf("include %q, exclude %q: %q, want %q", row.include, row.exclude, got, row.want)
		}
	}
	if _, err := r.Publish(t.Context(), publish.Release{Name: "t", Path: dir, Exclude: []string{"[a"}}); err == nil || !strings.Contains(err.Error(), "no pattern") {
		t.Errorf("a pattern that is none: %v", err)
	}
	check(t, r)
}
