package trust_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/trust"
	"github.com/freshet/freshet/internal/trust/trusttest"
)

// Whoever had the keys of timestamp and snapshot published huge versions; the
// publisher rotates keys and starts low again (section 5.3.11).
func TestFastForwardRecovery(t *testing.T) {
	tests := []struct {
		name   string
		attack func(r *trusttest.Repo)
		rotate []string
		want   map[string]int64
	}{
		{"timestamp keys free the timestamp version", func(r *trusttest.Repo) {
			r.Timestamp.Signed.Version = 1000
			r.Publish(timestamp)
			r.Timestamp.Signed.Version = 2
		}, []string{timestamp}, map[string]int64{timestamp: 3, snapshot: 3, targets: 2}},
		{"timestamp keys free the snapshot version that the timestamp named", func(r *trusttest.Repo) {
			r.Snapshot.Signed.Version = 1000
			r.Publish(snapshot, timestamp)
			r.Snapshot.Signed.Version = 2
		}, []string{timestamp}, map[string]int64{timestamp: 4, snapshot: 3, targets: 2}},
		{"snapshot keys free the targets version, and the snapshot's own", func(r *trusttest.Repo) {
			r.Targets[targets].Signed.Version = 1000
			r.Snapshot.Signed.Version = 1000
			r.Publish(targets, snapshot, timestamp)
			r.Targets[targets].Signed.Version = 2
			r.Snapshot.Signed.Version = 2
			r.Snapshot.Signed.Meta["targets.json"].Version = 1
			r.Publish(targets)
		}, []string{snapshot}, map[string]int64{timestamp: 4, snapshot: 3, targets: 3}},
		{"timestamp keys free the versions that the snapshot lists", func(r *trusttest.Repo) {
			r.Snapshot.Signed.Meta["bases.json"].Version = 1000
			r.Publish(snapshot, timestamp)
			r.Snapshot.Signed.Meta["bases.json"].Version = 1
		}, []string{timestamp}, map[string]int64{timestamp: 4, snapshot: 4, targets: 2}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := newFreshEndpoint(t)
			test.attack(e.repo)
			e.mustRefresh(e.repo)

			for _, role := range test.rotate {
				e.repo.RotateKeys(role)
			}
			e.repo.Publish(root, snapshot, timestamp)
			e.recovered = true
			v := e.mustRefresh(e.repo)
			test.want[root], test.want["bases"] = 2, 1
			wantVersions(t, v, test.want)

			e.recovered = false // from here on the new versions are the mark
			e.mustRefresh(e.repo)
		})
	}
}

// More roots than one run takes: the next goes on from there, and what was
// stored under the first of them is known by it.
func TestRootsBeyondThoseOfOneRun(t *testing.T) {
	e := newFreshEndpoint(t)
	for range 300 {
		e.repo.Publish(root)
	}
	e.repo.RotateKeys(timestamp)
	e.repo.RotateKeys(root)
	e.repo.Publish(root, timestamp)
	_, err := e.refresh(e.repo)
	wantKind(t, err, trust.Unavailable, root)
	e.recovered = true
	v := e.mustRefresh(e.repo)
	if got := v.Versions()[root]; got != 302 {
		t.Errorf("root version %d, want 302", got)
	}
	if notes := v.Notes(); len(notes) > 0 {
		t.Errorf("it takes what is stored for damaged: %v", notes)
	}
}

// A chain with a link missing ends there, and says so as soon as that root has
// expired: before, the rest cannot be told from another's signatures.
func TestRootsThatAMirrorLost(t *testing.T) {
	e := newFreshEndpoint(t)
	for range 20 {
		e.repo.Publish(root)
	}
	e.repo.RotateKeys(timestamp)
	e.repo.Publish(root, timestamp)
	delete(e.repo.Files, "metadata/9.root.json")
	_, err := e.refresh(e.repo)
	wantKind(t, err, trust.BadSignature, timestamp)
	if !strings.Contains(err.Error(), "root version 8") {
		t.Errorf("it does not say how far it came: %v", err)
	}
	e.now = e.now.AddDate(2, 0, 0)
	_, err = e.refresh(e.repo)
	wantKind(t, err, trust.Expired, root)
	if !strings.Contains(err.Error(), "there is no version 9") {
		t.Errorf("it does not say what is missing: %v", err)
	}
}

func TestRotationOfRootKeysFreesNothing(t *testing.T) {
	e := newFreshEndpoint(t)
	old := e.repo.Mirror()
	e.repo.Publish(timestamp)
	e.mustRefresh(e.repo)
	e.repo.RotateKeys(root)
	e.repo.Publish(root)
	for path, data := range e.repo.Files {
		if path == "metadata/2.root.json" {
			old.Files[path] = data
		}
	}
	_, err := e.refresh(old)
	wantKind(t, err, trust.Behind, timestamp)
}

// Power fails, or the disk, at each step in turn; then the same call again
// must succeed. The history of the repository is one in which everything moves.
func TestDiskFailingAtEachStep(t *testing.T) {
	errDisk := errors.New("no space left")
	for _, first := range []bool{true, false} {
		for failAt := 1; ; failAt++ {
			e := newEndpoint(t)
			if !first {
				e = newFreshEndpoint(t)
				e.repo.RotateKeys(root)
				e.repo.Publish(root)
				e.repo.AddKey(snapshot)
				e.repo.Publish(root)
				e.repo.PublishAll()
			}
			steps := 0
			e.Disk = &durable.Disk{Step: func(op, path string) error {
				if steps++; steps == failAt {
					return fmt.Errorf("%s %s: %w", op, path, errDisk)
				}
				return nil
			}}
			v, err := e.refresh(e.repo)
			if err == nil {
				_, err = v.Target(t.Context(), e.repo, "bases/maltrail.json")
				e.checkInvariants()
			}
			if steps < failAt {
				if err != nil {
					t.Fatal(err)
				}
				break // the whole of it ran without reaching failAt
			}
			if !errors.Is(err, errDisk) || trust.KindOf(err) != trust.Storage {
				t.Fatalf("step %d: got %v, want the disk's error as Storage", failAt, err)
			}
			e.Disk = nil
			v = e.mustRefresh(e.repo)
			if _, err := v.Target(t.Context(), e.repo, "bases/maltrail.json"); err != nil {
				t.Fatalf("step %d: afterwards: %v", failAt, err)
			}
			e.checkInvariants()
			if left, _ := filepath.Glob(filepath.Join(e.Dir, "*.tmp-*")); len(left) > 0 {
				t.Errorf("step %d: left %v", failAt, left)
			}
		}
	}
}

func TestDamagedFilesArePassedOverAndTold(t *testing.T) {
	for _, damage := range []string{"", "{", `{"signed":null,"signatures":[]}`, `null`} {
		for _, role := range []string{root, timestamp, snapshot, targets, "bases"} {
			t.Run(fmt.Sprintf("%s becomes %q", role, damage), func(t *testing.T) {
				e := newFreshEndpoint(t)
				e.repo.Publish(root)
				e.mustRefresh(e.repo)
				want := e.stored(role + ".json")

				e.damage(role+".json", damage)
				e.recovered = true
				v := e.mustRefresh(e.repo)
				if _, err := v.Target(t.Context(), e.repo, "bases/maltrail.json"); err != nil {
					t.Error(err)
				}
				wantNote(t, v, trust.Damaged, role)
				if string(e.stored(role+".json")) != string(want) {
					t.Errorf("%s was not replaced", role)
				}
				wantVersions(t, v, map[string]int64{root: 2, timestamp: 2, snapshot: 2, targets: 2, "bases": 1})
			})
		}
	}
}

func wantNote(t *testing.T, v *trust.View, kind trust.Kind, role string) {
	t.Helper()
	for _, note := range v.Notes() {
		var e *trust.Error
		if errors.As(note, &e) && e.Kind == kind && e.Role == role {
			return
		}
	}
	t.Errorf("no note of kind %q for role %q in %v", kind, role, v.Notes())
}

func TestDamagedTimestampStillProtectsBySnapshot(t *testing.T) {
	e := newFreshEndpoint(t)
	old := e.repo.Mirror()
	e.repo.PublishAll()
	e.mustRefresh(e.repo)
	e.damage("timestamp.json", "")
	e.recovered = true
	_, err := e.refresh(old)
	wantKind(t, err, trust.Behind, timestamp)
}

func TestDamagedRootWithoutHistoryStartsFromThePinnedOne(t *testing.T) {
	e := newFreshEndpoint(t)
	e.repo.RotateKeys(root)
	e.repo.Publish(root)
	e.repo.Publish(root)
	e.mustRefresh(e.repo)
	e.repo.Requests()

	e.damage("root.json", "")
	if err := os.RemoveAll(filepath.Join(e.Dir, "root_history")); err != nil {
		t.Fatal(err)
	}
	e.recovered = true // until the chain is walked again
	v, err := e.Refresh(t.Context(), e.repo)
	if err != nil {
		t.Fatal(err)
	}
	wantVersions(t, v, map[string]int64{root: 3, timestamp: 2, snapshot: 2, targets: 2, "bases": 1})
	wantRequests(t, e.repo.Source, "2.root.json", "3.root.json", "4.root.json", "timestamp.json")
	e.checkInvariants()
}

func TestHistoryLeadsOnFromAnOlderRoot(t *testing.T) {
	e := newFreshEndpoint(t)
	first := e.stored("root.json")
	e.repo.RotateKeys(root)
	e.repo.Publish(root)
	e.mustRefresh(e.repo)
	e.repo.Requests()

	e.damage("root.json", string(first)) // as if killed between the two writes of root 2
	e.mustRefresh(e.repo)
	wantRequests(t, e.repo.Source, "3.root.json", "timestamp.json")
}

func TestLeftoversOfAKilledRunAreRemoved(t *testing.T) {
	e := newFreshEndpoint(t)
	left := filepath.Join(e.Dir, "timestamp.json.tmp-0123456789")
	if err := os.WriteFile(left, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	e.mustRefresh(e.repo)
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", left, err)
	}
}

func TestLoad(t *testing.T) {
	t.Run("without any root is refused", func(t *testing.T) {
		_, err := (&trust.Client{Dir: t.TempDir()}).Load()
		wantKind(t, err, trust.NoRoot, root)
	})
	t.Run("with a pinned root that is damaged is refused", func(t *testing.T) {
		_, err := (&trust.Client{Dir: t.TempDir(), Root: []byte("{}")}).Load()
		wantKind(t, err, trust.NoRoot, root)
	})
	t.Run("before the first refresh holds the pinned root and writes nothing", func(t *testing.T) {
		e := newEndpoint(t)
		v, err := e.Load()
		if err != nil {
			t.Fatal(err)
		}
		wantVersions(t, v, map[string]int64{root: 1})
		_, err = v.Target(t.Context(), e.repo, "bases/maltrail.json")
		wantKind(t, err, trust.NotStored, targets)
		if _, err := os.Stat(e.Dir); !os.IsNotExist(err) {
			t.Errorf("%s was made: %v", e.Dir, err)
		}
		wantRequests(t, e.repo.Source)
	})
	t.Run("reads what is expired and says so", func(t *testing.T) {
		e := newFreshEndpoint(t)
		e.now = start.Add(365 * day)
		v, err := e.Load()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Target(t.Context(), nil, "bases/maltrail.json"); err != nil {
			t.Error(err)
		}
		for _, role := range []string{root, timestamp, snapshot, targets} {
			wantNote(t, v, trust.Expired, role)
		}
	})
	t.Run("reads the older targets that an interrupted refresh left", func(t *testing.T) {
		e := newFreshEndpoint(t)
		e.repo.PublishAll()
		delete(e.repo.Files, "metadata/3.targets.json")
		_, err := e.refresh(e.repo)
		wantKind(t, err, trust.Unavailable, targets)
		v, err := e.Load()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Target(t.Context(), nil, "bases/maltrail.json"); err != nil {
			t.Error(err)
		}
		wantNote(t, v, trust.Behind, targets)
		wantNote(t, v, trust.Behind, "bases")
	})
}
