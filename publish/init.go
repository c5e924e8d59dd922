package publish

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"github.com/freshet/freshet/internal/trust"
)

// KeyFile is a key that Init made.
type KeyFile struct {
	Role    string `json:"role"`
	File    string `json:"file"`
	Offline bool   `json:"offline"`
}

// Init makes an empty repository and its keys in the folder keys. If it was
// cut short, the same call completes it; a repository that is complete, and
// keys that it did not make, are refused and left as they are.
func (r *Repository) Init(ctx context.Context, keys string) ([]KeyFile, error) {
	keys, err := filepath.Abs(keys)
	if err != nil {
		return nil, err
	}
	if err := r.checkApart(keys); err != nil {
		return nil, err
	}
	if err := r.checkEmpty(keys); err != nil {
		return nil, err
	}
	if err := r.Disk.MkdirAll(r.Dir, 0o755); err != nil {
		return nil, err
	}
	lock, err := r.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer lock.Unlock()
	// From here on .publish.json tells an Init that was cut short from a
	// folder that holds something else.
	data, err := json.Marshal(config{Keys: keys})
	if err != nil {
		return nil, err
	}
	if err := r.Disk.WriteFile(r.path(configFile), data, 0o600); err != nil {
		return nil, err
	}
	for _, dir := range []string{"metadata", "targets/bases", "targets/modules", "blobs"} {
		if err := r.Disk.MkdirAll(r.path(dir), 0o755); err != nil {
			return nil, err
		}
	}
	files, st, ring, err := r.newState(keys)
	if err != nil {
		return nil, err
	}
	root, err := sign(st, ring, metadata.ROOT, st.Root)
	if err != nil {
		return nil, err
	}
	if err := r.write("metadata/1.root.json", root); err != nil {
		return nil, err
	}
	return files, r.commit(st, ring, metadata.TARGETS, roleBases, roleModules)
}

// RepositoryField is the field of the root's signed part that names the
// repository: all its roots carry it, so that an agent knows a newer root for
// one of the same repository.
const RepositoryField = "x-freshet-repository"

// repositoryID is made of the first root's keys, so that an Init that was cut
// short comes to the same.
func repositoryID(root *metadata.Metadata[metadata.RootType]) string {
	ids := slices.Sorted(slices.Values(root.Signed.Roles[metadata.ROOT].KeyIDs))
	sum := sha256.Sum256([]byte(strings.Join(ids, "\n")))
	return hex.EncodeToString(sum[:8])
}

// checkApart refuses keys that a web server would hand out, also where links
// lead there.
func (r *Repository) checkApart(keys string) error {
	dir, err := resolved(r.Dir)
	if err != nil {
		return err
	}
	to, err := resolved(keys)
	if err != nil {
		return err
	}
	if to == dir || strings.HasPrefix(to, dir+string(filepath.Separator)) {
		return refuse("give a folder outside the repository", "%s lies in the repository, which is served to everyone", keys)
	}
	return nil
}

// resolved is the absolute path without links, as far as it is there.
func resolved(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) && path != filepath.Dir(path) {
		if real, err = resolved(filepath.Dir(path)); err == nil {
			real = filepath.Join(real, filepath.Base(path))
		}
	}
	return real, err
}

func (r *Repository) checkEmpty(keys string) error {
	if _, err := os.Stat(r.metadata("timestamp.json")); err == nil {
		return refuse("freshet-publish base adds to it", "%s is a repository already", r.Dir)
	}
	c, err := r.readConfig()
	if err == nil && c.Keys == keys {
		return nil
	}
	if err == nil {
		return refuse("give --keys "+c.Keys+", or remove "+r.Dir, "%s was begun with the keys in %s", r.Dir, c.Keys)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, dir := range []string{r.Dir, keys} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, e := range entries {
			// An Init killed at its very start leaves these.
			if e.Name() != lockFile && !strings.HasPrefix(e.Name(), configFile+".tmp-") {
				return refuse("give a new folder", "%s is not empty", dir)
			}
		}
	}
	return nil
}

// newState makes the keys and the metadata of an empty repository, unsigned,
// with version 0 where commit will count up.
func (r *Repository) newState(keys string) ([]KeyFile, *state, keyring, error) {
	if err := r.Disk.MkdirAll(keys, 0o700); err != nil {
		return nil, nil, nil, err
	}
	if err := os.Chmod(keys, 0o700); err != nil {
		return nil, nil, nil, err
	}
	if err := r.Disk.Reap(keys); err != nil {
		return nil, nil, nil, err
	}
	now := r.now()
	root := metadata.Root(now.Add(life(metadata.ROOT)))
	root.Signed.UnrecognizedFields = map[string]any{trust.RepositoryField: newRepositoryID()}
	targets := metadata.Targets(now)
	targets.Signed.Delegations = &metadata.Delegations{
		Keys: map[string]*metadata.Key{},
		Roles: []metadata.DelegatedRole{
			{Name: roleBases, KeyIDs: []string{}, Terminating: true, Paths: []string{"bases/*.json"}},
			{Name: roleModules, KeyIDs: []string{}, Terminating: true, Paths: []string{"modules/*.json"}},
		},
	}
	var files []KeyFile
	ring := keyring{}
	for _, ro := range roles() {
		for _, file := range ro.keyFiles() {
			key, err := r.makeKey(filepath.Join(keys, file))
			if err != nil {
				return nil, nil, nil, err
			}
			files = append(files, KeyFile{ro.name, filepath.Join(keys, file), ro.offline})
			pub, _, err := keyID(key)
			if err == nil {
				err = errors.Join(ring.add(key), addKey(root, targets, ro, pub))
			}
			if err != nil {
				return nil, nil, nil, fmt.Errorf("key %s: %w", file, err)
			}
		}
	}
	root.Signed.UnrecognizedFields = map[string]any{RepositoryField: repositoryID(root)}
	st := &state{TrustedMetadata: &trustedmetadata.TrustedMetadata{
		Root:      root,
		Snapshot:  metadata.Snapshot(now),
		Timestamp: metadata.Timestamp(now),
		Targets: map[string]*metadata.Metadata[metadata.TargetsType]{
			metadata.TARGETS: targets,
			roleBases:        metadata.Targets(now),
			roleModules:      metadata.Targets(now),
		},
	}}
	st.Snapshot.Signed.Version, st.Timestamp.Signed.Version = 0, 0
	for _, m := range st.Targets {
		m.Signed.Version = 0
	}
	return files, st, ring, nil
}

// addKey makes pub a key of the role, which root or targets delegates to.
func addKey(root *metadata.Metadata[metadata.RootType], targets *metadata.Metadata[metadata.TargetsType], ro role, pub *metadata.Key) error {
	if at, ok := root.Signed.Roles[ro.name]; ok {
		at.Threshold = ro.threshold
		return root.Signed.AddKey(pub, ro.name)
	}
	for i := range targets.Signed.Delegations.Roles {
		if d := &targets.Signed.Delegations.Roles[i]; d.Name == ro.name {
			d.Threshold = ro.threshold
		}
	}
	return targets.Signed.AddKey(pub, ro.name)
}
