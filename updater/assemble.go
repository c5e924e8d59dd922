package updater

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/internal/delta"
	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/internal/source"
	"github.com/freshet/freshet/rollback"
)

// maxWays bounds how many ways to a version are tried when content fails: the
// cheapest, the next best, and the full image.
const maxWays = 3

// obtain brings the job's version into its folder under bases/, by the
// cheapest way that works. Nothing refers to the folder yet.
func (u *Updater) obtain(ctx context.Context, o *offer, j *job, r *reporter) error {
	avoid := map[bases.Hash]bool{}
	for way := 1; ; way++ {
		if err := u.thrifty(j, way); err != nil {
			return err
		}
		bad, err := u.follow(ctx, o.source, j, r)
		var content *contentError
		if err == nil || !errors.As(err, &content) || bad == nil || way == maxWays {
			return u.settle(j, way, err)
		}
		u.emit(event.DeltaFailed, "base", j.name, "from", fmt.Sprint(bad.From), "to", fmt.Sprint(bad.To), "error", err.Error())
		var applied *applyError
		if errors.As(err, &applied) && bad.From == j.steps[0].From && bad.From != 0 {
			delete(j.have, bad.From) // its image may be damaged, and the delta lead on from a good one
		} else {
			avoid[bad.SHA256] = true
		}
		if way == maxWays-1 { // two ways of deltas have failed
			j.steps = whole(j.manifest)
			if slices.ContainsFunc(j.steps, func(s Step) bool { return avoid[s.SHA256] }) {
				return u.settle(j, way, err)
			}
		} else if next := cheapest(j.manifest, j.ways, j.have, avoid); len(next) == 0 {
			return u.settle(j, way, err)
		} else {
			j.steps = next
		}
		if err := u.admit(u.demand(j)); err != nil {
			return u.settle(j, way, err)
		}
		r.replan(j)
	}
}

// follow fetches and applies the job's steps. On an error it names the step
// that is to blame.
func (u *Updater) follow(ctx context.Context, ask source.Source, j *job, r *reporter) (*Step, error) {
	if len(j.steps) == 0 {
		return nil, nil // the content is at hand
	}
	var paths []string
	for i := range j.steps {
		path, err := u.blob(ctx, ask, j.steps[i].Blob, r.fetching(j, i))
		if err != nil {
			return &j.steps[i], err
		}
		paths = append(paths, path)
	}
	r.phase(PhaseAssemble, j.name)
	first, err := u.openOld(j.name, j.steps[0].From)
	if err != nil {
		return &j.steps[0], &contentError{&applyError{err}}
	}
	defer first.close()
	old := first
	defer func() { old.close() }()
	for i, path := range paths[:len(paths)-1] {
		mid, err := u.applyMiddle(ctx, old, path, j, i)
		if err != nil {
			return &j.steps[i], err
		}
		if old != first {
			old.close()
		}
		old = mid
	}
	last := len(paths) - 1
	if err := u.applyLast(ctx, first, old, paths[last], j); err != nil {
		return &j.steps[last], err
	}
	return nil, nil
}

// oldImage is what a delta is applied to.
type oldImage struct {
	io.ReaderAt
	size  int64
	close func()
	tree  *bases.Reader // the installed version, for its files; nil: none
	dir   string
}

func (u *Updater) openOld(name string, version int64) (*oldImage, error) {
	if version == 0 {
		return &oldImage{ReaderAt: empty{}, close: func() {}}, nil
	}
	all, err := u.store().Generations()
	if err != nil {
		return nil, err
	}
	for _, g := range all {
		ref, ok := g.Bases[name]
		if !ok || ref.Version != version {
			continue
		}
		m, err := u.storedManifest(name, ref)
		if err != nil {
			return nil, err
		}
		dir := u.versionDir(name, ref.Dir)
		r, err := bases.OpenVersion(dir, m.Image)
		if err != nil {
			return nil, err
		}
		return &oldImage{ReaderAt: r, size: r.Size(), close: func() { r.Close() }, tree: r, dir: dir}, nil
	}
	return nil, fmt.Errorf("version %d is not at hand", version)
}

// twin is the tree whose files the new version may share: what the delta
// starts from, else a version in use, else, for a repair, the damaged version
// itself; the builder compares before it links.
func (u *Updater) twin(j *job, first *oldImage) *oldImage {
	none := &oldImage{close: func() {}}
	if j.manifest.Image.Kind != bases.KindTree {
		return none
	}
	if first.tree != nil {
		return &oldImage{tree: first.tree, dir: first.dir, close: func() {}}
	}
	dirs := []string{u.versionDir(j.name, currentLink), u.versionDir(j.name, j.manifest.Dir())}
	for _, dir := range dirs {
		dir, err := filepath.EvalSymlinks(dir)
		if err != nil {
			continue
		}
		if r, err := bases.NewImage(dir); err == nil && r.Kind() == bases.KindTree {
			return &oldImage{tree: r, dir: dir, close: func() { r.Close() }}
		}
	}
	return none
}

type empty struct{}

func (empty) ReadAt([]byte, int64) (int, error) { return 0, io.EOF }

// applyMiddle makes an image on the way to the wanted version. Only images
// that an index names by size and hash are ever made.
func (u *Updater) applyMiddle(ctx context.Context, old *oldImage, path string, j *job, i int) (*oldImage, error) {
	want, ok := j.ways.images[j.steps[i].To]
	if !ok {
		return nil, &contentError{fmt.Errorf("no index names the image of version %d", j.steps[i].To)}
	}
	tmp := filepath.Join(u.tmp(), fmt.Sprintf("%s-%d.image", j.name, want.Version))
	if err := u.Disk.Do("open", tmp); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	done := func() { f.Close(); os.Remove(tmp) }
	if err := u.patch(ctx, f, old, path, want.Size, want.SHA256); err != nil {
		done()
		return nil, err
	}
	return &oldImage{ReaderAt: f, size: want.Size, close: done}, nil
}

// makeEmpty makes a folder, and removes what stood there. What is built in it
// is synced later.
func (u *Updater) makeEmpty(path string) error {
	if err := u.Disk.RemoveAll(path); err != nil {
		return err
	}
	if err := u.Disk.Do("mkdir", path); err != nil {
		return err
	}
	return durable.Mkdir(path, 0o755)
}

// applyLast makes the wanted version itself: built under a temporary name,
// its hash and content checked, synced, and only then given its name.
func (u *Updater) applyLast(ctx context.Context, first, old *oldImage, path string, j *job) (err error) {
	m := j.manifest
	tmp := filepath.Join(u.tmp(), j.name+"-"+m.Dir()+".build")
	if err := u.makeEmpty(tmp); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			u.Disk.RemoveAll(tmp)
		}
	}()
	twin := u.twin(j, first)
	defer twin.close()
	disk, failed := watched(u.Disk)
	b := bases.NewBuilder(disk, tmp, m, twin.tree, twin.dir)
	if err := u.patch(ctx, &building{b, failed}, old, path, m.Image.Size, m.Image.SHA256); err != nil {
		b.Abort()
		return err
	}
	count, err := b.Finish()
	if err != nil && *failed == nil && !isLocal(err) {
		return &refusedError{err} // the image is the one signed, and is not well formed
	}
	if err != nil {
		return err
	}
	if err := m.Verify(count); err != nil {
		return &refusedError{err}
	}
	final := u.versionDir(j.name, m.Dir())
	if err := u.Disk.MkdirAll(filepath.Dir(final), 0o755); err != nil {
		return err
	}
	if _, err := os.Lstat(final); err == nil { // there, but not whole: it may be in use all the same
		if err := u.Disk.Exchange(tmp, final); err != nil {
			return err
		}
		return u.Disk.RemoveAll(tmp)
	}
	return u.Disk.Rename(tmp, final)
}

// refusedError says that a version, as it was signed, must not be installed:
// its publisher has to make another.
type refusedError struct{ err error }

// Error quotes no more than some of what a publisher, or a thief, wrote.
func (e *refusedError) Error() string { return rollback.Brief(e.err.Error()) }
func (e *refusedError) Unwrap() error { return e.err }

func refuse(format string, args ...any) error { return &refusedError{fmt.Errorf(format, args...)} }

// patch applies the delta at path to old, and checks what comes out.
func (u *Updater) patch(ctx context.Context, w io.Writer, old *oldImage, path string, size int64, want bases.Hash) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	h := sha256.New()
	target, from := &sink{w: w, h: h}, &noted{ReaderAt: f}
	if err := delta.Apply(ctx, target, old, old.size, from, st.Size(), size); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if isLocal(target.err) {
			return target.err
		}
		if from.err != nil {
			return &localError{from.err}
		}
		return &contentError{&applyError{fmt.Errorf("applying %s: %w", blobName(path), err)}}
	}
	if bases.Hash(h.Sum(nil)) != want {
		return &contentError{&applyError{fmt.Errorf("%s leads to another content than the one signed", blobName(path))}}
	}
	return nil
}

// applyError says that a delta, itself as signed, does not lead where it should
// from what it was applied to.
type applyError struct{ err error }

func (e *applyError) Error() string { return e.err.Error() }
func (e *applyError) Unwrap() error { return e.err }

func blobName(path string) string { return "blobs/" + strings.TrimSuffix(filepath.Base(path), ".part") }

// sink hashes what it writes and keeps the writer's error: a full disk is not
// the delta's fault.
type sink struct {
	w   io.Writer
	h   io.Writer
	err error
}

func (s *sink) Write(p []byte) (int, error) {
	s.h.Write(p)
	n, err := s.w.Write(p)
	if err != nil {
		s.err = err
	}
	return n, err
}

// noted keeps the error of reading what was downloaded: a disk that fails is not
// the delta's fault. An old image that cannot be read is another matter: other
// ways lead around it.
type noted struct {
	io.ReaderAt
	err error
}

func (n *noted) ReadAt(b []byte, at int64) (int, error) {
	got, err := n.ReaderAt.ReadAt(b, at)
	if err != nil && err != io.EOF {
		n.err = err
	}
	return got, err
}

// building tells errors of the disk from those of an image that is not well
// formed.
type building struct {
	*bases.Builder
	failed *error
}

func (b *building) Write(p []byte) (int, error) {
	n, err := b.Builder.Write(p)
	if err != nil && *b.failed != nil {
		err = &localError{err}
	}
	return n, err
}

// watched gives a disk like d that keeps the first error of its steps.
func watched(d *durable.Disk) (*durable.Disk, *error) {
	failed := new(error)
	if d == nil {
		return nil, failed
	}
	keep := func(step func(op, path string) error) func(op, path string) error {
		if step == nil {
			return nil
		}
		return func(op, path string) error {
			err := step(op, path)
			if *failed == nil {
				*failed = err
			}
			return err
		}
	}
	return &durable.Disk{Step: keep(d.Step), After: keep(d.After)}, failed
}

// isLocal says whether err came from this machine's disk.
func isLocal(err error) bool {
	var local *localError
	var path *fs.PathError
	var link *os.LinkError
	var errno syscall.Errno
	return errors.As(err, &local) || errors.As(err, &path) || errors.As(err, &link) || errors.As(err, &errno)
}

// ref is the job's version as a generation names it.
func (j *job) ref() rollback.Ref {
	return rollback.Ref{
		Version: j.manifest.Version, Published: j.manifest.Published, Dir: j.manifest.Dir(),
		Image: j.manifest.Image.SHA256.String(), Manifest: j.hash.String(), Keys: j.keys,
	}
}
