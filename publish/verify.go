package publish

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/freshet/freshet/bases"
)

// Sum is a file of the repository and its SHA-256.
type Sum struct {
	SHA256 bases.Hash `json:"sha256"`
	File   string     `json:"file"` // relative to the repository
}

// Verification is what Verify found.
type Verification struct {
	Files    []Sum    `json:"files"`
	Followed int      `json:"followed"` // deltas applied, and led to the right image
	Unproven int      `json:"unproven"` // deltas whose own bytes are right, but whose old image is pruned
	Wrong    []string `json:"wrong"`
}

// Verify reads back all that an agent can reach, as an agent does: through the
// trust chain, expiry included, each blob against its hash, and each delta by
// applying it. What is wrong is listed; an error is something that kept Verify
// from going on.
func (r *Repository) Verify(ctx context.Context) (*Verification, error) {
	v := &verifier{r: r, seen: map[string]bool{}}
	v.Files, v.Wrong = []Sum{}, []string{}
	st, err := r.load(r.Clock.Now().UTC())
	var hint *Error
	if errors.As(err, &hint) {
		return nil, err
	}
	if err != nil {
		v.wrong("%v", err)
		return &v.Verification, nil
	}
	for _, name := range st.files {
		if err := v.sum(name); err != nil {
			return nil, err
		}
	}
	for _, name := range st.names() {
		m, err := r.manifest(st, name)
		if err != nil {
			v.wrong("%v", err)
			continue
		}
		sum, err := targetHash(st.Targets[roleBases].Signed.Targets[bases.TargetPath(name)])
		if err == nil {
			err = v.sum(targetFile(name, sum))
		}
		if err != nil {
			return nil, err
		}
		if err := v.base(ctx, m); err != nil {
			return nil, err
		}
	}
	if err := v.modules(ctx, st); err != nil {
		return nil, err
	}
	return &v.Verification, nil
}

type verifier struct {
	Verification
	r    *Repository
	seen map[string]bool
}

func (v *verifier) wrong(format string, args ...any) {
	v.Wrong = append(v.Wrong, fmt.Sprintf(format, args...))
}

// sum notes a file that load has verified.
func (v *verifier) sum(name string) error {
	data, err := os.ReadFile(v.r.path(name))
	if err != nil {
		return err
	}
	v.Files = append(v.Files, Sum{sha256.Sum256(data), name})
	return nil
}

// blob notes a blob once and says whether it is whole.
func (v *verifier) blob(b bases.Blob) bool {
	if good, ok := v.seen[b.Path()]; ok {
		return good
	}
	err := v.r.checkBlob(b)
	if err != nil {
		v.wrong("%v", err)
	} else {
		v.Files = append(v.Files, Sum{b.SHA256, b.Path()})
	}
	v.seen[b.Path()] = err == nil
	return err == nil
}

func (v *verifier) base(ctx context.Context, m *bases.Manifest) error {
	v.blob(m.Full)
	if m.Index == nil || !v.blob(*m.Index) {
		return nil
	}
	h, x, err := v.r.history(m)
	if err != nil {
		v.wrong("%v", err)
		return nil
	}
	v.blob(*x.Images)
	edges := v.edges(m, h)
	// Deltas by the version they lead from: each old image is built once.
	from := slices.Sorted(maps.Keys(edges))
	slices.Reverse(from)
	images := &builder{repo: v.r, list: h.images}
	for i, version := range from {
		if err := ctx.Err(); err != nil {
			return err
		}
		if v.r.Report != nil {
			v.r.Report(Progress{Text: "verifying " + m.Name, Done: i + 1, Total: len(from)})
		}
		v.follow(ctx, m.Name, images, version, edges[version])
	}
	return ctx.Err()
}

// edge is a delta and what it leads to.
type edge struct {
	bases.Blob
	to bases.IndexVersion
}

// edges lists the deltas of a base by the version they lead from, an empty
// list for an image from which none leads. It reads the far indexes.
func (v *verifier) edges(m *bases.Manifest, h history) map[int64][]edge {
	edges := map[int64][]edge{}
	add := func(from int64, b bases.Blob, to bases.IndexVersion) {
		if e := (edge{b, to}); !slices.Contains(edges[from], e) {
			edges[from] = append(edges[from], e)
		}
	}
	for _, img := range h.images {
		edges[img.Version] = nil
	}
	for _, d := range h.deltas {
		add(d.From, d.Blob, imageOf(m).IndexVersion)
	}
	for _, c := range h.checkpoints {
		img, ok := find(h.images, c.Version)
		if !ok {
			v.wrong("base %s: the image of checkpoint %d is not kept", m.Name, c.Version)
			continue
		}
		if c.Far == nil || !v.blob(*c.Far) {
			continue
		}
		far, err := v.r.far(m.Name, c)
		if err == nil && far.IndexVersion != img.IndexVersion {
			err = fmt.Errorf("base %s: the far index of version %d is of another image", m.Name, c.Version)
		}
		if err != nil {
			v.wrong("%v", err)
			continue
		}
		for _, d := range far.Deltas {
			add(d.From, d.Blob, far.IndexVersion)
		}
		if far.On != nil {
			add(c.Version, far.On.Delta, far.On.IndexVersion)
		}
	}
	return edges
}

// whole says whether all that an image is built from is whole.
func (v *verifier) whole(list []image, img image) bool {
	all := true
	for _, step := range chain(list, img) {
		all = v.blob(step.Full) && all
	}
	return all
}

// follow applies the deltas that lead from one version.
func (v *verifier) follow(ctx context.Context, name string, images *builder, from int64, edges []edge) {
	var old []byte
	if img, ok := find(images.list, from); ok && v.whole(images.list, img) {
		var err error
		if old, err = images.build(ctx, img); err != nil {
			v.wrong("base %s version %d: image: %v", name, from, err)
		}
	}
	for _, e := range edges {
		if !v.blob(e.Blob) {
			continue
		}
		if old == nil {
			v.Unproven++
			continue
		}
		if _, err := v.r.apply(ctx, old, e.Blob, e.to.Size, e.to.SHA256); err != nil {
			v.wrong("base %s: delta from version %d to %d: %v", name, from, e.to.Version, err)
			continue
		}
		v.Followed++
	}
}
