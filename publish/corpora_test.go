package publish_test

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/delta"
	"github.com/freshet/freshet/publish"
)

// TestCorpus publishes real versions at their real times and follows the
// deltas from the first to the newest.
func TestCorpus(t *testing.T) {
	t.Parallel()
	const corpora, name, last = "../../shared/corpora", "email-domains", "3"
	if _, err := os.Stat(filepath.Join(corpora, name)); err != nil {
		t.Skip("the corpora are not here:", err)
	}
	if _, err := exec.LookPath("zstd"); err != nil {
		t.Skip("unpacking the corpora takes zstd:", err)
	}
	dir := t.TempDir()
	if out, err := exec.Command(filepath.Join(corpora, "unpack"), name, dir, last).CombinedOutput(); err != nil {
		t.Fatalf("unpacking: %v\n%s", err, out)
	}
	list, err := os.ReadFile(filepath.Join(corpora, name, "MANIFEST"))
	if err != nil {
		t.Fatal(err)
	}
	r := newRepo(t)
	var contents [][]byte
	for sc := bufio.NewScanner(bytes.NewReader(list)); sc.Scan(); {
		f := strings.Split(sc.Text(), "\t")
		path := filepath.Join(dir, f[0])
		data, err := os.ReadFile(path)
		if err != nil {
			continue // a comment, or behind the last version wanted
		}
		published, err := time.Parse(time.RFC3339, f[1])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Publish(t.Context(), publish.Release{Name: "domains", Path: path, Published: published}); err != nil {
			t.Fatal(err)
		}
		contents = append(contents, data)
	}
	check(t, r)
	m := manifest(t, r, "domains")
	if m.Version != 3 || len(m.Deltas) != 2 || m.Image.File != "001" {
		t.Fatalf("%+v", m)
	}
	for _, d := range m.Deltas {
		patch, err := os.ReadFile(filepath.Join(r.Dir, d.Path()))
		if err != nil {
			t.Fatal(err)
		}
		old := contents[d.From-1]
		var out bytes.Buffer
		err = delta.Apply(t.Context(), &out, bytes.NewReader(old), int64(len(old)), bytes.NewReader(patch), int64(len(patch)), m.Image.Size)
		if err != nil || !bytes.Equal(out.Bytes(), contents[2]) {
			t.Errorf("from version %d: %v", d.From, err)
		}
		if d.Size > m.Full.Size/50 {
			t.Errorf("the delta from version %d takes %d bytes of %d", d.From, d.Size, m.Full.Size)
		}
	}
}
