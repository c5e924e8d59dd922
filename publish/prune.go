package publish

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/freshet/freshet/bases"
)

// grace is how long a superseded state stays whole for agents that are in the
// middle of an update by it. What an hourly base keeps for it is not little: all
// deltas to a version are superseded with it.
const grace = 2 * time.Hour

// Pruned is what Prune removed, or would.
type Pruned struct {
	Files []string `json:"files"` // relative to the repository
	Bytes int64    `json:"bytes"`
}

// Prune removes what no metadata of the last two hours reaches. Roots are
// kept for good: agents follow them one by one. With dry nothing is removed.
func (r *Repository) Prune(ctx context.Context, dry bool) (*Pruned, error) {
	lock, err := r.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer lock.Unlock()
	st, err := r.load(time.Time{})
	if err != nil {
		return nil, err
	}
	return r.sweep(ctx, st, grace, dry)
}

// sweep removes what no metadata reaches that was superseded less than since ago.
func (r *Repository) sweep(ctx context.Context, st *state, since time.Duration, dry bool) (*Pruned, error) {
	keep := map[string]bool{}
	if err := r.keepMetadata(st, since, keep); err != nil {
		return nil, err
	}
	if !dry { // a release that was killed may have left its last name in the page cache alone
		if err := r.Disk.SyncDir(r.path("metadata")); err != nil {
			return nil, err
		}
	}
	p := &Pruned{Files: []string{}}
	// Metadata goes first and blobs last: what is still there never names
	// what is gone.
	for _, dir := range []string{"metadata", "targets/bases", "targets/modules", "blobs"} {
		entries, err := os.ReadDir(r.path(dir))
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			name := dir + "/" + e.Name()
			info, err := e.Info()
			if err != nil {
				return nil, err
			}
			if keep[name] || !e.Type().IsRegular() {
				continue
			}
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			p.Files = append(p.Files, name)
			p.Bytes += info.Size()
			if dry {
				continue
			}
			if err := r.Disk.RemoveAll(r.path(name)); err != nil {
				return nil, fmt.Errorf("removing %s: %w", name, err)
			}
		}
	}
	return p, nil
}

// keepMetadata marks the current metadata and that superseded less than since ago,
// and all that it reaches.
func (r *Repository) keepMetadata(st *state, since time.Duration, keep map[string]bool) error {
	for _, name := range st.files {
		keep[name] = true
	}
	current := map[string]int64{
		metadata.SNAPSHOT: st.Snapshot.Signed.Version,
		metadata.TARGETS:  st.Targets[metadata.TARGETS].Signed.Version,
		roleBases:         st.Targets[roleBases].Signed.Version,
		roleModules:       st.Targets[roleModules].Signed.Version,
	}
	for role, now := range current {
		versions, err := r.versions(role)
		if err != nil {
			return err
		}
		for i, v := range versions {
			age, err := r.superseded(role, versions, i, now)
			if err != nil {
				return err
			}
			if v < now && age >= since {
				continue
			}
			keep[fmt.Sprintf("metadata/%d.%s.json", v, role)] = true
			// Versions above the current one were left by a killed run: their
			// numbers stay taken, but nobody was ever led to what they name.
			if v > now {
				continue
			}
			switch role {
			case roleBases:
				err = r.keepBases(v, v == now, keep)
			case roleModules:
				err = r.keepModules(v, v == now, keep)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// versions lists the metadata files of a role, ascending.
func (r *Repository) versions(role string) ([]int64, error) {
	paths, err := filepath.Glob(r.metadata("*." + role + ".json"))
	if err != nil {
		return nil, err
	}
	var versions []int64
	for _, p := range paths {
		n, _, _ := strings.Cut(filepath.Base(p), ".")
		if v, err := strconv.ParseInt(n, 10, 64); err == nil {
			versions = append(versions, v)
		}
	}
	slices.Sort(versions)
	return versions, nil
}

// superseded says how long ago versions[i] was, which is when its successor was
// written; 0 for the current one and newer ones.
func (r *Repository) superseded(role string, versions []int64, i int, current int64) (time.Duration, error) {
	if versions[i] >= current {
		return 0, nil
	}
	st, err := os.Stat(r.metadata(fmt.Sprintf("%d.%s.json", versions[i+1], role)))
	if err != nil {
		return 0, err
	}
	return max(0, r.Clock.Now().Sub(st.ModTime())), nil
}

// keepBases marks all that a version of the bases metadata reaches. One that is
// not the current one may name what a killed run never finished, or what was
// lost: agents cannot follow it there either.
func (r *Repository) keepBases(version int64, current bool, keep map[string]bool) error {
	name := fmt.Sprintf("%d.bases.json", version)
	data, err := r.readFile(r.metadata(name), maxMetadata)
	if err != nil {
		return err
	}
	m, err := metadata.Targets().FromBytes(data)
	if err != nil {
		return fmt.Errorf("metadata/%s: %w", name, err)
	}
	for path, target := range m.Signed.Targets {
		base := strings.TrimSuffix(strings.TrimPrefix(path, "bases/"), ".json")
		sum, err := targetHash(target)
		if err != nil {
			return fmt.Errorf("metadata/%s: %s: %w", name, path, err)
		}
		file := targetFile(base, sum)
		keep[file] = true
		data, err := r.readFile(r.path(file), bases.MaxManifest)
		if errors.Is(err, fs.ErrNotExist) && !current {
			continue
		}
		if err != nil {
			return err
		}
		m, err := bases.ParseManifest(base, data)
		if err != nil {
			return err
		}
		if err := r.keepBlobs(m, current, keep); err != nil && current {
			return err
		}
	}
	return nil
}

// keepBlobs marks the blobs that a manifest leads to, and if it is the current
// one, those that the next deltas are made from.
func (r *Repository) keepBlobs(m *bases.Manifest, current bool, keep map[string]bool) error {
	keep[m.Full.Path()] = true
	for _, d := range m.Deltas {
		keep[d.Path()] = true
	}
	if m.Index == nil {
		return nil
	}
	keep[m.Index.Path()] = true
	x, err := r.index(m)
	if err != nil {
		return err
	}
	for _, d := range x.Deltas {
		keep[d.Path()] = true
	}
	var errs []error
	for _, c := range x.Checkpoints {
		errs = append(errs, r.keepFar(m.Name, c, keep))
	}
	if !current {
		return errors.Join(errs...)
	}
	list, err := r.readImages(m, x)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	keep[x.Images.Path()] = true
	for _, v := range list {
		keep[v.Full.Path()] = true
	}
	return errors.Join(errs...)
}

// keepFar marks a checkpoint's far index and the deltas in it. Most of them are
// in many delta indexes; each is read once.
func (r *Repository) keepFar(name string, c bases.Checkpoint, keep map[string]bool) error {
	if c.Far == nil || keep[c.Far.Path()] {
		return nil
	}
	x, err := r.far(name, c)
	if err != nil && r.lost(*c.Far) {
		// No agent comes to what it named, and the next version lets go of it:
		// for its sake nothing is kept, and pruning goes on.
		keep[c.Far.Path()] = true // told once
		r.warn("base %s: agents around version %d fetch the full image: %v", name, c.Version, err)
		return nil
	}
	if err != nil {
		return err
	}
	keep[c.Far.Path()] = true
	for _, d := range x.Deltas {
		keep[d.Path()] = true
	}
	if x.On != nil {
		keep[x.On.Delta.Path()] = true
	}
	return nil
}

// lost says whether a blob is gone or damaged for good. A disk that cannot be read
// may be well again.
func (r *Repository) lost(b bases.Blob) bool {
	err := r.checkBlob(b)
	var unread *fs.PathError
	return err != nil && (errors.Is(err, fs.ErrNotExist) || !errors.As(err, &unread))
}
