package publish_test

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/durable/crashtest"
	"github.com/freshet/freshet/publish"
)

// press is a publisher in a folder of its own, with its repository and keys.
// It works at one path, which .publish.json knows, and is put there anew for
// each case.
type press struct {
	t      *testing.T
	dir    string    // where it works
	before string    // what it begins with: two versions of a base
	in     string    // content of the next version
	day    time.Time // when that was published, a day ago
	seed   uint64
	random *rand.Rand
	clones int
	began  map[string]string // the first key of each role that it begins with
}

// soak asks for every case instead of some.
var soak = os.Getenv("FRESHET_SOAK") != ""

// job is something that a publisher does, and may be cut short.
type job struct {
	empty bool // it begins with nothing
	light bool // some of its steps will do, but for a soak
	do    func(ctx context.Context, r *publish.Repository, p *press) error
	least int64 // version of the base before
	most  int64 // and after
}

func jobs() map[string]job {
	all := map[string]job{
		"a first release": {empty: true, most: 1, do: func(ctx context.Context, r *publish.Repository, p *press) error {
			_, err := r.Init(ctx, filepath.Join(p.dir, "keys"))
			var refused *publish.Error
			if err != nil && !errors.As(err, &refused) { // it is complete already
				return err
			}
			return release(ctx, r, p)
		}},
		"a release": {least: 2, most: 3, do: release},
		"the first release of a day": {least: 2, most: 3, do: func(ctx context.Context, r *publish.Repository, p *press) error {
			// It has a full image of its own; that of before becomes a delta back.
			_, err := r.Publish(ctx, publish.Release{Name: "list", Path: p.in, Every: 72 * time.Hour})
			return err
		}},
		"a refresh": {least: 2, most: 2, do: func(ctx context.Context, r *publish.Repository, _ *press) error {
			_, err := r.Refresh(ctx)
			return err
		}},
		"a prune": {least: 2, most: 2, do: func(ctx context.Context, r *publish.Repository, _ *press) error {
			at(r, time.Now().Add(48*time.Hour))
			_, err := r.Prune(ctx, false)
			return err
		}},
	}
	maps.Copy(all, more())
	return all
}

func release(ctx context.Context, r *publish.Repository, p *press) error {
	_, err := r.Publish(ctx, publish.Release{Name: "list", Path: p.in, Every: 72 * time.Hour, Published: p.day})
	return err
}

func newPress(t *testing.T) *press {
	t.Helper()
	if dir, err := os.MkdirTemp("/dev/shm", "freshet-power-"); err == nil { // syncing costs nothing there
		t.Cleanup(func() { os.RemoveAll(dir) })
		t.Setenv("TMPDIR", dir)
	}
	seed := crashtest.Seed(t)
	tmp := t.TempDir()
	p := &press{t: t, dir: filepath.Join(tmp, "work"), before: filepath.Join(tmp, "before"), seed: seed}
	p.in = writeFile(t, filepath.Join(tmp, "list.txt"), ten(0))
	p.day = time.Now().AddDate(0, 0, -1).Truncate(time.Second)
	p.must(os.Mkdir(p.dir, 0o755))
	r := p.repository(nil)
	_, err := r.Init(t.Context(), filepath.Join(p.dir, "keys"))
	p.must(err)
	for v := 1; v <= 2; v++ {
		put(t, r, "list", ten(v), func(rel *publish.Release) { rel.Published = p.day })
	}
	p.began = map[string]string{}
	for _, role := range []string{"root", "targets", "bases", "snapshot", "timestamp"} {
		p.began[role] = keyOf(t, r, role, 0)
	}
	p.must(os.Rename(p.dir, p.before))
	writeFile(t, p.in, ten(3))
	return p
}

// sequence is the random sequence of one test.
func (p *press) sequence(name string) *rand.Rand {
	h := fnv.New64()
	h.Write([]byte(name))
	return rand.New(rand.NewPCG(p.seed, h.Sum64()))
}

func (p *press) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *press) repository(disk *durable.Disk) *publish.Repository {
	return &publish.Repository{Dir: filepath.Join(p.dir, "repo"), Disk: disk}
}

// begin puts what a job begins with in place.
func (p *press) begin(j job) *crashtest.Model {
	p.t.Helper()
	p.must(os.RemoveAll(p.dir))
	if j.empty {
		p.must(os.Mkdir(p.dir, 0o755))
	} else {
		p.must(exec.Command("cp", "-a", p.before, p.dir).Run()) // with the modes of the keys
	}
	m, err := crashtest.New(p.dir)
	p.must(err)
	return m
}

// place has m work on at the publisher's path.
func (p *press) place(m *crashtest.Model) {
	p.t.Helper()
	p.must(os.RemoveAll(p.dir))
	p.must(os.Rename(m.Dir, p.dir))
	m.Dir = p.dir
}

func (p *press) kill(m *crashtest.Model) *crashtest.Model {
	p.t.Helper()
	k, err := m.Kill(filepath.Join(p.t.TempDir(), "killed"))
	p.must(err)
	return k
}

// end is the end of a model and of its folder.
func (p *press) end(m *crashtest.Model) {
	p.t.Helper()
	m.Close()
	p.must(os.RemoveAll(m.Dir))
}

// stop does the job on m, which stands at the publisher's path, until its n-th
// disk step, and gives what a kill then leaves; nil where it ended before.
func (p *press) stop(what string, m *crashtest.Model, j job, n int) (killed *crashtest.Model, step string) {
	p.t.Helper()
	defer m.Close()
	seen := 0
	disk := m.Disk(crashtest.Hooks{Before: func(op, path string) error {
		if seen++; seen < n {
			return nil
		}
		if seen == n {
			killed, step = p.kill(m), fmt.Sprintf("%sstep %d (%s %s)", what, n, op, strings.TrimPrefix(path, p.dir+"/"))
		}
		return errors.New("the process was stopped")
	}})
	err := j.do(p.t.Context(), p.repository(disk), p)
	if killed == nil {
		p.must(err)
		was := j
		was.least = j.most // what was reported must be kept
		was.empty = false
		p.cut(what+"a power cut after the end", m, nil, was)
	}
	return killed, step
}

// cut has the power cut, and asserts that the same command completes what was
// begun.
func (p *press) cut(what string, m *crashtest.Model, random *rand.Rand, j job) {
	p.t.Helper()
	defer func() {
		if p.t.Failed() {
			p.t.Fatal(what)
		}
	}()
	left := filepath.Join(p.t.TempDir(), "left")
	p.must(m.PowerCut(left, random))
	p.clones++
	p.must(os.RemoveAll(p.dir))
	p.must(os.Rename(left, p.dir))
	p.checkReachable(j)
	p.completes(j)
}

// checkReachable asserts what must hold of a repository at any moment: all
// that its timestamp reaches is there and whole, and it is the state before or
// the one after.
func (p *press) checkReachable(j job) {
	p.t.Helper()
	r := p.repository(nil)
	if _, err := os.Stat(filepath.Join(r.Dir, "metadata/timestamp.json")); j.empty && errors.Is(err, fs.ErrNotExist) {
		return
	}
	p.finish(r)
	v, err := r.Verify(p.t.Context())
	p.must(err)
	if len(v.Wrong) > 0 {
		p.t.Fatalf("verify: %q", v.Wrong)
	}
	p.checkBundles(r)
	version := int64(0)
	if _, ok := client(p.t, r).Targets["bases"].Signed.Targets["bases/list.json"]; ok {
		version = manifest(p.t, r, "list").Version
	}
	if version < j.least || version > j.most {
		p.t.Fatalf("the base is at version %d, not %d to %d", version, j.least, j.most)
	}
}

func (p *press) completes(j job) {
	p.t.Helper()
	r := p.repository(nil)
	if err := j.do(p.t.Context(), r, p); err != nil {
		p.t.Fatalf("the same command again: %v", err)
	}
	r = p.repository(nil)
	check(p.t, r)
	j.least, j.empty = j.most, false
	p.checkReachable(j)
}

// TestPowerCutAtAnyStepOfAPublisher stops each job at each disk step, cuts the
// power at some of them by chance, and at all in a soak, and cuts it also while the next process completes what the first one
// left in the page cache.
func TestPowerCutAtAnyStepOfAPublisher(t *testing.T) {
	p := newPress(t)
	for name, j := range jobs() {
		t.Run(name, func(t *testing.T) {
			q := *p
			q.t, q.clones, q.random = t, 0, p.sequence(t.Name())
			steps, twice := 0, 0
			for n := 1; ; n++ {
				killed, step := q.stop("", q.begin(j), j, n)
				if killed == nil {
					break
				}
				steps++
				if !j.empty && !j.light && q.chance(3) || q.chance(12) {
					q.cuts(step, killed, j)
				}
				if q.chance(12) {
					twice += q.again(step, killed, j)
				}
				q.end(killed)
			}
			t.Logf("%d steps, stopped again %d times, %d clones", steps, twice, q.clones)
			if steps < 3 {
				t.Errorf("only %d steps were seen", steps)
			}
		})
	}
}

// TestAKeyThatAKilledInitHadJustNamedIsKept kills Init before it syncs the
// folder of the keys, has the next one end, and cuts the power.
func TestAKeyThatAKilledInitHadJustNamedIsKept(t *testing.T) {
	p := newPress(t)
	p.random = p.sequence(t.Name())
	j := jobs()["a first release"]
	seen := 0
	for n := 1; ; n++ {
		killed, step := p.stop("", p.begin(j), j, n)
		if killed == nil || strings.Contains(step, "metadata/timestamp.json") {
			break
		}
		if strings.HasSuffix(step, "(syncdir keys)") {
			seen++
			k := p.kill(killed)
			p.place(k)
			if again, _ := p.stop(step+", then ", k, j, 1<<30); again != nil {
				t.Fatal("it was stopped again")
			}
			p.end(k)
		}
		p.end(killed)
	}
	if seen < 10 {
		t.Errorf("%d keys were named", seen)
	}
}

// chance is true in a soak, and else once in k cases.
func (p *press) chance(k int) bool { return soak || p.random.IntN(k) == 0 }

func (p *press) cuts(what string, m *crashtest.Model, j job) {
	p.t.Helper()
	p.cut(what+", then a power cut", m, nil, j)
	others := 0
	if soak {
		others = 4
	} else if p.chance(4) {
		others = 1
	}
	for range others {
		seed := p.random.Uint64()
		p.cut(fmt.Sprintf("%s, then a power cut with seed %d", what, seed), m, rand.New(rand.NewPCG(seed, 0)), j)
	}
}

// again stops the next process too, at each step in a soak and at one by
// chance else. It gives how often.
func (p *press) again(what string, killed *crashtest.Model, j job) int {
	p.t.Helper()
	for m := 1; ; m++ {
		at := m
		if !soak {
			at = 1 + p.random.IntN(40)
		}
		k := p.kill(killed)
		p.place(k)
		second, step := p.stop(what+", then ", k, j, at)
		if second == nil {
			return m - 1
		}
		p.cut(step+", then a power cut", second, nil, j)
		p.end(second)
		if !soak {
			return m
		}
	}
}

// TestTheDiskOfAPublisherFailsAtAnyStep has each step of each job fail, in each
// way, also after it happened.
func TestTheDiskOfAPublisherFailsAtAnyStep(t *testing.T) {
	p := newPress(t)
	faults := map[string]error{
		"no space": syscall.ENOSPC, "quota used up": syscall.EDQUOT, "read-only": syscall.EROFS,
		"input or output error": syscall.EIO, "failed but happened": errors.New("the disk says no"),
	}
	for name, j := range jobs() {
		for fault, errno := range faults {
			t.Run(name+", "+fault, func(t *testing.T) {
				q := *p
				q.t, q.random = t, p.sequence(t.Name())
				stride := 1
				if !soak {
					stride = 40
				}
				if !soak && j.empty {
					stride = 240
				}
				cases := 0
				for n := 1 + q.random.IntN(stride); q.fails(fault, errno, n, j); n += stride {
					cases++
				}
				t.Logf("%d cases", cases)
			})
		}
	}
}

func (p *press) fails(fault string, errno error, n int, j job) bool {
	p.t.Helper()
	m := p.begin(j)
	defer m.Close()
	seen, hit := 0, ""
	hook := func(op, path string) error {
		if errno == syscall.EIO && !slices.Contains([]string{"fsync", "syncfs", "syncdir"}, op) {
			return nil
		}
		if seen++; seen == n || seen > n && errno == syscall.EROFS {
			hit = op + " " + path
			return &fs.PathError{Op: op, Path: path, Err: errno}
		}
		return nil
	}
	h := crashtest.Hooks{Before: hook}
	if fault == "failed but happened" {
		h = crashtest.Hooks{After: hook}
	}
	err := j.do(p.t.Context(), p.repository(m.Disk(h)), p)
	if hit == "" {
		p.must(err)
		return false
	}
	if !errors.Is(err, errno) {
		p.t.Errorf("%s failed with %v, the job gives %v", hit, errno, err)
	}
	k := p.kill(m)
	defer k.Close()
	p.cut(hit+", then a power cut", m, nil, j)
	p.place(k)
	p.checkReachable(j)
	p.completes(j)
	return true
}
