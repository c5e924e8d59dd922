package publish

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/internal/delta"
)

// parallel bounds how many deltas are made at once: each holds an old image
// and the matcher's tables in memory.
const parallel = 2

// thorough is the size of image in bytes up to which all deltas are made by
// every matcher: the suffix matcher takes some 0.5 s of CPU a megabyte.
const thorough = 2 << 20

// release is one version in the making.
type release struct {
	repo    *Repository
	history history
	image   []byte
	version image
	images  *builder // of the versions before it
	most    int64    // bytes that a delta must stay below

	mu       sync.Mutex // guards the fields below
	made     map[bases.Hash]*bases.Blob
	done     int
	warnings []string
}

// deltas makes the deltas from the given versions, in their order. Versions
// with the same image share one, and what was already made to the same image is
// used again. A delta no smaller than the most it may have is left out, and so is,
// with a warning, one whose old image is lost.
func (r *release) deltas(ctx context.Context, from []image) ([]bases.Delta, error) {
	if r.made == nil {
		r.made = r.known()
	}
	var todo []image
	for _, v := range from {
		if r.made[v.SHA256] == nil && !slices.ContainsFunc(todo, func(t image) bool { return t.SHA256 == v.SHA256 }) {
			todo = append(todo, v)
		}
	}
	r.done = 0
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i, v := range todo {
		g.Go(func() error {
			b, err := r.delta(gctx, v, i < inManifest)
			r.finish(v, b, len(todo))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var deltas []bases.Delta
	for _, v := range from {
		if b := r.made[v.SHA256]; b != nil && b.Size < r.most {
			deltas = append(deltas, bases.Delta{From: v.Version, Blob: *b})
		}
	}
	return deltas, nil
}

// known gives the deltas of the history that lead to the very image at hand,
// by the hash of the image they lead from.
func (r *release) known() map[bases.Hash]*bases.Blob {
	made := map[bases.Hash]*bases.Blob{}
	n := len(r.history.images)
	if n == 0 || r.history.images[n-1].SHA256 != r.version.SHA256 {
		return made
	}
	for _, d := range r.history.deltas {
		if old, ok := find(r.history.images, d.From); ok && r.repo.checkBlob(d.Blob) == nil {
			made[old.SHA256] = &d.Blob
		}
	}
	return made
}

// delta makes and stores the delta from v, or gives nil where there is none
// worth having. Near deltas, which nearly all agents take, are worth more work.
func (r *release) delta(ctx context.Context, v image, near bool) (*bases.Blob, error) {
	old, err := r.images.build(ctx, v)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		r.warn("no delta from version %d: its image is lost: %v", v.Version, err)
		return nil, nil
	}
	patch, err := makeDelta(ctx, old, r.image, r.options(near))
	if err != nil {
		return nil, fmt.Errorf("delta from version %d: %w", v.Version, err)
	}
	if int64(len(patch)) >= r.most {
		return nil, nil
	}
	b, err := r.repo.putBlob(patch)
	return &b, err
}

// options are those to make a delta with.
func (r *release) options(near bool) (opt delta.Options) {
	if !near && len(r.image) > thorough {
		opt.Matchers = []delta.Matcher{delta.Hash{}}
	}
	return opt
}

func (r *release) finish(v image, b *bases.Blob, total int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.made[v.SHA256] = b
	r.done++
	if r.repo.Report != nil {
		r.repo.Report(Progress{Text: "making deltas", Done: r.done, Total: total})
	}
}

func (r *release) warn(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.warnings = append(r.warnings, fmt.Sprintf(format, args...))
}
