package publish

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/modules"
)

// modulePaths lists the targets of the role modules in order.
func (st *state) modulePaths() []string {
	return slices.Sorted(maps.Keys(st.Targets[roleModules].Signed.Targets))
}

// moduleManifest reads the manifest at a target path, or gives nil where there
// is none.
func (r *Repository) moduleManifest(st *state, p string) (*modules.Manifest, error) {
	target, ok := st.Targets[roleModules].Signed.Targets[p]
	if !ok {
		return nil, nil
	}
	m, err := r.moduleOf(p, target)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: its manifest is missing", p)
	}
	return m, err
}

func (r *Repository) moduleOf(p string, target *metadata.TargetFiles) (*modules.Manifest, error) {
	sum, err := targetHash(target)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p, err)
	}
	data, err := r.readFile(r.path(moduleFile(p, sum)), bases.MaxManifest)
	if err != nil {
		return nil, err
	}
	if err := target.VerifyLengthHashes(data); err != nil {
		return nil, fmt.Errorf("%s: %w", moduleFile(p, sum), err)
	}
	return modules.ParseManifest(p, data)
}

// moduleFile is where the manifest of a target path lies.
func moduleFile(p string, sum bases.Hash) string {
	return fmt.Sprintf("targets/%s/%s.%s", path.Dir(p), sum, path.Base(p))
}

// moduleBlobs lists what agents fetch for a release.
func moduleBlobs(m *modules.Manifest) []bases.Blob {
	blobs := []bases.Blob{m.Full}
	for _, d := range m.Deltas {
		blobs = append(blobs, d.Blob)
	}
	return blobs
}

// keepModules marks all that a version of the modules metadata reaches; see
// keepBases.
func (r *Repository) keepModules(version int64, current bool, keep map[string]bool) error {
	name := fmt.Sprintf("%d.modules.json", version)
	data, err := r.readFile(r.metadata(name), maxMetadata)
	if err != nil {
		return err
	}
	md, err := metadata.Targets().FromBytes(data)
	if err != nil {
		return fmt.Errorf("metadata/%s: %w", name, err)
	}
	for p, target := range md.Signed.Targets {
		sum, err := targetHash(target)
		if err != nil {
			return fmt.Errorf("metadata/%s: %s: %w", name, p, err)
		}
		keep[moduleFile(p, sum)] = true
		m, err := r.moduleOf(p, target)
		if err != nil && (current || !errors.Is(err, fs.ErrNotExist)) {
			return err
		}
		if err != nil {
			continue
		}
		for _, b := range moduleBlobs(m) {
			keep[b.Path()] = true
		}
		for _, o := range m.Kept {
			keep[o.Full.Path()] = true
		}
	}
	return nil
}

// module verifies a release: its blobs, and where its deltas lead.
func (v *verifier) module(ctx context.Context, p string, m *modules.Manifest) {
	if v.blob(m.Full) {
		if _, err := v.r.apply(ctx, nil, m.Full, m.Image.Size, m.Image.SHA256); err != nil {
			v.wrong("module %s %s: full image: %v", m.Name, m.Version, err)
		}
	}
	kept := map[bases.Hash]modules.Release{}
	for _, o := range m.Kept {
		kept[o.Image.SHA256] = o
	}
	for _, d := range m.Deltas {
		if !v.blob(d.Blob) {
			continue
		}
		o, ok := kept[d.Image]
		if !ok || !v.blob(o.Full) {
			v.Unproven++
			continue
		}
		was, err := v.r.apply(ctx, nil, o.Full, o.Image.Size, o.Image.SHA256)
		if err == nil {
			_, err = v.r.apply(ctx, was, d.Blob, m.Image.Size, m.Image.SHA256)
		}
		if err != nil {
			v.wrong("%s: delta from %s: %v", strings.TrimSuffix(p, ".json"), d.From, err)
			continue
		}
		v.Followed++
	}
}

// modules verifies all modules of the repository.
func (v *verifier) modules(ctx context.Context, st *state) error {
	for _, p := range st.modulePaths() {
		if err := ctx.Err(); err != nil {
			return err
		}
		m, err := v.r.moduleManifest(st, p)
		if err != nil {
			v.wrong("%v", err)
			continue
		}
		sum, err := targetHash(st.Targets[roleModules].Signed.Targets[p])
		if err == nil {
			err = v.sum(moduleFile(p, sum))
		}
		if err != nil {
			return err
		}
		v.module(ctx, p, m)
	}
	return ctx.Err()
}

// ModuleState is the newest release of a line of a module.
type ModuleState struct {
	Name      string          `json:"name"`
	Line      string          `json:"line"`
	Version   string          `json:"version"`
	Platform  string          `json:"platform"`
	Published time.Time       `json:"published"`
	Agent     string          `json:"agent,omitempty"` // least version of the agent
	Size      int64           `json:"size"`
	Full      int64           `json:"full_bytes"`
	Deltas    []modules.Delta `json:"deltas"` // to it, newest first
	Notes     string          `json:"notes,omitempty"`
}

func (r *Repository) moduleStates(st *state) ([]ModuleState, error) {
	all := []ModuleState{}
	for _, p := range st.modulePaths() {
		m, err := r.moduleManifest(st, p)
		if err != nil {
			return nil, err
		}
		all = append(all, ModuleState{
			Name: m.Name, Line: modules.Line(m.Version), Version: m.Version, Platform: m.Platform, Published: m.Published,
			Agent: m.Agent, Size: m.Image.Size, Full: m.Full.Size, Deltas: slices.Concat([]modules.Delta{}, m.Deltas), Notes: m.Notes,
		})
	}
	return all, nil
}
