package main_test

import (
	"bytes"
	"debug/buildinfo"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// forTests is what only a build for tests holds.
var forTests = []string{"FRESHET_TEST_CLOCK", "FRESHET_CRASH_AT"}

// TestNoReleaseHasTheTestsWays holds a plain build against one for tests: the
// former must not know the ways to move its clock and to kill it.
func TestNoReleaseHasTheTestsWays(t *testing.T) {
	for _, row := range []struct {
		name string
		has  bool
	}{{"freshet", false}, {"freshet-lab", true}, {"freshet-publish", false}, {"freshet-publish-lab", true}} {
		path := filepath.Join(bin(), row.name)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range forTests {
			if got := bytes.Contains(data, []byte(word)); got != row.has {
				t.Errorf("%s holds %s: %v", row.name, word, got)
			}
		}
		info, err := buildinfo.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		tags := ""
		for _, s := range info.Settings {
			if s.Key == "-tags" {
				tags = s.Value
			}
		}
		if got := strings.Contains(tags, "testclock"); got != row.has || !row.has && tags != "" {
			t.Errorf("%s was built with the tags %q", row.name, tags)
		}
	}
}
