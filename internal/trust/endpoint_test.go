package trust_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/freshet/freshet/internal/clock"
	"github.com/freshet/freshet/internal/trust"
	"github.com/freshet/freshet/internal/trust/trusttest"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

// endpoint is a client with what it must never forget.
type endpoint struct {
	*trust.Client
	t    *testing.T
	repo *trusttest.Repo
	now  time.Time

	signed    map[string]bool // all bytes that the publisher ever published
	seen      map[string]int64
	recovered bool // keys were rotated: versions may fall, once
	damaged   bool // the test damaged stored files
}

// newEndpoint makes a repository with one base and an endpoint that pins its
// first root and has fetched nothing yet.
func newEndpoint(t *testing.T) *endpoint {
	t.Helper()
	r := trusttest.New(t, start)
	r.Delegate("targets", metadata.DelegatedRole{Name: "bases", Paths: []string{"bases/*"}})
	r.AddTarget("bases", "bases/maltrail.json", []byte(`{"version":1}`), nil)
	r.PublishAll()
	e := &endpoint{t: t, repo: r, now: start, signed: map[string]bool{}, seen: map[string]int64{}}
	e.Client = &trust.Client{Dir: filepath.Join(tempDir(t), "trust", "repo"), Root: r.RootBytes(1), Clock: &clock.Clock{Wall: e.clock}}
	return e
}

// tempDir is in memory where there is such a place: thousands of fsyncs are
// called for here, and what they do to a disk is not what is tested.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "freshet-trust-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// newFreshEndpoint is newEndpoint after its first refresh and with the base looked up.
func newFreshEndpoint(t *testing.T) *endpoint {
	t.Helper()
	e := newEndpoint(t)
	v := e.mustRefresh(e.repo)
	if _, err := v.Target(t.Context(), e.repo, "bases/maltrail.json"); err != nil {
		t.Fatal(err)
	}
	e.checkInvariants()
	e.repo.Requests()
	return e
}

func (e *endpoint) clock() time.Time { return e.now }

func (e *endpoint) refresh(f trust.Fetcher) (*trust.View, error) {
	e.t.Helper()
	v, err := e.Refresh(e.t.Context(), f)
	if err != nil && trust.KindOf(err) == "" {
		e.t.Errorf("error without a kind: %v", err)
	}
	e.checkInvariants()
	return v, err
}

func (e *endpoint) mustRefresh(f trust.Fetcher) *trust.View {
	e.t.Helper()
	v, err := e.refresh(f)
	if err != nil {
		e.t.Fatal(err)
	}
	return v
}

// checkInvariants holds after every step, failed ones too: what is stored
// loads, is byte for byte what the publisher signed, and is never older than
// what was stored before, but after a rotation of keys.
func (e *endpoint) checkInvariants() {
	e.t.Helper()
	for _, data := range e.repo.Files {
		e.signed[string(data)] = true
	}
	v, err := e.Load()
	if err != nil {
		e.t.Fatalf("what is stored does not load: %v", err)
	}
	for _, note := range v.Notes() {
		if trust.KindOf(note) == trust.Damaged && !e.damaged {
			e.t.Errorf("stored metadata is damaged: %v", note)
		}
	}
	versions := v.Versions()
	for role, seen := range e.seen {
		if versions[role] < seen && !e.recovered {
			e.t.Errorf("%s went back from version %d to %d", role, seen, versions[role])
		}
	}
	maps.Copy(e.seen, versions)
	e.checkFiles(versions[metadata.ROOT])
}

func (e *endpoint) checkFiles(root int64) {
	e.t.Helper()
	files, err := filepath.Glob(filepath.Join(e.Dir, "*.json"))
	if err != nil {
		e.t.Fatal(err)
	}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			e.t.Fatal(err)
		}
		if !e.signed[string(data)] && !e.damaged {
			e.t.Errorf("%s is not what the publisher signed", path)
		}
	}
	if len(files) == 0 {
		return // nothing stored yet
	}
	for v := range root {
		path := filepath.Join(e.Dir, "root_history", fmt.Sprintf("%d.root.json", v+1))
		data, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(data, e.repo.RootBytes(int(v+1))) && !e.damaged {
			e.t.Errorf("root %d is not in the history: %v", v+1, err)
		}
	}
}

// stored reads a stored file.
func (e *endpoint) stored(name string) []byte {
	e.t.Helper()
	data, err := os.ReadFile(filepath.Join(e.Dir, name))
	if err != nil {
		e.t.Fatal(err)
	}
	return data
}

// damage overwrites a stored file.
func (e *endpoint) damage(name string, data string) {
	e.t.Helper()
	e.damaged = true
	if err := os.WriteFile(filepath.Join(e.Dir, name), []byte(data), 0o644); err != nil {
		e.t.Fatal(err)
	}
}

func wantKind(t *testing.T, err error, kind trust.Kind, role string) {
	t.Helper()
	e, ok := err.(*trust.Error)
	if !ok || e.Kind != kind || e.Role != role {
		t.Errorf("got %v (%T), want kind %q of role %q", err, err, kind, role)
	}
}

func wantRequests(t *testing.T, s *trusttest.Source, want ...string) {
	t.Helper()
	got := s.Requests()
	for i, r := range got {
		got[i] = strings.TrimPrefix(r, "metadata/")
	}
	if !slices.Equal(got, want) {
		t.Errorf("requests are %q, want %q", got, want)
	}
}

func wantVersions(t *testing.T, v *trust.View, want map[string]int64) {
	t.Helper()
	if got := v.Versions(); !maps.Equal(got, want) {
		t.Errorf("versions are %v, want %v", got, want)
	}
}

var _ trust.Fetcher = fetchFunc(nil)

type fetchFunc func(ctx context.Context, path string, limit int64) ([]byte, error)

func (f fetchFunc) Fetch(ctx context.Context, path string, limit int64) ([]byte, error) {
	return f(ctx, path, limit)
}
