package updater_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/publish"
	"github.com/freshet/freshet/updater"
)

// TestAnAgentFarBehindComesByCheckpoints has agents behind that fetch no delta
// index, one, and two, and come by no checkpoint, one, and one with a milestone.
func TestAnAgentFarBehindComesByCheckpoints(t *testing.T) {
	w := newWorld(t)
	const newest = 46
	start, home := time.Now(), w.dir
	for v := 1; v <= newest; v++ {
		at := start
		if v <= 20 { // 1, 3, … 21 are the first of their days: checkpoints; 13 is a milestone
			at = start.AddDate(0, 0, (v-1)/2-10)
		}
		content := records(v%5, 2000) // few images: they share deltas
		w.content[fmt.Sprintf("list/%d", v)] = content
		rel := publish.Release{Name: "list", Path: filepath.Join(w.t.TempDir(), "list.txt"), Published: at}
		if err := os.WriteFile(rel.Path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := w.repo.Publish(t.Context(), rel); err != nil {
			t.Fatal(err)
		}
		switch v {
		case 2, 16, 26, 43:
			w.dir = filepath.Join(home, fmt.Sprint(v))
			w.update(updater.Updated)
		}
	}
	for _, row := range []struct{ version, steps, blobs int }{
		{43, 1, 1},
		{26, 1, 2},
		{16, 2, 4},
		{2, 3, 5},
	} {
		w.dir = filepath.Join(home, fmt.Sprint(row.version))
		var blobs []string
		w.serve(func(_ http.ResponseWriter, r *http.Request) bool {
			if strings.HasPrefix(r.URL.Path, "/blobs/") {
				blobs = append(blobs, r.URL.Path)
			}
			return false
		})
		p, err := w.updater().Plan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n := len(p.Bases[0].Steps); n != row.steps {
			t.Errorf("from version %d: %+v", row.version, p.Bases[0].Steps)
		}
		blobs = nil
		w.update(updater.Updated)
		w.expect("list", newest)
		slices.Sort(blobs)
		if n := len(slices.Compact(blobs)); n != row.blobs {
			t.Errorf("from version %d: %d blobs fetched, want %d", row.version, n, row.blobs)
		}
	}
}
