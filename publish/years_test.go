package publish_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/durable/crashtest"
	"github.com/freshet/freshet/publish"
)

// A list of hashes whose records come and go.
type changing struct {
	*rand.Rand
	records []string
}

func newChanging(n int) *changing {
	c := &changing{rand.New(rand.NewPCG(1, 2)), nil}
	c.grow(n)
	return c
}

func (c *changing) grow(n int) {
	for range n {
		c.records = append(c.records, fmt.Sprintf("%016x", c.Uint64()))
	}
}

func (c *changing) change(n int) {
	for range n {
		c.records[c.IntN(len(c.records))] = fmt.Sprintf("%016x", c.Uint64())
	}
}

func (c *changing) text() string { return strings.Join(c.records, "\n") + "\n" }

// midnight is half an hour after one.
var midnight = time.Date(2026, 5, 4, 0, 30, 0, 0, time.UTC)

// wholes counts the images that a repository keeps of a base, and the different
// full images among them.
func wholes(t *testing.T, r *publish.Repository, name string) (images, full int) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(r.Dir, index(t, r, manifest(t, r, name)).Images.Path()))
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		Images []struct {
			Full bases.Blob
			Base int64
		}
	}
	if err := json.Unmarshal(data, &list); err != nil {
		t.Fatal(err)
	}
	different := map[bases.Hash]bool{}
	for _, v := range list.Images {
		if v.Base == 0 {
			different[v.Full.SHA256] = true
		}
	}
	return len(list.Images), len(different)
}

// TestABaseThatChangesFastKeepsNoMore has each version have a full image of its
// own: its delta is never worth having.
func TestABaseThatChangesFastKeepsNoMore(t *testing.T) {
	t.Parallel()
	r := newRepoAt(t, midnight)
	list := newChanging(24)
	const days, aDay = 9, 10
	for i := range days * aDay {
		list.change(8)
		at(r, midnight.AddDate(0, 0, i/aDay).Add(time.Duration(i%aDay)*time.Hour))
		if _, err := tryPut(t, r, "b", list.text()); err != nil {
			t.Fatal(err)
		}
	}
	check(t, r)
	if images, _ := wholes(t, r, "b"); images > 25+days {
		t.Errorf("%d images are kept of %d versions in %d days", images, days*aDay, days)
	}
}

// TestAQuietHourKeepsNoMore has the version after each checkpoint be the same.
func TestAQuietHourKeepsNoMore(t *testing.T) {
	t.Parallel()
	r := newRepoAt(t, midnight)
	list := newChanging(1200)
	for i := range 5 * 3 {
		if i%3 != 1 {
			list.change(8)
		}
		at(r, midnight.AddDate(0, 0, i/3).Add(time.Duration(i%3)*time.Hour))
		if _, err := tryPut(t, r, "b", list.text()); err != nil {
			t.Fatal(err)
		}
	}
	check(t, r)
	if _, full := wholes(t, r, "b"); full != 1 {
		t.Errorf("%d full images are kept", full)
	}
}

// froms lists the versions from which deltas lead to the newest.
func froms(t *testing.T, r *publish.Repository, name string) []int64 {
	t.Helper()
	m := manifest(t, r, name)
	deltas := m.Deltas
	if m.Index != nil {
		deltas = slices.Concat(deltas, index(t, r, m).Deltas)
	}
	var from []int64
	for _, d := range deltas {
		from = append(from, d.From)
	}
	slices.Sort(from)
	return slices.Compact(from)
}

// TestDeltasToAVersionThatGrew has versions outgrow the full image before them.
func TestDeltasToAVersionThatGrew(t *testing.T) {
	t.Parallel()
	r := newRepoAt(t, midnight)
	list := newChanging(1200)
	for i := range 5 {
		list.change(8)
		at(r, midnight.Add(time.Duration(i)*time.Hour))
		put(t, r, "b", list.text())
	}
	at(r, midnight.AddDate(0, 0, 1)) // a build that broke
	put(t, r, "b", strings.Join(list.records[:20], "\n")+"\n", func(rel *publish.Release) { rel.Shrink = "broken" })
	at(r, midnight.AddDate(0, 0, 1).Add(time.Hour))
	put(t, r, "b", list.text(), func(rel *publish.Release) { rel.Growth = "mended" })
	if got := froms(t, r, "b"); !slices.Equal(got, []int64{1, 2, 3, 4, 5, 6}) {
		t.Errorf("deltas to what was mended lead from %v", got)
	}
	at(r, midnight.AddDate(0, 0, 1).Add(2*time.Hour))
	list.grow(1800)
	put(t, r, "b", list.text())
	if got := froms(t, r, "b"); !slices.Contains(got, 7) {
		t.Errorf("deltas to what grew lead from %v", got)
	}
}

// TestAFarIndexThatIsLostIsLetGo has prune and the next release say so, and go on.
func TestAFarIndexThatIsLostIsLetGo(t *testing.T) {
	t.Parallel()
	r := newRepoAt(t, midnight)
	for i := range 3 {
		at(r, midnight.AddDate(0, 0, i))
		put(t, r, "b", ten(i))
	}
	if err := os.Remove(filepath.Join(r.Dir, index(t, r, manifest(t, r, "b")).Checkpoints[1].Far.Path())); err != nil {
		t.Fatal(err)
	}
	var told []string
	r.Warn = func(text string) { told = append(told, text) }
	if _, err := r.Prune(t.Context(), false); err != nil || !strings.Contains(strings.Join(told, "\n"), "far index of base b version 2") {
		t.Errorf("prune without it: %v, told %q", err, told)
	}
	for i := range 2 {
		at(r, midnight.AddDate(0, 0, 3+i))
		done := put(t, r, "b", ten(3+i))
		if warned := strings.Contains(strings.Join(done.Warnings, "\n"), "no way on from versions around 2"); warned != (i == 0) {
			t.Errorf("%q", done.Warnings)
		}
	}
	if _, err := r.Prune(t.Context(), false); err != nil {
		t.Error(err)
	}
	check(t, r)
}

// TestADiskThatCannotBeReadNowCostsNoHistory has the list of images be there and
// not to be read.
func TestADiskThatCannotBeReadNowCostsNoHistory(t *testing.T) {
	t.Parallel()
	r := newRepoAt(t, midnight)
	for i := range 3 {
		at(r, midnight.AddDate(0, 0, i))
		put(t, r, "b", ten(i))
	}
	list := filepath.Join(r.Dir, index(t, r, manifest(t, r, "b")).Images.Path())
	if err := errors.Join(os.Rename(list, list+".away"), os.Symlink(list, list)); err != nil {
		t.Fatal(err)
	}
	at(r, midnight.AddDate(0, 0, 3))
	if done, err := tryPut(t, r, "b", ten(3)); err == nil {
		t.Errorf("%+v", done)
	}
	if err := os.Rename(list+".away", list); err != nil {
		t.Fatal(err)
	}
	put(t, r, "b", ten(3))
	if n := len(index(t, r, manifest(t, r, "b")).Checkpoints); n != 4 {
		t.Errorf("%d checkpoints", n)
	}
}

// TestALeftoverShortensNoGrace has a run that was killed long ago leave the
// number after the one that is superseded only now.
func TestALeftoverShortensNoGrace(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	put(t, r, "b", ten(1))
	put(t, r, "b", ten(2))
	old, was := manifest(t, r, "b"), client(t, r).Targets["bases"].Signed.Version
	killed := &publish.Repository{Dir: r.Dir, Disk: &durable.Disk{Step: func(_, path string) error {
		if strings.Contains(path, ".snapshot.json") {
			return errors.New("killed")
		}
		return nil
	}}}
	if _, err := tryPut(t, killed, "b", ten(3)); err == nil {
		t.Fatal("it was not killed")
	}
	age(t, r, 3*time.Hour)
	put(t, r, "b", ten(3))
	if _, err := r.Prune(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{fmt.Sprintf("metadata/%d.bases.json", was), old.Index.Path()} {
		if _, err := os.Stat(filepath.Join(r.Dir, path)); err != nil {
			t.Errorf("superseded just now: %v", err)
		}
	}
}

// TestAPruneAfterAKilledReleaseHoldsOnToIt has the power go after that: what the
// older state needs is gone, so that the newer one must stand.
func TestAPruneAfterAKilledReleaseHoldsOnToIt(t *testing.T) {
	p := newPress(t)
	p.random = p.sequence(t.Name())
	j := jobs()["a release"]
	cases := 0
	for n := 1; ; n++ {
		killed, step := p.stop("", p.begin(j), j, n)
		if killed == nil {
			break
		}
		if !strings.Contains(step, "syncdir repo/metadata") {
			p.end(killed)
			continue
		}
		cases++
		p.place(killed)
		if _, err := p.repository(killed.Disk(crashtest.Hooks{})).Prune(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		left := filepath.Join(t.TempDir(), "left")
		p.must(killed.PowerCut(left, nil))
		p.must(os.RemoveAll(p.dir))
		p.must(os.Rename(left, p.dir))
		r := p.repository(nil)
		if v, err := r.Verify(t.Context()); err != nil || len(v.Wrong) > 0 {
			t.Errorf("killed at %s: %v %q", step, err, v.Wrong)
		}
	}
	if cases == 0 {
		t.Error("the release was never killed before it held on to its last name")
	}
}

// TestAClockThatWasAhead signs once by one, and goes on by one that is right.
func TestAClockThatWasAhead(t *testing.T) {
	t.Parallel()
	now := midnight
	t.Run("when it refreshed", func(t *testing.T) {
		r := newRepoAt(t, now)
		put(t, r, "b", ten(1))
		at(r, now.AddDate(0, 0, 30))
		if _, err := r.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		at(r, now.Add(time.Hour))
		told := 0
		r.Warn = func(text string) {
			if strings.Contains(text, "ahead of the clock") && strings.Contains(text, "key replace "+r.Dir+" timestamp") {
				told++
			}
		}
		if _, err := r.Refresh(t.Context()); err != nil || told != 1 {
			t.Errorf("a refresh: %v, told %d times", err, told)
		}
		if _, err := tryPut(t, r, "b", ten(2)); err != nil || told != 1 {
			t.Errorf("a release after it: %v, told %d times", err, told)
		}
	})
	t.Run("when it published", func(t *testing.T) {
		r := newRepoAt(t, now)
		put(t, r, "b", ten(1), func(rel *publish.Release) { rel.Published = now.Add(4 * time.Minute) })
		at(r, now.Add(-time.Hour/60*4))
		_, err := tryPut(t, r, "b", ten(2))
		var refused *publish.Error
		if !errors.As(err, &refused) || !strings.Contains(refused.Hint, "--published "+now.Add(4*time.Minute).Format(time.RFC3339)) {
			t.Fatalf("%v: %+v", err, refused)
		}
		put(t, r, "b", ten(2), func(rel *publish.Release) { rel.Published = now.Add(4 * time.Minute) })
	})
}

// TestABundleLeavesNobodyOut begins at a version after which one has no deltas.
func TestABundleLeavesNobodyOut(t *testing.T) {
	t.Parallel()
	r := newRepoAt(t, midnight)
	one := newChanging(1200).text()
	for i, content := range []string{one, "example\n", one} {
		at(r, midnight.Add(time.Duration(i)*time.Hour))
		put(t, r, "b", content, func(rel *publish.Release) { rel.Shrink, rel.Growth = "broken", "mended" })
	}
	m := manifest(t, r, "b")
	if got := froms(t, r, "b"); slices.Contains(got, 2) {
		t.Fatalf("deltas lead from %v", got)
	}
	out := filepath.Join(t.TempDir(), "bundle")
	if _, err := r.Bundle(t.Context(), publish.Bundle{Out: out, From: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(out, m.Full.Path())); err != nil {
		t.Errorf("who has version 2 finds no way: %v", err)
	}
}
