package publish

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"golang.org/x/sync/errgroup"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/internal/delta"
	"github.com/freshet/freshet/modules"
	"github.com/freshet/freshet/rollback"
)

// lastReleases is from how many releases before it deltas lead to a new one.
// From any other the full image does.
const lastReleases = 5

// ModuleRelease asks for a new release of a module.
type ModuleRelease struct {
	Path       string    // a folder with module.yaml
	Published  time.Time // zero: now
	AnyProgram bool      // programs are not looked into
}

// ModuleReleased says what PublishModule did.
type ModuleReleased struct {
	Name      string          `json:"name"`
	Version   string          `json:"version"`
	Platform  string          `json:"platform"`
	Published time.Time       `json:"published"`
	Unchanged bool            `json:"unchanged,omitempty"` // nothing was published
	Size      int64           `json:"size"`                // of the image, in bytes
	Full      int64           `json:"full_bytes"`          // of the full image as fetched
	Deltas    []modules.Delta `json:"deltas"`
	Warnings  []string        `json:"warnings,omitempty"`
}

// PublishModule adds a release of a module, signed by two of the offline keys
// of the role modules. If it returns nil the release is published even after
// power loss. A refusal ([Error]) changes nothing. On any other error the
// repository is as it was or complete, and the same call completes it.
func (r *Repository) PublishModule(ctx context.Context, rel ModuleRelease) (*ModuleReleased, error) {
	lock, st, ring, err := r.beginSigning(ctx)
	if err != nil {
		return nil, err
	}
	defer lock.Unlock()
	r.tellClock(st)
	// All keys are looked for before anything is read or made.
	if err := ring.check(st, roleModules, metadata.SNAPSHOT, metadata.TIMESTAMP); err != nil {
		return nil, err
	}
	r.report("reading %s", rel.Path)
	m, image, err := rel.manifest(r.now())
	if err != nil {
		return nil, err
	}
	before, err := r.moduleManifest(st, modules.TargetPath(m.Name, modules.Line(m.Version), m.Platform))
	if err != nil {
		return nil, err
	}
	if same, err := follows(m, before); err != nil {
		return nil, err
	} else if same {
		// The run that published it may have been killed before its last sync.
		return moduleReleased(before, true), r.Disk.SyncDir(r.path("metadata"))
	}
	if m.Kept, err = r.releasesBefore(st, m); err != nil {
		return nil, err
	}
	warnings, err := r.fillModule(ctx, m, image)
	if err != nil {
		return nil, err
	}
	if err := r.putModule(st, m); err != nil {
		return nil, err
	}
	if err := r.commit(st, ring, roleModules); err != nil {
		return nil, err
	}
	done := moduleReleased(m, false)
	done.Warnings = warnings
	return done, nil
}

func moduleReleased(m *modules.Manifest, unchanged bool) *ModuleReleased {
	return &ModuleReleased{
		Name: m.Name, Version: m.Version, Platform: m.Platform, Published: m.Published, Unchanged: unchanged,
		Size: m.Image.Size, Full: m.Full.Size, Deltas: slices.Concat([]modules.Delta{}, m.Deltas),
	}
}

// manifest reads the module's folder. The manifest lacks its blobs.
func (rel ModuleRelease) manifest(now time.Time) (*modules.Manifest, []byte, error) {
	about, err := modules.ReadAbout(rel.Path, rel.AnyProgram)
	if err != nil {
		return nil, nil, refuse("docs/operations.md says what a module's folder holds; --any-program publishes programs as they are", "%s is no module: %v", rel.Path, err)
	}
	img, data, _, err := readImage(rel.Path, selection{}, bases.Checks{})
	if err != nil {
		return nil, nil, err
	}
	at := rel.Published
	if at.IsZero() {
		at = now
	}
	return &modules.Manifest{Type: "module", About: *about, Published: at.UTC().Truncate(time.Second), Image: img}, data, nil
}

// follows says whether m may follow the newest release of its line, and
// whether it is that very release.
func follows(m, before *modules.Manifest) (same bool, err error) {
	if before == nil {
		return false, nil
	}
	switch c := rollback.CompareReleases(m.Version, before.Version); {
	case c > 0:
		return false, nil
	case c == 0 && m.Image.SHA256 == before.Image.SHA256:
		return true, nil
	case c == 0:
		return false, refuse("give the new content a higher version", "%s %s is published with another content", m.Name, m.Version)
	}
	return false, refuse("a release is undone by a higher version", "%s %s is lower than %s, which is published", m.Name, m.Version, before.Version)
}

// releasesBefore lists the newest releases below m for its platform, whatever
// their line, whose full images are kept.
func (r *Repository) releasesBefore(st *state, m *modules.Manifest) ([]modules.Release, error) {
	var all []modules.Release
	for _, p := range st.modulePaths() {
		name, _, platform, _ := modules.ParseTarget(p)
		if name != m.Name || platform != m.Platform {
			continue
		}
		o, err := r.moduleManifest(st, p)
		if err != nil {
			return nil, err
		}
		all = append(all, modules.Release{Version: o.Version, Image: o.Image, Full: o.Full})
		all = append(all, o.Kept...)
	}
	all = slices.DeleteFunc(all, func(o modules.Release) bool { return rollback.CompareReleases(o.Version, m.Version) >= 0 })
	slices.SortStableFunc(all, func(a, b modules.Release) int { return rollback.CompareReleases(b.Version, a.Version) })
	all = slices.CompactFunc(all, func(a, b modules.Release) bool { return a.Version == b.Version })
	return all[:min(len(all), lastReleases)], nil
}

// fillModule makes and stores the blobs of a release and names them in m. It
// gives warnings.
func (r *Repository) fillModule(ctx context.Context, m *modules.Manifest, image []byte) ([]string, error) {
	r.report("compressing the full image")
	data, err := makeDelta(ctx, nil, image, delta.Options{})
	if err != nil {
		return nil, fmt.Errorf("full image: %w", err)
	}
	if m.Full, err = r.putBlob(data); err != nil {
		return nil, err
	}
	var mu sync.Mutex // guards what follows
	var warnings []string
	made := map[string]modules.Delta{}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for _, old := range m.Kept {
		g.Go(func() error {
			d, warning, err := r.moduleDelta(gctx, old, m, image)
			mu.Lock()
			defer mu.Unlock()
			if warning != "" {
				warnings = append(warnings, warning)
			}
			if d != nil {
				made[d.From] = *d
			}
			r.report("making deltas: from %s", old.Version)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for _, old := range m.Kept {
		if d, ok := made[old.Version]; ok {
			m.Deltas = append(m.Deltas, d)
		}
	}
	// A blob found in place may have been renamed by a run killed before it
	// synced the folder.
	return warnings, r.Disk.SyncDir(r.path("blobs"))
}

// moduleDelta makes the delta from old by every matcher; nil where there is
// none worth having.
func (r *Repository) moduleDelta(ctx context.Context, old modules.Release, m *modules.Manifest, image []byte) (*modules.Delta, string, error) {
	if old.Image.SHA256 == m.Image.SHA256 {
		return nil, "", nil
	}
	was, err := r.apply(ctx, nil, old.Full, old.Image.Size, old.Image.SHA256)
	if ctx.Err() != nil {
		return nil, "", ctx.Err()
	}
	if err != nil {
		return nil, fmt.Sprintf("no delta from %s: its full image is lost: %v", old.Version, err), nil
	}
	patch, err := makeDelta(ctx, was, image, delta.Options{})
	if err != nil {
		return nil, "", fmt.Errorf("delta from %s: %w", old.Version, err)
	}
	if int64(len(patch)) >= m.Full.Size {
		return nil, "", nil
	}
	b, err := r.putBlob(patch)
	return &modules.Delta{From: old.Version, Image: old.Image.SHA256, Blob: b}, "", err
}

func (r *Repository) putModule(st *state, m *modules.Manifest) error {
	p := modules.TargetPath(m.Name, modules.Line(m.Version), m.Platform)
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if _, err := modules.ParseManifest(p, data); err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	st.Targets[roleModules].Signed.Targets[p] = &metadata.TargetFiles{Length: int64(len(data)), Hashes: metadata.Hashes{"sha256": sum[:]}}
	return r.write(moduleFile(p, sum), data)
}
