package publish

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/publish/feed"
	"github.com/freshet/freshet/publish/form"
)

// Release asks for a new version of a base.
type Release struct {
	Name      string
	Path      string    // a file, a folder, a pipe, or "-", which is the repository's Stdin
	Unpack    bool      // publish what is in the archive at Path
	Sort      bool      // publish its lines in order
	File      string    // the file's name at the endpoint; "": as before, at first as in Path
	Version   int64     // 0: the next
	Published time.Time // zero: now
	Every     time.Duration
	Shrink    string // why it may be much smaller than the version before
	Growth    string // why it may be much larger
	Allow     string // why its form may differ, see package form
	Notes     string

	Include []string // patterns of the files of a folder, see selection; none: all
	Exclude []string // patterns of files and folders that are left out

	MinRecords int64    // 0: as before
	MaxShrink  int      // percent of the records that may be gone; 0: as before, at first 50
	MustHave   []string // nil: as before
	MustLack   []string // nil: as before
}

// Released says what Publish did.
type Released struct {
	Name      string    `json:"name"`
	Version   int64     `json:"version"`
	Published time.Time `json:"published"`
	Unchanged bool      `json:"unchanged,omitempty"` // nothing was published
	Records   int64     `json:"records"`
	Size      int64     `json:"size"`        // of the image, in bytes
	Full      int64     `json:"full_bytes"`  // that lead to it from nothing
	Delta     int64     `json:"delta_bytes"` // of the delta from the newest version that has one, or 0
	Deltas    int       `json:"deltas"`      // that lead to it, if it was published now
	Warnings  []string  `json:"warnings,omitempty"`

	Findings []form.Finding `json:"findings,omitempty"` // what is strange in its form, or changed
}

// Publish adds a version of a base. If it returns nil the version is published
// even after power loss. A refusal ([Error]) changes nothing. On any other
// error the repository is as it was or complete, and the same call completes
// it: content that the newest version has, published less than Every before,
// is not published again.
func (r *Repository) Publish(ctx context.Context, rel Release) (*Released, error) {
	if err := rel.prepare(); err != nil {
		return nil, err
	}
	f, err := feed.Open(ctx, feed.Source{Path: rel.Path, Stdin: r.Stdin, Unpack: rel.Unpack, Sort: rel.Sort})
	var known *feed.Error
	if errors.As(err, &known) {
		return nil, refuse(known.Hint, "%s", known.Reason)
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", rel.Path, err)
	}
	defer f.Close()
	lock, st, ring, err := r.beginSigning(ctx)
	if err != nil {
		return nil, err
	}
	defer lock.Unlock()
	r.tellClock(st)
	if err := ring.check(st, roleBases, "snapshot", "timestamp"); err != nil {
		return nil, err
	}
	before, err := r.manifest(st, rel.Name)
	if err == nil {
		before, err = rel.follows(before)
	}
	if err != nil {
		return nil, err
	}
	r.report("reading %s", rel.Path)
	m, image, err := rel.manifest(r.now(), f, before)
	if err != nil {
		return nil, err
	}
	if m == nil {
		// The run that published it may have been killed before its last sync.
		return released(before, true), r.Disk.SyncDir(r.path("metadata"))
	}
	h, warnings, err := r.past(before)
	if err != nil {
		return nil, err
	}
	findings, err := r.compare(ctx, m, before, h, image)
	if err == nil {
		findings, err = rel.judge(findings)
	}
	if err != nil {
		return nil, err
	}
	made, more, err := r.fill(ctx, m, before, h, image)
	if err != nil {
		return nil, err
	}
	if err := r.putManifest(st, m); err != nil {
		return nil, err
	}
	if err := r.commit(st, ring, roleBases); err != nil {
		return nil, err
	}
	done := released(m, false)
	done.Deltas, done.Warnings, done.Findings = made, append(warnings, more...), findings
	r.tell(done)
	return done, nil
}

func released(m *bases.Manifest, unchanged bool) *Released {
	d := &Released{
		Name: m.Name, Version: m.Version, Published: m.Published, Unchanged: unchanged,
		Records: m.Records, Size: m.Image.Size, Full: m.Whole(),
	}
	if len(m.Deltas) > 0 {
		d.Delta = m.Deltas[0].Size
	}
	return d
}

// past gives the history that a version goes on from, and warnings of what is
// lost of it.
func (r *Repository) past(before *bases.Manifest) (history, []string, error) {
	var warnings []string
	h, _, err := r.history(before)
	var unread *fs.PathError
	if errors.As(err, &unread) && !errors.Is(err, fs.ErrNotExist) {
		return h, nil, fmt.Errorf("reading what deltas of base %s are made from: %w", before.Name, err) // the disk may be well again
	}
	if err != nil {
		// Without its index a base goes on from its newest version alone.
		h = began(before)
		warnings = append(warnings, fmt.Sprintf("no deltas from versions before %d: %v", before.Version, err))
	}
	return h, append(warnings, r.letGo(&h)...), nil
}

// compare gives what changed in form. Where the image before is lost, which fill
// warns of, amounts alone are compared.
func (r *Repository) compare(ctx context.Context, m, before *bases.Manifest, h history, image []byte) ([]form.Finding, error) {
	is, err := form.Of(m.Name, m.Version, m.Records, m.Image.Kind, image)
	if err != nil || before == nil {
		return form.Compare(nil, is, form.Limits{}), err
	}
	was := form.Form{Name: m.Name, Version: before.Version, Kind: before.Image.Kind, Records: before.Records, Size: before.Image.Size}
	old, err := (&builder{repo: r, list: h.images}).build(ctx, imageOf(before))
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err == nil && before.Image.Kind == m.Image.Kind {
		was, err = form.Of(m.Name, before.Version, before.Records, before.Image.Kind, old)
		if err != nil {
			return nil, fmt.Errorf("reading the files of version %d: %w", before.Version, err)
		}
	}
	return form.Compare(&was, is, form.Limits{Shrink: m.Checks.MaxShrink}), nil
}

// tell makes warnings of findings, and notes what needs none.
func (r *Repository) tell(done *Released) {
	for _, f := range done.Findings {
		if f.Severity == form.Warn {
			done.Warnings = append(done.Warnings, f.Text)
		} else {
			r.warn("%s", f.Text)
		}
	}
}

// fill makes and stores the blobs of a version and names them in m. It gives
// the number of deltas that lead to it, and warnings.
func (r *Repository) fill(ctx context.Context, m, before *bases.Manifest, h history, image []byte) (int, []string, error) {
	cp := h.checkpoint(publishedAt(before), m.Published)
	rel := &release{repo: r, history: h, image: image, version: imageOf(m), images: &builder{repo: r, list: h.images}}
	made, err := rel.ways(ctx, m, cp)
	if err != nil {
		return 0, nil, err
	}
	if h, err = rel.follow(ctx, m.Name, cp, made); err != nil {
		return 0, nil, err
	}
	m.Deltas = h.nearest()
	if err := r.putHistory(h, m); err != nil {
		return 0, nil, err
	}
	// A blob found in place may have been renamed by a run killed before it
	// synced the folder.
	return len(made), rel.warnings, r.Disk.SyncDir(r.path("blobs"))
}

// letGo has the history forget far indexes that are lost: no endpoint can have
// them, and what else they kept nobody knows, so that prune refuses to judge.
func (r *Repository) letGo(h *history) (warnings []string) {
	h.checkpoints = slices.Clone(h.checkpoints)
	for i, c := range h.checkpoints {
		if c.Far == nil {
			continue
		}
		if err := r.checkBlob(*c.Far); r.lost(*c.Far) {
			h.checkpoints[i].Far = nil
			warnings = append(warnings, fmt.Sprintf("no way on from versions around %d: %v", c.Version, err))
		}
	}
	return warnings
}

func publishedAt(m *bases.Manifest) time.Time {
	if m == nil {
		return time.Time{}
	}
	return m.Published
}

func (r *Repository) putManifest(st *state, m *bases.Manifest) error {
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if _, err := bases.ParseManifest(m.Name, data); err != nil {
		return err
	}
	st.setTarget(m.Name, data)
	return r.write(targetFile(m.Name, sha256.Sum256(data)), data)
}

// readImage reads the file or folder at path as it is at one moment. Path itself
// may be a link. What which leaves out is not read.
func readImage(path string, which selection, checks bases.Checks) (bases.Image, []byte, bases.Count, error) {
	var none bases.Count
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return bases.Image{}, nil, none, refuse("", "%v", err)
	}
	img, err := bases.NewImageOf(real, which.skips)
	if err != nil {
		return bases.Image{}, nil, none, refuse("a base is a file, or a folder of plain files and folders; what is too many can be packed into fewer files, or be several bases", "%v", err)
	}
	defer img.Close()
	if img.Size() == 0 {
		return bases.Image{}, nil, none, refuse("check what wrote it", "%s is empty", path)
	}
	data := make([]byte, img.Size())
	_, err = img.ReadAt(data, 0)
	if err != nil && err != io.EOF {
		return bases.Image{}, nil, none, fmt.Errorf("reading %s: %w", path, err)
	}
	count, err := img.CountFor(checks)
	if err != nil {
		return bases.Image{}, nil, none, fmt.Errorf("reading %s: %w", path, err)
	}
	again := sha256.New()
	if _, err := io.Copy(again, io.NewSectionReader(img, 0, img.Size())); err != nil {
		return bases.Image{}, nil, none, fmt.Errorf("reading %s: %w", path, err)
	}
	im := bases.Image{Kind: img.Kind(), Size: img.Size(), SHA256: sha256.Sum256(data)}
	if im.SHA256 != bases.Hash(again.Sum(nil)) {
		return bases.Image{}, nil, none, refuse("give a copy that nothing writes to", "%s changed while it was read", path)
	}
	return im, data, count, nil
}
