package publish_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/licence"
	"github.com/freshet/freshet/internal/trust"
	"github.com/freshet/freshet/publish"
)

// terms reads what the signed targets say about licences, as an agent does.
func terms(t *testing.T, r *publish.Repository) licence.Terms {
	t.Helper()
	data, err := json.Marshal(client(t, r).Targets["targets"].Signed.UnrecognizedFields[licence.Field])
	if err != nil {
		t.Fatal(err)
	}
	if string(data) == "null" {
		data = nil
	}
	all, err := licence.ParseTerms(data)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func require(t *testing.T, r *publish.Repository, required bool) *publish.LicenceTerms {
	t.Helper()
	said, err := r.RequireLicence(t.Context(), required)
	if err != nil {
		t.Fatal(err)
	}
	check(t, r)
	return said
}

// judge holds an issued licence against what the repository says.
func judge(t *testing.T, r *publish.Repository, data []byte) licence.State {
	t.Helper()
	d, err := licence.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	root, err := os.ReadFile(filepath.Join(r.Dir, "metadata/1.root.json"))
	if err != nil {
		t.Fatal(err)
	}
	return licence.Judge(terms(t, r), []*licence.Document{d}, trust.RepositoryID(root), "", time.Now()).State
}

func nextYear(to string) publish.Grant {
	return publish.Grant{To: to, Until: time.Now().AddDate(1, 0, 0)}
}

func TestANewRepositoryAsksForNoLicenceAndIssuesNone(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	if said := terms(t, r); said.Required || len(said.Keys) > 0 {
		t.Errorf("%+v", said)
	}
	_, _, err := r.Licence(nextYear("Example Ltd"))
	var refused *publish.Error
	if !errors.As(err, &refused) || !strings.Contains(refused.Hint, "licence key") {
		t.Errorf("%v", err)
	}
	version := client(t, r).Targets["targets"].Signed.Version
	require(t, r, false)
	if now := client(t, r).Targets["targets"].Signed.Version; now != version {
		t.Error("waiving what is not asked for signed anew")
	}
}

func TestLicencesCanBeIssuedBeforeTheyAreAskedFor(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	said, err := r.LicenceKey(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(said.New); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v, %v", st, err)
	}
	if terms(t, r).Required {
		t.Error("it asks for one already")
	}
	l, data, err := r.Licence(nextYear("Example Ltd"))
	if err != nil {
		t.Fatal(err)
	}
	if again := require(t, r, true); again.New != "" || !slices.Equal(again.Keys, said.Keys) {
		t.Errorf("asking for one changed the key: %+v", again)
	}
	if state := judge(t, r, data); state != licence.Current {
		t.Errorf("licence %+v is %s", l, state)
	}
	// Bases and renewals leave it as it is.
	put(t, r, "list", ten(1))
	if _, err := r.Renew(t.Context(), "targets"); err != nil {
		t.Fatal(err)
	}
	if state := judge(t, r, data); state != licence.Current {
		t.Errorf("after a renewal it is %s", state)
	}
	require(t, r, false)
	if said := terms(t, r); said.Required || len(said.Keys) != 1 {
		t.Errorf("waived: %+v", said)
	}
}

func TestAReplacedKeyMakesItsLicencesVoid(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	first := require(t, r, true)
	_, old, err := r.Licence(nextYear("Example Ltd"))
	if err != nil {
		t.Fatal(err)
	}
	second, err := r.LicenceKey(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	if second.New == first.New || len(second.Keys) != 1 || second.Keys[0] == first.Keys[0] || !second.Required {
		t.Errorf("%+v after %+v", second, first)
	}
	if state := judge(t, r, old); state != licence.Missing {
		t.Errorf("the old one is %s", state)
	}
	_, data, err := r.Licence(nextYear("Example Ltd"))
	if err != nil {
		t.Fatal(err)
	}
	if state := judge(t, r, data); state != licence.Current {
		t.Errorf("a new one is %s", state)
	}
}

func TestTermsAndLicencesThatAreRefusedChangeNothing(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	require(t, r, true)
	before := files(t, filepath.Dir(r.Dir))
	for name, g := range map[string]publish.Grant{
		"no name":           {Until: time.Now().AddDate(1, 0, 0)},
		"an end gone by":    {To: "x", Until: time.Now().Add(-time.Second)},
		"no end":            {To: "x"},
		"an agent mistyped": {To: "x", Until: time.Now().AddDate(1, 0, 0), Agent: strings.Repeat("0", 32)},
		"a name of 2 lines": {To: "x\ny", Until: time.Now().AddDate(1, 0, 0)},
	} {
		var refused *publish.Error
		if _, _, err := r.Licence(g); !errors.As(err, &refused) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if after := files(t, filepath.Dir(r.Dir)); after != before {
		t.Errorf("changed:\n%s\n%s", before, after)
	}
	keys := filepath.Join(filepath.Dir(r.Dir), "keys")
	if err := os.Rename(filepath.Join(keys, "offline-targets-2.pem"), filepath.Join(t.TempDir(), "away")); err != nil {
		t.Fatal(err)
	}
	before = files(t, filepath.Dir(r.Dir))
	if _, err := r.LicenceKey(t.Context(), true); err == nil {
		t.Error("a key was replaced by one of two signatures")
	}
	if _, err := r.RequireLicence(t.Context(), false); err == nil {
		t.Error("it was waived by one of two signatures")
	}
	if after := files(t, filepath.Dir(r.Dir)); after != before {
		t.Errorf("changed:\n%s\n%s", before, after)
	}
}

func TestTermsStoppedAnywhereAreTheOldOrTheNew(t *testing.T) {
	t.Parallel()
	stop := errors.New("stopped")
	for n := 1; ; n++ {
		r := newRepo(t)
		steps := 0
		r.Disk = &durable.Disk{Step: func(string, string) error {
			if steps++; steps >= n {
				return stop
			}
			return nil
		}}
		_, err := r.RequireLicence(t.Context(), true)
		r.Disk = nil
		terms(t, r) // verified
		if err == nil {
			return
		}
		said := require(t, r, true)
		if _, data, err := r.Licence(nextYear("x")); err != nil || judge(t, r, data) != licence.Current || len(said.Keys) != 1 {
			t.Fatalf("step %d: %+v, %v", n, said, err)
		}
	}
}
