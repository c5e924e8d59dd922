package trust_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/trust"
	"github.com/freshet/freshet/internal/trust/trusttest"
)

// newSets is an endpoint that keeps complete sets, and a mirror of each of some
// sets, counted from 1 on.
func newSets(t *testing.T, versions int) (*endpoint, []*trusttest.Source) {
	t.Helper()
	e := newEndpoint(t)
	e.Sets = true
	at := []*trusttest.Source{nil, e.repo.Mirror()}
	for len(at) <= versions {
		for _, data := range e.repo.Files {
			e.signed[string(data)] = true
		}
		e.repo.PublishAll()
		at = append(at, e.repo.Mirror())
	}
	return e, at
}

// of is the file of a role in the set k: newEndpoint has published twice.
func of(k int, role string) string { return fmt.Sprintf("metadata/%d.%s.json", k+1, role) }

// relay has the endpoint see the newest timestamp, and nothing that it names.
func (e *endpoint) relay(s *trusttest.Source) {
	e.t.Helper()
	m := &trusttest.Source{Files: map[string][]byte{"metadata/timestamp.json": s.Files["metadata/timestamp.json"]}}
	if _, err := e.refresh(m); trust.KindOf(err) != trust.Unavailable {
		e.t.Fatalf("without a snapshot: %v", err)
	}
}

func (e *endpoint) complete(v *trust.View) {
	e.t.Helper()
	if err := v.Complete(); err != nil {
		e.t.Fatal(err)
	}
}

func (e *endpoint) wantBehind(s *trusttest.Source) {
	e.t.Helper()
	_, err := e.refresh(s)
	wantKind(e.t, err, trust.Behind, timestamp)
}

func TestNothingBelowTheLastCompleteSet(t *testing.T) {
	e, at := newSets(t, 5)
	e.complete(e.mustRefresh(at[2]))
	e.wantBehind(at[1])
	e.relay(at[5])
	e.wantBehind(at[1])
	for _, s := range []*trusttest.Source{at[3], at[2], at[4]} { // none of which is complete
		if v := e.mustRefresh(s); !v.Older() {
			t.Error("it is not said that it is older than what was seen")
		}
	}
	e.complete(e.mustRefresh(at[4]))
	e.wantBehind(at[3])
	e.wantBehind(at[2])
	e.complete(e.mustRefresh(at[4])) // it is there as long as no newer one is
	v := e.mustRefresh(at[5])
	if v.Older() {
		t.Error("the newest set is said to be older")
	}
	e.mustRefresh(at[4])
	e.complete(v)
	e.wantBehind(at[4])
}

func TestSetsAreNotMixed(t *testing.T) {
	e, at := newSets(t, 5)
	e.complete(e.mustRefresh(at[2]))
	e.relay(at[5])
	for _, file := range []string{"snapshot", "targets"} {
		mixed := at[4].Mirror()
		mixed.Files[of(4, file)] = at[3].Files[of(3, file)]
		_, err := e.refresh(mixed)
		wantKind(t, err, trust.Mismatch, file)
	}
	forged := at[4].Mirror()
	forged.Files["metadata/timestamp.json"] = bytes.Replace(at[1].Files["metadata/timestamp.json"], []byte(`"version":2}`), []byte(`"version":4}`), -1)
	if bytes.Equal(forged.Files["metadata/timestamp.json"], at[1].Files["metadata/timestamp.json"]) {
		t.Fatal("nothing was forged")
	}
	if _, err := e.refresh(forged); trust.KindOf(err) != trust.BadSignature {
		t.Errorf("a forged timestamp: %v", err)
	}
	if e.mustRefresh(at[5]).Older() {
		t.Error("the newest set is said to be older")
	}
}

// An older set is held against the newest time of signing all the same.
func TestAnOlderSetBringsNoTimeBack(t *testing.T) {
	e := newEndpoint(t)
	e.Sets = true
	e.synced(start, bad)
	e.sign(start)
	e.complete(e.mustRefresh(e.repo))
	old := e.repo.Mirror()
	e.sign(start.Add(20 * day))
	e.relay(e.repo.Mirror())
	e.wantFloor("seen:", start.Add(20*day))
	e.synced(time.Unix(0, 0), bad)
	_, err := e.refresh(old)
	wantKind(t, err, trust.Expired, timestamp)
	e.wantFloor("turned back:", start.Add(20*day))
	e.synced(start.Add(day), good) // which doubts the newest time of signing
	e.mustRefresh(old)
	e.wantFloor("an older signature lowers nothing:", start.Add(20*day))
}

// TestSetsAfterAPowerCut fails each step on the disk in turn: what the next run
// finds refuses what was complete, and takes what is newer.
func TestSetsAfterAPowerCut(t *testing.T) {
	errCut := errors.New("the power failed")
	for n := 0; ; n++ {
		e, at := newSets(t, 4)
		e.complete(e.mustRefresh(at[2]))
		step := 0
		e.Disk = &durable.Disk{Step: func(op, path string) error {
			if step++; step > n {
				return errCut
			}
			return nil
		}}
		v, err := e.refresh(at[3])
		if err == nil {
			err = v.Complete()
		}
		e.Disk = nil
		if err == nil && n == 0 {
			t.Fatal("nothing was written")
		}
		e.wantBehind(at[1])
		if err == nil {
			e.wantBehind(at[2])
		}
		e.complete(e.mustRefresh(at[3]))
		e.wantBehind(at[2])
		e.complete(e.mustRefresh(at[4]))
		e.wantBehind(at[3])
		if err == nil {
			return
		}
	}
}

// TestSetsThatAreLost has stored files damaged or of a backup.
func TestSetsThatAreLost(t *testing.T) {
	for _, row := range []struct {
		name   string
		damage func(dir string, timestamp2 []byte) error
		below  int // the newest that is refused once 3 is complete and 5 was seen
	}{
		{"none", func(string, []byte) error { return nil }, 2},
		{"no set: all that was seen counts", func(dir string, _ []byte) error { return os.Remove(filepath.Join(dir, "last-complete")) }, 4},
		{"half a set: all that was seen counts", func(dir string, _ []byte) error {
			return os.WriteFile(filepath.Join(dir, "last-complete"), []byte(`{"timestamp":"e30=`), 0o644)
		}, 4},
		{"a set that nobody signed: all that was seen counts", func(dir string, _ []byte) error {
			return os.WriteFile(filepath.Join(dir, "last-complete"), []byte(`{"timestamp":"e30=","snapshot":"e30="}`), 0o644)
		}, 4},
		{"no timestamp", func(dir string, _ []byte) error { return os.Remove(filepath.Join(dir, "timestamp.json")) }, 2},
		{"a timestamp of a backup", func(dir string, old []byte) error {
			return os.WriteFile(filepath.Join(dir, "timestamp.json"), old, 0o644)
		}, 2},
	} {
		t.Run(row.name, func(t *testing.T) {
			e, at := newSets(t, 5)
			e.damaged, e.recovered = true, true
			e.complete(e.mustRefresh(at[3]))
			e.relay(at[5])
			if err := row.damage(e.Dir, at[2].Files["metadata/timestamp.json"]); err != nil {
				t.Fatal(err)
			}
			for k := 1; k < 5; k++ {
				_, err := e.refresh(at[k])
				if behind := trust.KindOf(err) == trust.Behind; behind != (k <= row.below) || err != nil && !behind {
					t.Errorf("version %d: %v", k, err)
				}
			}
			e.complete(e.mustRefresh(at[5]))
			e.wantBehind(at[4])
		})
	}
}
