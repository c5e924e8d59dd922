//go:build system

package systemtest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/freshet/freshet/internal/api"
)

// hdb publishes signatures as the next version of the base hashes.
func (p *publisher) hdb(content string) {
	p.t.Helper()
	path := filepath.Join(p.dir, "in", "hashes.hdb")
	write(p.t, path, content)
	p.run("base", p.repo(), "hashes", path, "--allow-shrink", "a test")
}

// TestClamAVUsesWhatItIsGiven updates a real clamd: what only the new version
// detects is detected when the update is over, and no sooner.
func TestClamAVUsesWhatItIsGiven(t *testing.T) {
	for name, concurrent := range map[string]bool{"loading beside the engine in use": true, "loading in its place": false} {
		t.Run(name, func(t *testing.T) {
			s := newScanner(t, concurrent, map[string]string{"other.hdb": hash("Test.Other", "of another")})
			p := newPublisher(t, released)
			p.hdb(signatures(1, 1000))
			e := s.endpointFor(p, "hashes", "")
			s.wants(eicar(), "")
			t.Log(e.run("update", "--dry-run"))
			e.update(api.Updated)
			s.wants(eicar(), "Test.EICAR")
			s.wants("version 1", "Test.Version.1")
			s.wants("version 2", "")
			s.wants("of another", "Test.Other")
			p.hdb(signatures(2, 1000))
			e.update(api.Updated)
			s.wants("version 1", "")
			s.wants("version 2", "Test.Version.2")
			s.wants("of another", "Test.Other")
			e.run("bases", "rollback", "hashes")
			s.wants("version 1", "Test.Version.1")
			s.wants("version 2", "")
			checkDelivered(t, s.folder())
		})
	}
}

// checkDelivered asserts that clamd's folder holds files of its user alone, and
// no links.
func checkDelivered(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range entries {
		st, err := f.Info()
		if err != nil || !st.Mode().IsRegular() || st.Mode().Perm() != 0o644 || links(st) != 1 || owner(st) != owner(mustStat(t, dir)) || strings.HasPrefix(f.Name(), ".") {
			t.Errorf("%s: %v, %v", f.Name(), st, err)
		}
	}
}
