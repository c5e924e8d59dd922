package publish_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/freshet/freshet/publish"
)

// page is as long as a small list, and has as many lines.
var page = "<!DOCTYPE html>\n<html><head><title>Sorry, you have been blocked</title></head>\n" + strings.Repeat("<p>Please enable cookies.</p>\n", 20) + "</html>\n"

func TestAChangeOfFormIsRefusedWithoutAReason(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	put(t, r, "b", lines(0, 40))
	before := files(t, r.Dir)
	if _, err := tryPut(t, r, "b", page); err == nil || !strings.Contains(err.Error(), "HTML page") {
		t.Fatalf("a page in place of a list: %v", err)
	}
	if files(t, r.Dir) != before {
		t.Error("what was refused changed the repository")
	}
	var noted []string
	r.Warn = func(text string) { noted = append(noted, text) }
	done := put(t, r, "b", page, func(rel *publish.Release) { rel.Allow = "pages are what we list now" })
	if done.Version != 2 || len(done.Findings) != 0 || !strings.Contains(manifest(t, r, "b").Notes, "Changed in form on purpose: pages are what we list now") {
		t.Errorf("%+v, notes %q", done, manifest(t, r, "b").Notes)
	}
	// What is so already needs no reason any more.
	if done := put(t, r, "b", page+"<p>\n"); done.Version != 3 || len(done.Warnings) != 0 {
		t.Errorf("%+v", done)
	}
	// A note is no warning: cron must not take each hour for failed.
	if done := put(t, r, "z", "\x1f\x8b\x08\x00"+lines(1, 10)); len(done.Warnings) != 0 || len(noted) != 1 || !strings.Contains(noted[0], "z: it is gzip") {
		t.Errorf("%+v, noted %q", done, noted)
	}
}

func TestWhatMayBeGoneIsRemembered(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	put(t, r, "b", lines(0, 1000))
	if done := put(t, r, "b", lines(0, 700)); len(done.Warnings) != 1 || done.Findings[0].Code != "shrunk" {
		t.Errorf("30 %% gone: %+v", done)
	}
	put(t, r, "explained", lines(0, 1000))
	if done := put(t, r, "explained", lines(0, 700), func(rel *publish.Release) { rel.Shrink = "cleaned up" }); len(done.Warnings) != 0 || done.Findings[0].Code != "shrunk" {
		t.Errorf("30 %% gone, for a reason: %+v", done)
	}
	put(t, r, "b", lines(0, 699), func(rel *publish.Release) { rel.MaxShrink = 10 })
	if got := manifest(t, r, "b").Checks.MaxShrink; got != 10 {
		t.Errorf("the manifest says %d", got)
	}
	if _, err := tryPut(t, r, "b", lines(0, 600)); err == nil || !strings.Contains(err.Error(), "600 records where version 3 has 699") {
		t.Errorf("14 %% gone of a base that may lose 10: %v", err)
	}
	if done := put(t, r, "b", lines(0, 640)); len(done.Warnings) != 0 {
		t.Errorf("8 %%: %+v", done)
	}
}

// TestFormsAreComparedThroughAnyHistory: the version before is built from what is
// kept of it; where that is lost, amounts are still compared.
func TestFormsAreComparedThroughAnyHistory(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	dir := t.TempDir()
	publishTree := func() (*publish.Released, error) {
		return r.Publish(t.Context(), publish.Release{Name: "t", Path: dir})
	}
	for i := range 3 {
		writeFile(t, filepath.Join(dir, "a.hdb"), lines(i, 100))
		writeFile(t, filepath.Join(dir, "b.hdb"), lines(i+10, 100))
		if _, err := publishTree(); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, filepath.Join(dir, "b.hdb"), "")
	if _, err := publishTree(); err == nil || !strings.Contains(err.Error(), "b.hdb became empty") {
		t.Errorf("a file became empty: %v", err)
	}
	if err := os.Remove(filepath.Join(r.Dir, manifest(t, r, "t").Full.Path())); err != nil {
		t.Fatal(err)
	}
	done, err := publishTree()
	if err != nil || len(done.Warnings) == 0 {
		t.Errorf("with the image before lost: %+v, %v", done, err)
	}
}

func TestWhatANewerPublisherRemembersIsLeft(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	put(t, r, "b", lines(0, 10))
	path := filepath.Join(r.Dir, ".publish.json")
	newer := `{"format":2,"min_version":"9.0.0","keyring":[]}`
	writeFile(t, path, newer)
	if _, err := tryPut(t, r, "b", lines(0, 11)); err == nil || !strings.Contains(err.Error(), "freshet 9.0.0 or newer") {
		t.Errorf("error %v", err)
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != newer {
		t.Errorf("it was changed: %s, %v", data, err)
	}
}
