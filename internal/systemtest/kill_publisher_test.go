//go:build system

package systemtest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/api"
)

// TestPublisherKilledAtEachDiskStep kills -9 freshet-publish before each step
// of a release on the disk. An agent that comes right then must get the version
// before or the new one, whole; verify must pass; and the same command again
// must complete the release.
func TestPublisherKilledAtEachDiskStep(t *testing.T) {
	p := newPublisher(t, tagged)
	p.release("list", records(1, 500))
	behind := newEndpoint(t, p, p.repo())
	behind.update(api.Updated)
	p.release("list", records(2, 500))
	release := []string{"base", p.repo(), "list", p.file("list", records(3, 500))}
	before := filepath.Join(p.dir, "before")
	sh(t, "cp", "-a", p.repo(), before)
	began, steps, old := time.Now(), 0, 0
	for e := behind.copy(); killedPublisher(p, steps+1, release); behind.copyTo(e) {
		steps++
		p.verify()
		version := e.update(api.Updated).Bases[0].To
		switch version {
		case 2:
			old++
		case 3:
		default:
			t.Fatalf("step %d: an agent got version %d", steps, version)
		}
		e.reads("list", records(int(version), 500))
		p.run(release...)
		p.verify()
		if version == 2 {
			e.update(api.Updated)
		}
		e.reads("list", records(3, 500))
		e.checkSettled()
		checkNoTemporary(t, p.repo())
		if err := os.RemoveAll(p.repo()); err != nil {
			t.Fatal(err)
		}
		sh(t, "cp", "-a", before, p.repo())
	}
	p.verify()
	if steps < 30 || old == 0 || old == steps {
		t.Errorf("killed at %d steps, old at %d of them: the test does not see them", steps, old)
	}
	t.Logf("killed at each of %d steps in %s: the old version at %d, the new one at %d", steps, time.Since(began).Round(time.Second), old, steps-old)
}

// killedPublisher runs freshet-publish, which dies before its n-th step on the
// disk. It gives false if it was done before.
func killedPublisher(p *publisher, n int, args []string) bool {
	p.t.Helper()
	c := p.command(args...)
	c.Env = append(os.Environ(), fmt.Sprintf("FRESHET_CRASH_AT=n:%d", n))
	out, err := c.CombinedOutput()
	if err != nil && !wasKilled(err) {
		p.t.Fatalf("step %d: %v\n%s", n, err, out)
	}
	return err != nil
}

func checkNoTemporary(t *testing.T, repo string) {
	t.Helper()
	err := filepath.WalkDir(repo, func(path string, _ os.DirEntry, err error) error {
		if strings.Contains(path, ".tmp-") {
			t.Errorf("left over: %s", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
