package publish_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/internal/clock"
	"github.com/freshet/freshet/internal/source"
	"github.com/freshet/freshet/internal/trust"
	"github.com/freshet/freshet/publish"
)

// follower is the trust client of an agent that follows a repository.
type follower struct {
	t *testing.T
	*trust.Client
	from trust.Fetcher
	now  time.Time
}

func follow(t *testing.T, r *publish.Repository, dir string) *follower {
	t.Helper()
	f := &follower{t: t, from: reader{source.Local(dir, nil)}, now: r.Clock.Now()}
	f.Client = &trust.Client{Dir: filepath.Join(t.TempDir(), "trust"), Root: read(t, r, "metadata/1.root.json"), Clock: &clock.Clock{Wall: func() time.Time { return f.now }}}
	return f
}

// sees refreshes and gives the version of the base that is offered.
func (f *follower) sees() (int64, error) {
	f.t.Helper()
	view, err := f.Refresh(f.t.Context(), f.from)
	if err != nil {
		return 0, err
	}
	target, err := view.Target(f.t.Context(), f.from, bases.TargetPath("list"))
	if err != nil {
		return 0, err
	}
	data, err := f.from.Fetch(f.t.Context(), target.FetchPath, target.Length)
	if err != nil {
		return 0, err
	}
	m, err := bases.ParseManifest("list", data)
	if err != nil {
		return 0, err
	}
	return m.Version, nil
}

func (f *follower) expect(version int64) {
	f.t.Helper()
	if v, err := f.sees(); err != nil || v != version {
		f.t.Fatalf("the agent sees version %d, %v; want %d", v, err, version)
	}
}

// replace replaces keys, and asserts that the repository is sound afterwards.
func replace(t *testing.T, r *publish.Repository, what ...string) []publish.Replaced {
	t.Helper()
	done, err := r.ReplaceKeys(t.Context(), publish.Rotation{What: what})
	if err != nil {
		t.Fatal(err)
	}
	check(t, r)
	return done
}

// keyOf is the ID of the n-th key of a role.
func keyOf(t *testing.T, r *publish.Repository, role string, n int) string {
	t.Helper()
	all, err := r.ListKeys()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(k publish.RoleKeys) bool { return k.Role == role })
	return all[i].Keys[n].ID
}

func TestKeysAreListedByRole(t *testing.T) {
	r := newRepo(t)
	all, err := r.ListKeys()
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, k := range all {
		said = append(said, fmt.Sprintf("%s %d of %d", k.Role, k.Threshold, len(k.Keys)))
		for _, key := range k.Keys {
			if len(key.ID) != 64 || !strings.Contains(filepath.Base(key.File), k.Role) {
				t.Errorf("%s: %+v", k.Role, key)
			}
		}
		if k.Expires.Before(time.Now()) {
			t.Errorf("%s expires %s", k.Role, k.Expires)
		}
	}
	if got := strings.Join(said, ", "); got != "root 2 of 3, targets 2 of 2, modules 2 of 3, bases 1 of 1, snapshot 1 of 1, timestamp 1 of 1" {
		t.Errorf("%s", got)
	}
	os.RemoveAll(filepath.Join(filepath.Dir(r.Dir), "keys"))
	if all, err = r.ListKeys(); err != nil || len(all) != 6 || all[0].Keys[0].File != "" {
		t.Errorf("without any key at hand: %+v, %v", all, err)
	}
}

// TestAReplacedKeyIsWorthNothingAndAgentsFollow replaces a key of each role.
func TestAReplacedKeyIsWorthNothingAndAgentsFollow(t *testing.T) {
	for _, role := range []string{"root", "targets", "modules", "bases", "snapshot", "timestamp"} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			r := newRepo(t)
			put(t, r, "list", ten(1))
			agent := follow(t, r, r.Dir)
			agent.expect(1)
			old := keyOf(t, r, role, 0)
			done := replace(t, r, old[:12])
			if len(done) != 1 || done[0].Role != role || done[0].Old.ID != old || keyOf(t, r, role, 0) == old {
				t.Errorf("%+v", done)
			}
			agent.expect(1)
			fresh := follow(t, r, r.Dir)
			fresh.expect(1)
			if err := os.Remove(done[0].Old.File); err != nil {
				t.Fatal(err)
			}
			put(t, r, "list", ten(2))
			if _, err := r.Renew(t.Context(), role); err != nil {
				t.Errorf("the role cannot be signed without the old key: %v", err)
			}
			check(t, r)
			agent.expect(2)
			fresh.expect(2)
			if again, err := r.ReplaceKeys(t.Context(), publish.Rotation{What: []string{old}}); err != nil || len(again) != 0 {
				t.Errorf("the same command again: %+v, %v", again, err)
			}
		})
	}
}

// thief signs with keys that were stolen.
type thief struct {
	t    *testing.T
	dir  string // a copy of the repository
	keys map[string]signature.Signer
}

func steal(t *testing.T, r *publish.Repository, roles ...string) *thief {
	t.Helper()
	th := &thief{t: t, dir: filepath.Join(t.TempDir(), "mirror"), keys: map[string]signature.Signer{}}
	if err := os.CopyFS(th.dir, os.DirFS(r.Dir)); err != nil {
		t.Fatal(err)
	}
	for _, role := range roles {
		all, err := r.ListKeys()
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(all, func(k publish.RoleKeys) bool { return k.Role == role })
		if th.keys[role], err = signature.LoadSignerFromPEMFile(all[i].Keys[0].File, 0, nil); err != nil {
			t.Fatal(err)
		}
	}
	return th
}

// forward signs snapshot and timestamp with the highest versions.
func (th *thief) forward(version int64) {
	th.t.Helper()
	c := client(th.t, &publish.Repository{Dir: th.dir})
	snap := c.Snapshot
	snap.Signed.Version = version
	snap.Signed.Meta["bases.json"].Version = c.Targets["bases"].Signed.Version
	put := func(name string, data []byte, err error) {
		if err == nil {
			err = os.WriteFile(filepath.Join(th.dir, "metadata", name), data, 0o644)
		}
		if err != nil {
			th.t.Fatal(err)
		}
	}
	if signer := th.keys["snapshot"]; signer != nil {
		snap.ClearSignatures()
		if _, err := snap.Sign(signer); err != nil {
			th.t.Fatal(err)
		}
		data, err := snap.ToBytes(false)
		put(fmt.Sprintf("%d.snapshot.json", version), data, err)
		c.Timestamp.Signed.Meta["snapshot.json"] = metadata.MetaFile(version)
	}
	c.Timestamp.Signed.Version = version
	c.Timestamp.ClearSignatures()
	if _, err := c.Timestamp.Sign(th.keys["timestamp"]); err != nil {
		th.t.Fatal(err)
	}
	data, err := c.Timestamp.ToBytes(false)
	put("timestamp.json", data, err)
}

// TestFastForwardIsUndoneByReplacingTheKeys has a thief sign versions that none
// can follow, for agents to believe, and the publisher take that back.
func TestFastForwardIsUndoneByReplacingTheKeys(t *testing.T) {
	for _, row := range []struct {
		name   string
		stolen []string
		inside bool // the thief sat at the publisher
	}{
		{"timestamp", []string{"timestamp"}, false},
		{"snapshot and timestamp", []string{"snapshot", "timestamp"}, false},
		{"snapshot and timestamp, in the repository itself", []string{"snapshot", "timestamp"}, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			r := newRepo(t)
			put(t, r, "list", ten(1))
			agent := follow(t, r, r.Dir)
			agent.expect(1)
			th := steal(t, r, row.stolen...)
			th.forward(math.MaxInt64)
			agent.from = reader{source.Local(th.dir, nil)}
			agent.expect(1)
			if row.inside {
				if err := os.CopyFS(filepath.Join(r.Dir, "metadata-of-the-thief"), os.DirFS(filepath.Join(th.dir, "metadata"))); err != nil {
					t.Fatal(err)
				}
				os.RemoveAll(filepath.Join(r.Dir, "metadata"))
				if err := os.Rename(filepath.Join(r.Dir, "metadata-of-the-thief"), filepath.Join(r.Dir, "metadata")); err != nil {
					t.Fatal(err)
				}
				var refused *publish.Error
				if _, err := r.Refresh(t.Context()); !errors.As(err, &refused) || !strings.Contains(refused.Hint, "key replace") {
					t.Errorf("refresh of versions that none can follow: %v", err)
				}
			} else {
				put(t, r, "list", ten(2))
			}
			agent.from = reader{source.Local(r.Dir, nil)}
			if v, err := agent.sees(); !row.inside && trust.KindOf(err) != trust.Behind {
				t.Errorf("before the keys are replaced the agent sees %d, %v", v, err)
			}
			replace(t, r, row.stolen...)
			put(t, r, "list", ten(3))
			want := manifest(t, r, "list").Version
			agent.expect(want)
			agent.from = reader{source.Local(th.dir, nil)} // the thief tries it again
			if v, err := agent.sees(); err == nil && v != want {
				t.Errorf("the stolen keys still count: version %d", v)
			}
		})
	}
}

// TestAnAgentYearsBehindFollowsEveryRoot leaves an agent with the first root
// while all keys are replaced each half year, also those of the root.
func TestAnAgentYearsBehindFollowsEveryRoot(t *testing.T) {
	start := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	r := newRepoAt(t, start)
	put(t, r, "list", ten(1))
	agent := follow(t, r, r.Dir)
	agent.expect(1)
	for n := 1; n <= 10; n++ {
		at(r, start.AddDate(0, 6*n, 0))
		all := []string{"bases", "snapshot", "timestamp", keyOf(t, r, "root", 0), keyOf(t, r, "targets", n%2), keyOf(t, r, "modules", 0)}
		if _, err := r.ReplaceKeys(t.Context(), publish.Rotation{What: all}); err != nil {
			t.Fatal(err)
		}
		if _, err := tryPut(t, r, "list", ten(n+1)); err != nil {
			t.Fatal(err)
		}
	}
	check(t, r)
	agent.now = r.Clock.Now()
	agent.expect(11)
	if _, err := os.Stat(filepath.Join(r.Dir, "metadata/11.root.json")); err != nil {
		t.Error(err)
	}
}

func TestKeysThatCannotBeReplacedChangeNothing(t *testing.T) {
	r := newRepo(t)
	put(t, r, "list", ten(1))
	keys := filepath.Join(filepath.Dir(r.Dir), "keys")
	other := filepath.Join(keys, "online-bases.pem")
	for _, row := range []struct {
		name string
		ask  publish.Rotation
		take []string // key files that are not at hand
		want string
	}{
		{"a role that is not there", publish.Rotation{What: []string{"mirror"}}, nil, "no role and no key"},
		{"a role of several keys", publish.Rotation{What: []string{"root"}}, nil, "root has 3 keys"},
		{"two keys and one file", publish.Rotation{What: []string{"bases", "timestamp"}, New: other}, nil, "2 keys"},
		{"a key of another role", publish.Rotation{What: []string{"timestamp"}, New: other}, nil, "serves a role already"},
		{"without two keys of root", publish.Rotation{What: []string{"timestamp"}}, []string{"offline-root-1.pem", "offline-root-2.pem"}, "signing root takes 2"},
		{"without the keys of targets", publish.Rotation{What: []string{"bases"}}, []string{"offline-targets-1.pem"}, "signing targets takes 2"},
		{"without the key of the snapshot", publish.Rotation{What: []string{"bases"}}, []string{"online-snapshot.pem"}, "signing snapshot takes 1"},
	} {
		t.Run(row.name, func(t *testing.T) {
			away := t.TempDir()
			for _, f := range row.take {
				if err := os.Rename(filepath.Join(keys, f), filepath.Join(away, f)); err != nil {
					t.Fatal(err)
				}
				defer os.Rename(filepath.Join(away, f), filepath.Join(keys, f))
			}
			before := files(t, filepath.Dir(r.Dir))
			_, err := r.ReplaceKeys(context.Background(), row.ask)
			var refused *publish.Error
			if !errors.As(err, &refused) || !strings.Contains(err.Error(), row.want) {
				t.Errorf("%v", err)
			}
			if files(t, filepath.Dir(r.Dir)) != before {
				t.Error("it changed something")
			}
			check(t, r)
		})
	}
}
