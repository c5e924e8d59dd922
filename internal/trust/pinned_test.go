package trust_test

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/freshet/freshet/internal/trust"
)

func TestReadPinned(t *testing.T) {
	e := newEndpoint(t)
	data := e.repo.RootBytes(1)
	p, err := trust.ReadPinned(data)
	sum := sha256.Sum256(data)
	if err != nil || p.Version != 1 || p.Repository != trust.RepositoryID(data) || p.Fingerprint != hex.EncodeToString(sum[:]) {
		t.Errorf("%+v, %v", p, err)
	}
	for name, bad := range map[string]string{
		"nothing":                "",
		"another role":           string(e.repo.Files["metadata/timestamp.json"]),
		"without its signatures": strings.Replace(string(data), `"signatures"`, `"signature"`, 1),
		"too long":               string(data) + strings.Repeat(" ", trust.MaxRoot),
	} {
		if _, err := trust.ReadPinned([]byte(bad)); trust.KindOf(err) != trust.NoRoot {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestYearsOff has an endpoint come back after years, over roots whose keys were
// replaced each year, all of them expired but the last.
func TestYearsOff(t *testing.T) {
	for _, row := range []struct {
		name string
		lost int // version of the root that no source has any more; 0: none
		kind trust.Kind
		says string
	}{
		{"each root is there", 0, "", ""},
		{"one on the way is lost", 3, trust.Expired, "there is no version 3"},
	} {
		t.Run(row.name, func(t *testing.T) {
			e := newFreshEndpoint(t)
			for range 5 {
				e.now = e.now.Add(365 * day)
				e.yearly()
			}
			if row.lost > 0 {
				delete(e.repo.Files, "metadata/3.root.json")
				e.damaged = true // what is stored is of replaced keys
			}
			v, err := e.refresh(e.repo)
			if row.kind != "" {
				if trust.KindOf(err) != row.kind || !strings.Contains(err.Error(), row.says) {
					t.Fatalf("%v, want %s, %q", err, row.kind, row.says)
				}
				// The publisher's newest root, put in place by hand, leads on.
				e.Client.Root = e.repo.RootBytes(6)
				v, err = e.Refresh(t.Context(), e.repo) // its history has a gap, on purpose
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := v.Versions()[root]; got != 6 {
				t.Errorf("root version %d, want 6", got)
			}
			if _, err := v.Target(t.Context(), e.repo, "bases/maltrail.json"); err != nil {
				t.Error(err)
			}
			// An older root pinned afterwards changes nothing.
			e.Client.Root = e.repo.RootBytes(1)
			if v, err = e.Load(); err != nil || v.Versions()[root] != 6 {
				t.Errorf("after pinning an old one: %v, %v", v, err)
			}
		})
	}
}

// yearly replaces the keys of all top-level roles and signs everything anew.
func (e *endpoint) yearly() {
	e.t.Helper()
	expires := e.now.Add(30 * day)
	for _, role := range []string{root, timestamp, snapshot, targets} {
		e.repo.RotateKeys(role)
	}
	e.recovered = true
	e.repo.Root.Signed.Expires, e.repo.Timestamp.Signed.Expires, e.repo.Snapshot.Signed.Expires = expires, expires, expires
	for _, md := range e.repo.Targets {
		md.Signed.Expires = expires
	}
	e.repo.Publish(root)
	// Next year's root is signed by this year's keys alone.
	e.repo.Signers[root] = e.repo.Signers[root][:len(e.repo.Root.Signed.Roles[root].KeyIDs)]
	e.repo.PublishAll()
}
