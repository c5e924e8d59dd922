package updater_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/internal/delta"
	"github.com/freshet/freshet/internal/trust/trusttest"
	"github.com/freshet/freshet/publish"
)

// forger signs by hand what the publisher would refuse to: it holds the keys
// of a repository, or those of them that an attacker has.
type forger struct {
	t         *testing.T
	dir       string
	root      *metadata.Metadata[metadata.RootType]
	timestamp *metadata.Metadata[metadata.TimestampType]
	snapshot  *metadata.Metadata[metadata.SnapshotType]
	roles     map[string]*metadata.Metadata[metadata.TargetsType] // targets, bases, modules
	keys      map[string][]signature.Signer                       // by role
	life      map[string]time.Duration                            // from now; 0: a year
	now       time.Time
}

func readMetadata[T metadata.Roles](t *testing.T, dir, name string) *metadata.Metadata[T] {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "metadata", name))
	if err != nil {
		t.Fatal(err)
	}
	m, err := new(metadata.Metadata[T]).FromBytes(data)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// loadForger reads the newest metadata of a repository, and its keys.
func loadForger(t *testing.T, dir, keys string) *forger {
	t.Helper()
	f := &forger{t: t, dir: dir, now: time.Now().UTC().Truncate(time.Second), keys: map[string][]signature.Signer{}, life: map[string]time.Duration{}}
	for n := 1; ; n++ {
		name := fmt.Sprintf("%d.root.json", n)
		if _, err := os.Stat(filepath.Join(dir, "metadata", name)); err != nil {
			break
		}
		f.root = readMetadata[metadata.RootType](t, dir, name)
	}
	f.timestamp = readMetadata[metadata.TimestampType](t, dir, "timestamp.json")
	f.snapshot = readMetadata[metadata.SnapshotType](t, dir, fmt.Sprintf("%d.snapshot.json", f.timestamp.Signed.Meta["snapshot.json"].Version))
	f.roles = map[string]*metadata.Metadata[metadata.TargetsType]{}
	for _, role := range []string{"targets", "bases", "modules"} {
		f.roles[role] = readMetadata[metadata.TargetsType](t, dir, fmt.Sprintf("%d.%s.json", f.snapshot.Signed.Meta[role+".json"].Version, role))
	}
	files, _ := filepath.Glob(filepath.Join(keys, "*.pem"))
	for _, file := range files {
		role := strings.Split(strings.TrimSuffix(filepath.Base(file), ".pem"), "-")[1]
		f.keys[role] = append(f.keys[role], readSigner(t, file))
	}
	return f
}

func readSigner(t *testing.T, file string) signature.Signer {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	s, err := signature.LoadED25519Signer(key.(ed25519.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// newKey is a key that the repository does not know.
func newKey(t *testing.T) (*metadata.Key, signature.Signer) {
	t.Helper()
	pub, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := metadata.KeyFromPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	s, err := signature.LoadED25519Signer(private)
	if err != nil {
		t.Fatal(err)
	}
	return key, s
}

// forger signs in the mirror's folder.
func (a *attack) forger() *forger {
	a.t.Helper()
	return loadForger(a.t, a.mirror.dir, filepath.Join(a.stage.dir, "keys"))
}

func (f *forger) expires(role string) time.Time {
	if d, ok := f.life[role]; ok {
		return f.now.Add(d)
	}
	return f.now.Add(365 * 24 * time.Hour)
}

// sign publishes a next version of each role in the order given, and names it
// in the metadata above, which is signed when its turn comes.
func (f *forger) sign(roles ...string) *forger {
	f.t.Helper()
	for _, role := range roles {
		switch role {
		case "root":
			f.root.Signed.Version++
			f.root.Signed.Expires = f.expires(role)
			f.write(role, f.root.Signed.Version, trusttest.Sign(f.t, f.root, f.keys[role]...))
		case "timestamp":
			f.timestamp.Signed.Version++
			f.timestamp.Signed.Expires = f.expires(role)
			f.timestamp.Signed.UnrecognizedFields = map[string]any{publish.SignedAtField: f.now.Format(time.RFC3339)}
			f.write(role, 0, trusttest.Sign(f.t, f.timestamp, f.keys[role]...))
		case "snapshot":
			f.snapshot.Signed.Version++
			f.snapshot.Signed.Expires = f.expires(role)
			data := trusttest.Sign(f.t, f.snapshot, f.keys[role]...)
			f.timestamp.Signed.Meta["snapshot.json"] = f.write(role, f.snapshot.Signed.Version, data)
		default:
			m := f.roles[role]
			m.Signed.Version++
			m.Signed.Expires = f.expires(role)
			data := trusttest.Sign(f.t, m, f.keys[role]...)
			f.snapshot.Signed.Meta[role+".json"] = f.write(role, m.Signed.Version, data)
		}
	}
	return f
}

func (f *forger) write(role string, version int64, data []byte) *metadata.MetaFiles {
	f.t.Helper()
	name := fmt.Sprintf("%d.%s.json", version, role)
	if version == 0 {
		name = role + ".json"
	}
	f.put("metadata/"+name, data)
	sum := sha256.Sum256(data)
	return &metadata.MetaFiles{Version: version, Length: int64(len(data)), Hashes: metadata.Hashes{"sha256": sum[:]}}
}

func (f *forger) put(path string, data []byte) {
	f.t.Helper()
	path = filepath.Join(f.dir, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		f.t.Fatal(err)
	}
}

// blob stores data and names it.
func (f *forger) blob(data []byte) bases.Blob {
	f.t.Helper()
	b := bases.Blob{Size: int64(len(data)), SHA256: sha256.Sum256(data)}
	f.put(b.Path(), data)
	return b
}

// patch is a delta, from the empty image where old is nil.
func patch(t *testing.T, old, image []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := delta.Make(t.Context(), &b, old, image, delta.Options{}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// target lets a role name a file of the repository, at path.
func (f *forger) target(role, path string, data []byte) {
	f.t.Helper()
	sum := sha256.Sum256(data)
	f.roles[role].Signed.Targets[path] = &metadata.TargetFiles{Length: int64(len(data)), Hashes: metadata.Hashes{"sha256": sum[:]}}
	dir, name := filepath.Split(path)
	f.put(fmt.Sprintf("targets/%s%x.%s", dir, sum, name), data)
}

// next begins the manifest of the version after the newest, with image for
// content, as a file.
func (f *forger) next(image string) *bases.Manifest {
	f.t.Helper()
	m := manifestIn(f.t, f.dir, "list")
	m.Version++
	m.Published = f.now
	m.Image.Size, m.Image.SHA256 = int64(len(image)), sha256.Sum256([]byte(image))
	m.Full = f.blob(patch(f.t, nil, []byte(image)))
	m.Start, m.Deltas, m.Index = nil, nil, nil
	m.Records = int64(strings.Count(image, "\n"))
	return m
}

// release signs a manifest with the true keys, all the way up.
func (f *forger) release(m *bases.Manifest) {
	f.t.Helper()
	data, err := json.Marshal(m)
	if err != nil {
		f.t.Fatal(err)
	}
	f.target("bases", bases.TargetPath(m.Name), data)
	f.sign("bases", "snapshot", "timestamp")
}
