// Package trusttest makes TUF repositories in memory, for tests.
package trusttest

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path"
	"sync"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/trust"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Repo is a publisher: change its metadata, then Publish.
type Repo struct {
	Root      *metadata.Metadata[metadata.RootType]
	Timestamp *metadata.Metadata[metadata.TimestampType]
	Snapshot  *metadata.Metadata[metadata.SnapshotType]
	Targets   map[string]*metadata.Metadata[metadata.TargetsType] // "targets" and delegated roles

	// Signers are the keys that sign a role. Taking one away makes it sign
	// with too few.
	Signers map[string][]signature.Signer
	// NoHashes leaves length and hash of metadata out of snapshot and timestamp.
	NoHashes bool

	*Source // what is published

	t       testing.TB
	keys    int
	signed  map[string]bool
	written map[string][]byte // the newest bytes of each role
}

// New publishes version 1 of the four top-level roles. All expire 30 days
// after now.
func New(t testing.TB, now time.Time) *Repo {
	t.Helper()
	expires := now.Add(30 * 24 * time.Hour).UTC().Truncate(time.Second)
	r := &Repo{
		Root:      metadata.Root(expires),
		Timestamp: metadata.Timestamp(expires),
		Snapshot:  metadata.Snapshot(expires),
		Targets:   map[string]*metadata.Metadata[metadata.TargetsType]{metadata.TARGETS: metadata.Targets(expires)},
		Signers:   map[string][]signature.Signer{},
		Source:    &Source{Files: map[string][]byte{}},
		t:         t,
		signed:    map[string]bool{},
		written:   map[string][]byte{},
	}
	for _, role := range metadata.TOP_LEVEL_ROLE_NAMES {
		r.AddKey(role)
	}
	r.Publish(metadata.ROOT)
	r.PublishAll()
	return r
}

// RootBytes is a version of the root, to pin.
func (r *Repo) RootBytes(version int) []byte {
	return r.Files[fmt.Sprintf("metadata/%d.root.json", version)]
}

// PublishAll publishes all targets roles, the snapshot and the timestamp.
func (r *Repo) PublishAll() {
	r.t.Helper()
	for role := range r.Targets {
		r.Publish(role)
	}
	r.Publish(metadata.SNAPSHOT, metadata.TIMESTAMP)
}

// Publish signs a next version of each role, in the order given, and names
// it in the snapshot or timestamp that is published after it.
func (r *Repo) Publish(roles ...string) {
	r.t.Helper()
	for _, role := range roles {
		switch role {
		case metadata.ROOT:
			publish(r, role, r.Root, &r.Root.Signed.Version)
		case metadata.TIMESTAMP:
			publish(r, role, r.Timestamp, &r.Timestamp.Signed.Version)
		case metadata.SNAPSHOT:
			version := publish(r, role, r.Snapshot, &r.Snapshot.Signed.Version)
			r.Timestamp.Signed.Meta["snapshot.json"] = r.meta(role, version)
		default:
			version := publish(r, role, r.Targets[role], &r.Targets[role].Signed.Version)
			r.Snapshot.Signed.Meta[role+".json"] = r.meta(role, version)
		}
	}
}

func publish[T metadata.Roles](r *Repo, role string, md *metadata.Metadata[T], version *int64) int64 {
	r.t.Helper()
	if r.signed[role] {
		*version++
	}
	r.signed[role] = true
	data := Sign(r.t, md, r.Signers[role]...)
	r.written[role] = data
	name := url.PathEscape(role) + ".json"
	if role == metadata.ROOT || r.Root.Signed.ConsistentSnapshot && role != metadata.TIMESTAMP {
		name = fmt.Sprintf("%d.%s", *version, name)
	}
	r.Files["metadata/"+name] = data
	return *version
}

func (r *Repo) meta(role string, version int64) *metadata.MetaFiles {
	if r.NoHashes {
		return &metadata.MetaFiles{Version: version}
	}
	data := r.written[role]
	sum := sha256.Sum256(data)
	return &metadata.MetaFiles{
		Version: version, Length: int64(len(data)), Hashes: metadata.Hashes{"sha256": sum[:]},
	}
}

// Sign replaces the signatures on md and returns its bytes.
func Sign[T metadata.Roles](t testing.TB, md *metadata.Metadata[T], signers ...signature.Signer) []byte {
	t.Helper()
	md.ClearSignatures()
	for _, s := range signers {
		if _, err := md.Sign(s); err != nil {
			t.Fatal(err)
		}
	}
	data, err := md.ToBytes(false)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// AddKey gives a top-level role one more key, in the root not published yet.
func (r *Repo) AddKey(role string) {
	r.t.Helper()
	key, signer := r.newKey()
	if err := r.Root.Signed.AddKey(key, role); err != nil {
		r.t.Fatal(err)
	}
	r.Signers[role] = append(r.Signers[role], signer)
}

// RotateKeys replaces all keys of a top-level role, in the root not published
// yet. A new root is signed by the old keys too.
func (r *Repo) RotateKeys(role string) {
	r.t.Helper()
	old := r.Signers[role]
	r.Root.Signed.Roles[role].KeyIDs = nil
	r.Signers[role] = nil
	for range old {
		r.AddKey(role)
	}
	if role == metadata.ROOT {
		r.Signers[role] = append(r.Signers[role], old...)
	}
}

func (r *Repo) newKey() (*metadata.Key, signature.Signer) {
	r.t.Helper()
	r.keys++
	seed := sha256.Sum256(fmt.Append(nil, "trusttest key ", r.keys))
	private := ed25519.NewKeyFromSeed(seed[:])
	key, err := metadata.KeyFromPublicKey(private.Public())
	if err != nil {
		r.t.Fatal(err)
	}
	signer, err := signature.LoadSigner(private, crypto.Hash(0))
	if err != nil {
		r.t.Fatal(err)
	}
	return key, signer
}

// Delegate adds a role with one new key below the role parent. The fields of
// d but the key are taken as they are, a threshold of 0 as 1.
func (r *Repo) Delegate(parent string, d metadata.DelegatedRole) {
	r.t.Helper()
	by := &r.Targets[parent].Signed
	if by.Delegations == nil {
		by.Delegations = &metadata.Delegations{Keys: map[string]*metadata.Key{}}
	}
	d.Threshold = max(d.Threshold, 1)
	by.Delegations.Roles = append(by.Delegations.Roles, d)
	key, signer := r.newKey()
	if err := by.AddKey(key, d.Name); err != nil {
		r.t.Fatal(err)
	}
	r.Signers[d.Name] = append(r.Signers[d.Name], signer)
	if r.Targets[d.Name] == nil {
		r.Targets[d.Name] = metadata.Targets(by.Expires)
	}
}

// AddTarget lets a role name a target, and puts its content into the repository.
func (r *Repo) AddTarget(role, name string, content []byte, custom any) {
	r.t.Helper()
	file, err := metadata.TargetFile().FromBytes(name, content)
	if err != nil {
		r.t.Fatal(err)
	}
	if custom != nil {
		data, err := json.Marshal(custom)
		if err != nil {
			r.t.Fatal(err)
		}
		file.Custom = (*json.RawMessage)(&data)
	}
	r.Targets[role].Signed.Targets[name] = file
	dir, base := path.Split(name)
	if r.Root.Signed.ConsistentSnapshot {
		base = hex.EncodeToString(file.Hashes["sha256"]) + "." + base
	}
	r.Files["targets/"+dir+base] = content
}

// Source is a mirror: a [trust.Fetcher] over files by path.
type Source struct {
	Files map[string][]byte

	mu       sync.Mutex
	requests []string
}

// Mirror is a copy of what is published now. What is published later does
// not reach it.
func (s *Source) Mirror() *Source { return &Source{Files: maps.Clone(s.Files)} }

// ErrBroken is what a nil file answers with: a source that fails.
var ErrBroken = errors.New("the source broke off")

// Fetch is that of [trust.Fetcher].
func (s *Source) Fetch(ctx context.Context, path string, limit int64) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, path)
	data, ok := s.Files[path]
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case !ok:
		return nil, fmt.Errorf("%s: %w", path, trust.ErrNotFound)
	case data == nil:
		return nil, ErrBroken
	case int64(len(data)) > limit:
		return nil, fmt.Errorf("%s: %w", path, trust.ErrTooLarge)
	}
	return data, nil
}

// Requests returns the paths asked for since it was last called.
func (s *Source) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.requests
	s.requests = nil
	return all
}
