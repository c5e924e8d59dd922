package trust_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/freshet/freshet/internal/trust"
	"github.com/freshet/freshet/internal/trust/trusttest"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

func TestTargetSaysWhatIsSigned(t *testing.T) {
	e := newFreshEndpoint(t)
	content := []byte(`{"version":7}`)
	e.repo.AddTarget("bases", "bases/yara.json", content, map[string]int{"records": 3})
	e.repo.PublishAll()
	target, err := e.mustRefresh(e.repo).Target(t.Context(), e.repo, "bases/yara.json")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(content)
	hash := hex.EncodeToString(sum[:])
	if target.Path != "bases/yara.json" || target.Role != "bases" || target.Length != int64(len(content)) ||
		target.SHA256 != sum || target.Hex() != hash || target.Hashes["sha256"] != hash ||
		string(target.Custom) != `{"records":3}` || target.FetchPath != "targets/bases/"+hash+".yara.json" {
		t.Errorf("got %+v", target)
	}
	data, err := e.repo.Fetch(t.Context(), target.FetchPath, target.Length)
	if err != nil || string(data) != string(content) {
		t.Errorf("fetched %q: %v", data, err)
	}
}

// Each delegation is "parent>role pattern", with "!" after the role where it
// is terminating. A target is "role:path".
func TestSearchThroughDelegations(t *testing.T) {
	tests := []struct {
		name        string
		delegations []string
		targets     []string
		find        string
		want        string   // role; empty is NoTarget
		visits      []string // roles fetched, in order
	}{
		{"the top-level role comes before those it delegates to",
			[]string{"targets>a *"}, []string{"targets:x", "a:x"}, "x", "targets", nil},
		{"the first delegation that matches wins",
			[]string{"targets>a *", "targets>b *"}, []string{"a:x", "b:x"}, "x", "a", []string{"a"}},
		{"what is below a role comes before its neighbour",
			[]string{"targets>a *", "targets>b *", "a>c *"}, []string{"b:x", "c:x"}, "x", "c", []string{"a", "c"}},
		{"a role whose patterns do not match is not visited",
			[]string{"targets>a y*", "targets>b x*"}, []string{"a:x", "b:x"}, "x", "b", []string{"b"}},
		{"a terminating role ends the search after those below it",
			[]string{"targets>a! *", "targets>b *", "a>c *"}, []string{"b:x"}, "x", "", []string{"a", "c"}},
		{"a terminating role ends the search for the neighbours of its parent too",
			[]string{"targets>a *", "targets>b *", "a>c! *"}, []string{"b:x"}, "x", "", []string{"a", "c"}},
		{"a terminating role that does not match ends nothing",
			[]string{"targets>a! y", "targets>b *"}, []string{"b:x"}, "x", "b", []string{"b"}},
		{"a circle is walked once",
			[]string{"targets>a *", "a>b *", "b>a *"}, nil, "x", "", []string{"a", "b"}},
		{"a star does not match a slash",
			[]string{"targets>a *"}, []string{"a:x/y"}, "x/y", "", nil},
		{"a class in brackets does not match a slash",
			[]string{"targets>a x[.-0]y"}, []string{"a:x/y"}, "x/y", "", nil},
		{"a pattern that is none matches nothing",
			[]string{"targets>a [", "targets>b *"}, []string{"b:["}, "[", "b", []string{"b"}},
		{"a role may not name what its parent may not",
			[]string{"targets>a a/*", "a>b *"}, []string{"b:x"}, "x", "", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := newEndpoint(t)
			for _, d := range test.delegations {
				edge, pattern, _ := strings.Cut(d, " ")
				parent, role, _ := strings.Cut(edge, ">")
				name := strings.TrimSuffix(role, "!")
				e.repo.Delegate(parent, metadata.DelegatedRole{Name: name, Paths: []string{pattern}, Terminating: name != role})
			}
			for _, target := range test.targets {
				role, path, _ := strings.Cut(target, ":")
				e.repo.AddTarget(role, path, []byte(target), nil)
			}
			e.repo.PublishAll()
			v := e.mustRefresh(e.repo)
			e.repo.Requests()
			target, err := v.Target(t.Context(), e.repo, test.find)
			if test.want == "" {
				wantKind(t, err, trust.NoTarget, "")
			} else if err != nil || target.Role != test.want {
				t.Errorf("found in %q: %v", target.Role, err)
			}
			var files []string
			for _, role := range test.visits {
				files = append(files, fmt.Sprintf("%d.%s.json", e.repo.Targets[role].Signed.Version, role))
			}
			wantRequests(t, e.repo.Source, files...)
		})
	}
}

func TestPathHashPrefixesAreHex(t *testing.T) {
	e := newEndpoint(t)
	sum := sha256.Sum256([]byte("x"))
	e.repo.Delegate("targets", metadata.DelegatedRole{Name: "other", PathHashPrefixes: []string{"00", "ff"}})
	e.repo.Delegate("targets", metadata.DelegatedRole{Name: "bin", PathHashPrefixes: []string{hex.EncodeToString(sum[:1])}})
	e.repo.AddTarget("other", "x", nil, nil)
	e.repo.AddTarget("bin", "x", nil, nil)
	e.repo.PublishAll()
	target, err := e.mustRefresh(e.repo).Target(t.Context(), e.repo, "x")
	if err != nil || target.Role != "bin" {
		t.Errorf("found in %q: %v", target.Role, err)
	}
}

func TestSearchIsBounded(t *testing.T) {
	e := newEndpoint(t)
	parent := "targets"
	for i := range 40 {
		role := fmt.Sprint("r", i)
		e.repo.Delegate(parent, metadata.DelegatedRole{Name: role, Paths: []string{"*"}})
		parent = role
	}
	e.repo.PublishAll()
	_, err := e.mustRefresh(e.repo).Target(t.Context(), e.repo, "x")
	wantKind(t, err, trust.Malformed, "r31")
}

// What is trusted over one delegation is not trusted over another.
func TestRoleOfTwoParentsIsVerifiedForEach(t *testing.T) {
	e := newEndpoint(t)
	e.repo.Delegate("targets", metadata.DelegatedRole{Name: "a", Paths: []string{"a/*"}})
	e.repo.Delegate("targets", metadata.DelegatedRole{Name: "b", Paths: []string{"b/*"}})
	e.repo.Delegate("a", metadata.DelegatedRole{Name: "shared", Paths: []string{"a/*"}})
	signers := e.repo.Signers["shared"]
	e.repo.Delegate("b", metadata.DelegatedRole{Name: "shared", Paths: []string{"b/*"}})
	e.repo.Signers["shared"] = signers // not with the key that b names
	e.repo.AddTarget("shared", "a/x", nil, nil)
	e.repo.AddTarget("shared", "b/x", nil, nil)
	e.repo.PublishAll()
	v := e.mustRefresh(e.repo)
	if _, err := v.Target(t.Context(), e.repo, "a/x"); err != nil {
		t.Error(err)
	}
	_, err := v.Target(t.Context(), e.repo, "b/x")
	wantKind(t, err, trust.BadSignature, "shared")
}

func TestDelegatedRoleRefused(t *testing.T) {
	tests := []struct {
		name   string
		change func(e *endpoint)
		kind   trust.Kind
	}{
		{"when it is expired", func(e *endpoint) { e.repo.Targets["bases"].Signed.Expires = start.Add(-1) }, trust.Expired},
		{"when a stranger signed it", func(e *endpoint) { e.repo.Signers["bases"] = e.repo.Signers[targets] }, trust.BadSignature},
		{"when it meets half of its threshold", func(e *endpoint) {
			e.repo.Targets[targets].Signed.Delegations.Roles[0].Threshold = 2
		}, trust.BadSignature},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := newFreshEndpoint(t)
			test.change(e)
			e.repo.PublishAll()
			e.repo.Publish("bases", snapshot, timestamp)
			_, err := e.mustRefresh(e.repo).Target(t.Context(), e.repo, "bases/maltrail.json")
			wantKind(t, err, test.kind, "bases")
			e.checkInvariants()
		})
	}
}

func TestDelegatedRoleNotInTheSnapshotIsNotFetched(t *testing.T) {
	e := newEndpoint(t)
	delete(e.repo.Snapshot.Signed.Meta, "bases.json")
	e.repo.Publish(snapshot, timestamp)
	v := e.mustRefresh(e.repo)
	e.repo.Requests()
	_, err := v.Target(t.Context(), e.repo, "bases/maltrail.json")
	wantKind(t, err, trust.Mismatch, "bases")
	wantRequests(t, e.repo.Source)
}

func TestRoleNamesStayInTheFolder(t *testing.T) {
	for _, name := range []string{"../../evil", "/etc/evil", "?", "#", "..", "a\x00b"} {
		t.Run(name, func(t *testing.T) {
			e := newEndpoint(t)
			e.repo.Delegate("targets", metadata.DelegatedRole{Name: name, Paths: []string{"*"}})
			e.repo.AddTarget(name, "x", nil, nil)
			e.repo.PublishAll()
			target, err := e.mustRefresh(e.repo).Target(t.Context(), e.repo, "x")
			if err != nil || target.Role != name {
				t.Errorf("found in %q: %v", target.Role, err)
			}
			e.checkInvariants() // reads back all files that are in the folder
		})
	}
	for _, name := range []string{root, timestamp, snapshot, targets, "", strings.Repeat("x", 65)} {
		t.Run("refused: "+name, func(t *testing.T) {
			e := newEndpoint(t)
			e.repo.Targets[targets].Signed.Delegations.Roles[0].Name = name
			e.repo.Publish(targets, snapshot, timestamp)
			_, err := e.refresh(e.repo)
			wantKind(t, err, trust.Malformed, targets)
		})
	}
}

func TestTargetHashes(t *testing.T) {
	tests := []struct {
		name   string
		hashes metadata.Hashes
		any    bool
		ok     bool
	}{
		{"a SHA-256 is enough", metadata.Hashes{"sha256": make([]byte, 32)}, false, true},
		{"a SHA-256 beside one unknown is enough", metadata.Hashes{"sha256": make([]byte, 32), "new": make([]byte, 9)}, false, true},
		{"a SHA-256 of a wrong length is refused", metadata.Hashes{"sha256": make([]byte, 31)}, false, false},
		{"a SHA-512 alone is refused", metadata.Hashes{"sha512": make([]byte, 64)}, false, false},
		{"a SHA-512 alone is taken where any hash is", metadata.Hashes{"sha512": make([]byte, 64)}, true, true},
		{"an unknown hash alone is refused even there", metadata.Hashes{"new": make([]byte, 64)}, true, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := newFreshEndpoint(t)
			e.AnyHash = test.any
			e.repo.Targets["bases"].Signed.Targets["bases/maltrail.json"].Hashes = test.hashes
			e.repo.PublishAll()
			_, err := e.mustRefresh(e.repo).Target(t.Context(), e.repo, "bases/maltrail.json")
			if test.ok && err != nil {
				t.Error(err)
			} else if !test.ok {
				wantKind(t, err, trust.Malformed, "bases")
			}
		})
	}
}

func TestTargetPathOutsideIsRefused(t *testing.T) {
	e := newFreshEndpoint(t)
	for _, path := range []string{"../x", "/x", "a//b", "."} {
		e.repo.AddTarget(targets, path, nil, nil)
	}
	e.repo.PublishAll()
	v := e.mustRefresh(e.repo)
	for _, path := range []string{"../x", "/x", "a//b", "."} {
		_, err := v.Target(t.Context(), e.repo, path)
		wantKind(t, err, trust.Malformed, targets)
	}
}

func TestList(t *testing.T) {
	e := newFreshEndpoint(t)
	e.repo.AddTarget("bases", "bases/yara.json", []byte("y"), nil)
	e.repo.AddTarget("bases", "modules/agent.json", []byte("not its to give"), nil)
	e.repo.AddTarget("bases", "bases/shadowed.json", []byte("bases"), nil)
	e.repo.AddTarget("targets", "bases/shadowed.json", []byte("targets"), nil)
	e.repo.PublishAll()
	v := e.mustRefresh(e.repo)
	check := func(v *trust.View, f trust.Fetcher, role string, want ...string) {
		t.Helper()
		list, err := v.List(t.Context(), f, role)
		var got []string
		for _, target := range list {
			got = append(got, target.Role+":"+target.Path)
		}
		if err != nil || strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("got %v: %v", got, err)
		}
	}
	check(v, e.repo, "bases", "bases:bases/maltrail.json", "bases:bases/yara.json")
	check(v, nil, "targets", "targets:bases/shadowed.json")
	_, err := v.List(t.Context(), e.repo, "modules")
	wantKind(t, err, trust.NoTarget, "modules")

	stored, err := e.Load()
	if err != nil {
		t.Fatal(err)
	}
	check(stored, nil, "bases", "bases:bases/maltrail.json", "bases:bases/yara.json")
}

func TestTargetWithoutASourceUsesWhatIsStored(t *testing.T) {
	e := newFreshEndpoint(t)
	v := e.mustRefresh(e.repo)
	if _, err := v.Target(t.Context(), nil, "bases/maltrail.json"); err != nil {
		t.Error(err)
	}
	e.repo.PublishAll()
	_, err := e.mustRefresh(e.repo).Target(t.Context(), nil, "bases/maltrail.json")
	wantKind(t, err, trust.NotStored, "bases")
}

var _ trust.Fetcher = (*trusttest.Source)(nil)
