package publish

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
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
	h, err := v.r.history(m)
	if err != nil {
		v.wrong("%v", err)
		return nil
	}
	i := len(h.Versions) - 1
	if i < 0 || h.Versions[i].Version != m.Version || h.Versions[i].SHA256 != m.Image.SHA256 ||
		h.Versions[i].Full == nil || *h.Versions[i].Full != m.Full {
		v.wrong("base %s: the delta index does not end with version %d", m.Name, m.Version)
		return nil
	}
	for _, d := range m.Deltas {
		if !slices.Contains(h.Edges, bases.Edge{From: d.From, To: m.Version, Blob: d.Blob}) {
			v.wrong("base %s: the delta from version %d is not in the delta index", m.Name, d.From)
		}
	}
	// Deltas by the version they lead from: each old image is built once.
	for i, from := range h.Versions {
		if err := ctx.Err(); err != nil {
			return err
		}
		if v.r.Report != nil {
			v.r.Report(Progress{Text: "verifying " + m.Name, Done: i + 1, Total: len(h.Versions)})
		}
		v.follow(ctx, m.Name, h, from)
	}
	return ctx.Err()
}

// follow applies the deltas that lead from one version.
func (v *verifier) follow(ctx context.Context, name string, h history, from version) {
	var old []byte
	if from.Full != nil && v.blob(*from.Full) {
		var err error
		if old, err = v.r.apply(ctx, nil, *from.Full, from.Size, from.SHA256); err != nil {
			v.wrong("base %s version %d: full image: %v", name, from.Version, err)
		}
	}
	for _, e := range h.Edges {
		if e.From != from.Version || !v.blob(e.Blob) {
			continue
		}
		if old == nil {
			v.Unproven++
			continue
		}
		to := h.Versions[slices.IndexFunc(h.Versions, func(w version) bool { return w.Version == e.To })]
		if _, err := v.r.apply(ctx, old, e.Blob, to.Size, to.SHA256); err != nil {
			v.wrong("base %s: delta from version %d to %d: %v", name, e.From, e.To, err)
			continue
		}
		v.Followed++
	}
}
