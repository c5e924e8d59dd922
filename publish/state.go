package publish

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"github.com/freshet/freshet/bases"
)

// maxMetadata is the largest metadata file in bytes that is read.
const maxMetadata = 8 << 20

// state is the metadata that timestamp.json reaches, verified.
type state struct {
	*trustedmetadata.TrustedMetadata
	files []string // read for it, relative to the repository
}

// exists refuses what is no repository.
func (r *Repository) exists() error {
	if _, err := os.Stat(r.metadata("timestamp.json")); errors.Is(err, fs.ErrNotExist) {
		return refuse("freshet-publish init "+r.Dir+" --keys DIR makes one", "%s is no repository: it has no metadata/timestamp.json", r.Dir)
	}
	return nil
}

// load reads the state by way of the trust chain, never by the newest file
// found: a killed run may have left newer ones. Expiry is checked against at;
// the zero time accepts expired metadata.
func (r *Repository) load(at time.Time) (*state, error) {
	if err := errors.Join(r.exists(), r.settled()); err != nil {
		return nil, err
	}
	st := &state{}
	if err := r.loadRoot(st); err != nil {
		return nil, err
	}
	st.RefTime = at
	load := func(name string, use func([]byte) error) error {
		data, err := r.readFile(r.metadata(name), maxMetadata)
		if err == nil {
			err = use(data)
		}
		if err != nil {
			return fmt.Errorf("metadata/%s: %w", name, err)
		}
		st.files = append(st.files, "metadata/"+name)
		return nil
	}
	if err := load("timestamp.json", func(b []byte) error { _, err := st.UpdateTimestamp(b); return err }); err != nil {
		return nil, err
	}
	if st.Timestamp.Signed.Meta["snapshot.json"] == nil {
		return nil, errors.New("metadata/timestamp.json: it names no snapshot")
	}
	name := fmt.Sprintf("%d.snapshot.json", st.Timestamp.Signed.Meta["snapshot.json"].Version)
	if err := load(name, func(b []byte) error { _, err := st.UpdateSnapshot(b, false); return err }); err != nil {
		return nil, err
	}
	for _, role := range []string{metadata.TARGETS, roleBases, roleModules} {
		parent := metadata.ROOT
		if role != metadata.TARGETS {
			parent = metadata.TARGETS
		}
		meta := st.Snapshot.Signed.Meta[role+".json"]
		if meta == nil {
			return nil, fmt.Errorf("metadata/%s: it does not name %s.json", name, role)
		}
		update := func(b []byte) error { _, err := st.UpdateDelegatedTargets(b, role, parent); return err }
		if err := load(fmt.Sprintf("%d.%s.json", meta.Version, role), update); err != nil {
			return nil, err
		}
	}
	return st, nil
}

func (r *Repository) loadRoot(st *state) error {
	for n := 1; ; n++ {
		name := fmt.Sprintf("%d.root.json", n)
		data, err := r.readFile(r.metadata(name), maxMetadata)
		if n > 1 && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && n == 1 {
			st.TrustedMetadata, err = trustedmetadata.New(data)
		} else if err == nil {
			_, err = st.UpdateRoot(data)
		}
		if err != nil {
			return fmt.Errorf("metadata/%s: %w", name, err)
		}
		st.files = append(st.files, "metadata/"+name)
	}
}

// names lists the bases of the repository in order.
func (st *state) names() []string {
	var names []string
	for path := range st.Targets[roleBases].Signed.Targets {
		names = append(names, strings.TrimSuffix(strings.TrimPrefix(path, "bases/"), ".json"))
	}
	slices.Sort(names)
	return names
}

// manifest reads the newest manifest of a base, or gives nil where there is no
// such base.
func (r *Repository) manifest(st *state, name string) (*bases.Manifest, error) {
	target, ok := st.Targets[roleBases].Signed.Targets[bases.TargetPath(name)]
	if !ok {
		return nil, nil
	}
	sum, err := targetHash(target)
	if err != nil {
		return nil, fmt.Errorf("manifest of base %s: %w", name, err)
	}
	path := targetFile(name, sum)
	data, err := r.readFile(r.path(path), bases.MaxManifest)
	if err != nil {
		return nil, fmt.Errorf("manifest of base %s: %w", name, err)
	}
	if err := target.VerifyLengthHashes(data); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return bases.ParseManifest(name, data)
}

func targetHash(t *metadata.TargetFiles) (bases.Hash, error) {
	sum := t.Hashes["sha256"]
	if len(sum) != len(bases.Hash{}) {
		return bases.Hash{}, errors.New("the metadata gives no SHA-256 for it")
	}
	return bases.Hash(sum), nil
}

// targetFile is where a base's manifest lies: the hash before the name, as
// TUF's consistent snapshots want it.
func targetFile(name string, sum bases.Hash) string {
	return fmt.Sprintf("targets/bases/%s.%s.json", sum, name)
}

// setTarget makes data the manifest of a base.
func (st *state) setTarget(name string, data []byte) {
	sum := sha256.Sum256(data)
	st.Targets[roleBases].Signed.Targets[bases.TargetPath(name)] = &metadata.TargetFiles{
		Length: int64(len(data)),
		Hashes: metadata.Hashes{"sha256": sum[:]},
	}
}
