package trust_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/trust"
	"github.com/freshet/freshet/internal/trust/trusttest"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

const (
	root, timestamp, snapshot, targets = metadata.ROOT, metadata.TIMESTAMP, metadata.SNAPSHOT, metadata.TARGETS
)

func TestFirstRefreshFetchesTheFourTopLevelRoles(t *testing.T) {
	e := newEndpoint(t)
	v := e.mustRefresh(e.repo)
	wantRequests(t, e.repo.Source, "2.root.json", "timestamp.json", "2.snapshot.json", "2.targets.json")
	wantVersions(t, v, map[string]int64{root: 1, timestamp: 2, snapshot: 2, targets: 2, "bases": 1})
	if want := start.Add(30 * day); !v.Expires().Equal(want) {
		t.Errorf("expires %v, want %v", v.Expires(), want)
	}
	if len(v.Notes()) > 0 {
		t.Errorf("notes: %v", v.Notes())
	}
}

func TestRequestsOfALaterRefresh(t *testing.T) {
	tests := []struct {
		name   string
		change func(r *trusttest.Repo)
		want   []string
	}{
		{"nothing new costs two requests", func(r *trusttest.Repo) {},
			[]string{"2.root.json", "timestamp.json"}},
		{"a timestamp signed again costs two requests", func(r *trusttest.Repo) { r.Publish(timestamp) },
			[]string{"2.root.json", "timestamp.json"}},
		{"a new snapshot with the same targets is fetched alone", func(r *trusttest.Repo) { r.Publish(snapshot, timestamp) },
			[]string{"2.root.json", "timestamp.json", "3.snapshot.json"}},
		{"a new base does not fetch the targets again", func(r *trusttest.Repo) {
			r.AddTarget("bases", "bases/maltrail.json", []byte(`{"version":2}`), nil)
			r.Publish("bases", snapshot, timestamp)
		}, []string{"2.root.json", "timestamp.json", "3.snapshot.json", "2.bases.json"}},
		{"new roots are fetched one by one", func(r *trusttest.Repo) {
			r.RotateKeys(root)
			r.Publish(root)
			r.RotateKeys(root)
			r.Publish(root)
		}, []string{"2.root.json", "3.root.json", "4.root.json", "timestamp.json"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := newFreshEndpoint(t)
			test.change(e.repo)
			v := e.mustRefresh(e.repo)
			if _, err := v.Target(t.Context(), e.repo, "bases/maltrail.json"); err != nil {
				t.Error(err)
			}
			wantRequests(t, e.repo.Source, test.want...)
		})
	}
}

// refused are sources whose refresh must fail, from an endpoint that knows
// root 1, timestamp 2, snapshot 2, targets 2 and bases 1.
var refused = []struct {
	name   string
	change func(e *endpoint)
	kind   trust.Kind
	role   string
}{
	{"a root without the signature of the old keys", func(e *endpoint) {
		e.repo.RotateKeys(root)
		e.repo.Signers[root] = e.repo.Signers[root][:1]
		e.repo.Publish(root)
	}, trust.BadSignature, root},
	{"a root without the signature of its own keys", func(e *endpoint) {
		e.repo.RotateKeys(root)
		e.repo.Signers[root] = e.repo.Signers[root][1:]
		e.repo.Publish(root)
	}, trust.BadSignature, root},
	{"a root of another version than its name", func(e *endpoint) {
		e.repo.Root.Signed.Version++
		e.repo.Publish(root)
		e.repo.Files["metadata/2.root.json"] = e.repo.Files["metadata/3.root.json"]
	}, trust.Mismatch, root},
	{"a final root that is expired", func(e *endpoint) {
		e.repo.Root.Signed.Expires = start.Add(-time.Second)
		e.repo.Publish(root)
	}, trust.Expired, root},
	{"a root of another major version of the specification", func(e *endpoint) {
		e.repo.Root.Signed.SpecVersion = "2.0.0"
		e.repo.Publish(root)
	}, trust.Malformed, root},
	{"a source that fails at the next root", func(e *endpoint) {
		e.repo.Files["metadata/2.root.json"] = nil
	}, trust.Unavailable, root},

	{"a timestamp signed by a stranger", func(e *endpoint) {
		e.repo.Signers[timestamp] = e.repo.Signers[snapshot]
		e.repo.Publish(timestamp)
	}, trust.BadSignature, timestamp},
	{"a timestamp with fewer signatures than its threshold", func(e *endpoint) {
		e.recovered = true // what has too few signatures now is no mark any more
		e.repo.AddKey(timestamp)
		e.repo.Root.Signed.Roles[timestamp].Threshold = 2
		e.repo.Publish(root)
		e.repo.Signers[timestamp] = e.repo.Signers[timestamp][:1]
		e.repo.Publish(timestamp)
	}, trust.BadSignature, timestamp},
	{"an expired timestamp", func(e *endpoint) {
		e.repo.Timestamp.Signed.Expires = start.Add(-time.Second)
		e.repo.Publish(timestamp)
	}, trust.Expired, timestamp},
	{"the same timestamp for ever", func(e *endpoint) { // freeze attack
		e.repo.Timestamp.Signed.Expires = start.Add(7 * day)
		e.repo.Publish(timestamp)
		e.mustRefresh(e.repo)
		e.now = start.Add(7*day + time.Second)
	}, trust.Expired, timestamp},
	{"no timestamp", func(e *endpoint) { delete(e.repo.Files, "metadata/timestamp.json") }, trust.Unavailable, timestamp},
	{"a timestamp over the limit", func(e *endpoint) {
		e.repo.Files["metadata/timestamp.json"] = bytes.Repeat([]byte(" "), trust.MaxTimestamp+1)
	}, trust.Malformed, timestamp},
	{"a timestamp with 300 signatures more than it needs", func(e *endpoint) {
		e.repo.Publish(timestamp)
		file := "metadata/timestamp.json"
		data, _ := bytes.CutSuffix(e.repo.Files[file], []byte("}"))
		data = bytes.Replace(data, []byte(`"signatures":[`), []byte(`"signatures":[`+manySignatures()), 1)
		e.repo.Files[file] = append(data, '}')
	}, trust.Malformed, timestamp},
	{"a snapshot signed with the timestamp's keys in its place", func(e *endpoint) {
		e.repo.Snapshot.Signed.Version = 9
		e.repo.Snapshot.Signed.Meta["snapshot.json"] = metadata.MetaFile(9)
		e.repo.Files["metadata/timestamp.json"] = trusttest.Sign(e.t, e.repo.Snapshot, e.repo.Signers[timestamp]...)
	}, trust.Malformed, timestamp},
	{"a newer timestamp that names an older snapshot", func(e *endpoint) {
		e.repo.Timestamp.Signed.Meta["snapshot.json"].Version = 1
		e.repo.Publish(timestamp)
	}, trust.Rollback, timestamp},

	{"a snapshot that is not there yet", func(e *endpoint) {
		e.repo.Publish(snapshot, timestamp)
		delete(e.repo.Files, "metadata/3.snapshot.json")
	}, trust.Unavailable, snapshot},
	{"a snapshot of another time under the name of the new one", func(e *endpoint) { // mix-and-match
		e.repo.Publish(snapshot, timestamp)
		e.repo.Files["metadata/3.snapshot.json"] = e.repo.Files["metadata/2.snapshot.json"]
	}, trust.Mismatch, snapshot},
	{"the like where no hashes are named", func(e *endpoint) {
		e.repo.NoHashes = true
		e.repo.PublishAll()
		e.mustRefresh(e.repo)
		e.repo.Publish(snapshot, timestamp)
		e.repo.Files["metadata/4.snapshot.json"] = e.repo.Files["metadata/2.snapshot.json"]
	}, trust.Mismatch, snapshot},
	{"a snapshot signed by a stranger", func(e *endpoint) {
		e.repo.Signers[snapshot] = e.repo.Signers[timestamp]
		e.repo.Publish(snapshot, timestamp)
	}, trust.BadSignature, snapshot},
	{"an expired snapshot", func(e *endpoint) {
		e.repo.Snapshot.Signed.Expires = start.Add(-time.Second)
		e.repo.Publish(snapshot, timestamp)
	}, trust.Expired, snapshot},
	{"a stored snapshot that expired since", func(e *endpoint) {
		e.repo.Snapshot.Signed.Expires = start.Add(day)
		e.repo.Publish(snapshot, timestamp)
		e.mustRefresh(e.repo)
		e.now = start.Add(2 * day)
		delete(e.repo.Files, "metadata/3.snapshot.json") // it is not fetched again
	}, trust.Expired, snapshot},
	{"a snapshot that lists older targets", func(e *endpoint) {
		e.repo.Snapshot.Signed.Meta["targets.json"].Version = 1
		e.repo.Publish(snapshot, timestamp)
	}, trust.Rollback, snapshot},
	{"a snapshot that lists an older base", func(e *endpoint) {
		e.repo.Publish("bases", snapshot, timestamp)
		e.mustRefresh(e.repo)
		e.repo.Snapshot.Signed.Meta["bases.json"].Version = 1
		e.repo.Publish(snapshot, timestamp)
	}, trust.Rollback, snapshot},
	{"a snapshot that leaves a role out", func(e *endpoint) {
		delete(e.repo.Snapshot.Signed.Meta, "bases.json")
		e.repo.Publish(snapshot, timestamp)
	}, trust.Rollback, snapshot},
	{"a snapshot that says it is longer than allowed", func(e *endpoint) {
		e.repo.Publish(snapshot)
		e.repo.Timestamp.Signed.Meta["snapshot.json"].Length = trust.MaxSnapshot + 1
		e.repo.Publish(timestamp)
	}, trust.Malformed, snapshot},

	{"targets of another time under the name of the new ones", func(e *endpoint) {
		e.repo.NoHashes = true
		e.repo.PublishAll()
		e.repo.Files["metadata/3.targets.json"] = e.repo.Files["metadata/2.targets.json"]
	}, trust.Mismatch, targets},
	{"targets signed by a delegated role", func(e *endpoint) {
		e.repo.Signers[targets] = e.repo.Signers["bases"]
		e.repo.PublishAll()
	}, trust.BadSignature, targets},
	{"expired targets", func(e *endpoint) {
		e.repo.Targets[targets].Signed.Expires = start.Add(-time.Second)
		e.repo.PublishAll()
	}, trust.Expired, targets},
	{"stored targets that expired since", func(e *endpoint) {
		e.repo.Targets[targets].Signed.Expires = start.Add(day)
		e.repo.PublishAll()
		e.mustRefresh(e.repo)
		e.now = start.Add(2 * day)
		delete(e.repo.Files, "metadata/3.targets.json") // they are not fetched again
	}, trust.Expired, targets},
	{"targets that delegate to one role twice", func(e *endpoint) {
		e.repo.Delegate(targets, metadata.DelegatedRole{Name: "bases", Paths: []string{"*"}})
		e.repo.PublishAll()
	}, trust.Malformed, targets},
}

func manySignatures() string {
	var b strings.Builder
	for i := range 300 {
		fmt.Fprintf(&b, `{"keyid":"%d","sig":""},`, i)
	}
	return b.String()
}

func TestRefused(t *testing.T) {
	for _, test := range refused {
		t.Run(test.name, func(t *testing.T) {
			e := newFreshEndpoint(t)
			good := e.repo.Mirror()
			test.change(e)
			e.checkInvariants()
			v, err := e.refresh(e.repo)
			wantKind(t, err, test.kind, test.role)
			if v != nil {
				t.Error("there is a view beside the error")
			}
			// What was trusted is still there, and protects from what was before it.
			if _, err := e.refresh(good); err != nil {
				if kind := trust.KindOf(err); kind != trust.Behind && kind != trust.Expired && kind != trust.Unavailable {
					t.Errorf("afterwards the good source is %v", err)
				}
			}
		})
	}
}

func TestMirrorBehindLowersNothing(t *testing.T) {
	e := newFreshEndpoint(t)
	old := e.repo.Mirror()
	e.repo.PublishAll()
	e.mustRefresh(e.repo)
	mark := e.stored("timestamp.json")

	_, err := e.refresh(old)
	wantKind(t, err, trust.Behind, timestamp)
	wantRequests(t, old, "2.root.json", "timestamp.json")
	if !bytes.Equal(mark, e.stored("timestamp.json")) {
		t.Error("the stored timestamp changed")
	}
	e.mustRefresh(e.repo)
}

func TestMirrorBehindARotationOfKeysIsNoAttack(t *testing.T) {
	e := newFreshEndpoint(t)
	old := e.repo.Mirror()
	e.repo.RotateKeys(timestamp)
	e.repo.Publish(root, timestamp)
	e.recovered = true
	e.mustRefresh(e.repo)
	_, err := e.refresh(old)
	wantKind(t, err, trust.Behind, timestamp)
}

func TestSameVersionWithOtherContentIsNotTaken(t *testing.T) {
	e := newFreshEndpoint(t)
	mark := e.stored("timestamp.json")
	e.repo.Timestamp.Signed.Version--
	e.repo.Timestamp.Signed.Meta["snapshot.json"].Version = 100
	e.repo.Publish(timestamp)
	v := e.mustRefresh(e.repo)
	if !bytes.Equal(mark, e.stored("timestamp.json")) || v.Versions()[snapshot] != 2 {
		t.Error("the second timestamp of one version was taken")
	}
}

func TestSourceThatReturnsMoreThanAsked(t *testing.T) {
	e := newFreshEndpoint(t)
	_, err := e.refresh(fetchFunc(func(_ context.Context, _ string, limit int64) ([]byte, error) {
		return make([]byte, limit+1), nil
	}))
	wantKind(t, err, trust.Malformed, root)
	if !errors.Is(err, trust.ErrTooLarge) {
		t.Errorf("got %v, want ErrTooLarge", err)
	}
}

func TestCancelledRefreshSaysSo(t *testing.T) {
	e := newFreshEndpoint(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := e.Refresh(ctx, e.repo)
	if !errors.Is(err, context.Canceled) || trust.KindOf(err) != trust.Unavailable {
		t.Errorf("got %v, want a cancelled fetch", err)
	}
	e.checkInvariants()
}

func TestRepositoryWithoutConsistentSnapshots(t *testing.T) {
	e := newFreshEndpoint(t)
	e.repo.Root.Signed.ConsistentSnapshot = false
	e.repo.AddTarget("bases", "bases/maltrail.json", []byte(`{"version":2}`), nil)
	e.repo.Publish(root)
	e.repo.PublishAll()
	v := e.mustRefresh(e.repo)
	target, err := v.Target(t.Context(), e.repo, "bases/maltrail.json")
	if err != nil || target.FetchPath != "targets/bases/maltrail.json" {
		t.Errorf("target is fetched from %q: %v", target.FetchPath, err)
	}
	wantRequests(t, e.repo.Source, "2.root.json", "3.root.json", "timestamp.json", "snapshot.json", "targets.json", "bases.json")
}

func TestSignedAt(t *testing.T) {
	tests := []struct {
		name  string
		field any
		want  time.Time
	}{
		{"a time is read", "2026-03-01T11:00:00Z", start.Add(-time.Hour)},
		{"no field is the zero time", nil, time.Time{}},
		{"a field that is no time is the zero time", "yesterday", time.Time{}},
		{"a field that is no text is the zero time", 17, time.Time{}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := newFreshEndpoint(t)
			if test.field != nil {
				e.repo.Timestamp.Signed.UnrecognizedFields = map[string]any{"x-freshet-signed-at": test.field}
			}
			e.repo.Publish(timestamp)
			if got := e.mustRefresh(e.repo).SignedAt(); !got.Equal(test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
			v, err := e.Load()
			if err != nil || !v.SignedAt().Equal(test.want) {
				t.Errorf("stored is %v: %v", v.SignedAt(), err)
			}
		})
	}
}
