package updater

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"time"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/internal/source"
	"github.com/freshet/freshet/internal/trust"
)

// errNoSource says that there is nobody to ask.
var errNoSource = errors.New("no source is set: add one to the settings")

// offer is what a source was found to offer.
type offer struct {
	view    *trust.View
	source  source.Source // whose metadata it is
	found   map[string]trust.Target
	missing map[string]error // bases wanted and not offered
}

// fetcher lets the trust client read from a source.
type fetcher struct{ source.Source }

func (f fetcher) Fetch(ctx context.Context, path string, limit int64) ([]byte, error) {
	data, err := f.Source.Fetch(ctx, path, limit)
	switch {
	case errors.Is(err, source.ErrNotFound):
		return nil, fmt.Errorf("%w: %w", trust.ErrNotFound, err)
	case errors.Is(err, source.ErrTooLarge):
		return nil, fmt.Errorf("%w: %w", trust.ErrTooLarge, err)
	}
	return data, err
}

// refresh asks the sources in their order until one gives metadata that can
// be trusted and is not behind what was seen.
func (u *Updater) refresh(ctx context.Context) (*offer, error) {
	if len(u.Sources) == 0 {
		return nil, errNoSource
	}
	var errs []error
	for _, s := range u.Sources {
		o, err := u.ask(ctx, s)
		if err == nil {
			return o, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		u.sourceFailed(s, err)
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// ask brings the metadata up to date from one source.
func (u *Updater) ask(ctx context.Context, s source.Source) (*offer, error) {
	view, err := u.client().Refresh(ctx, fetcher{s})
	if err != nil {
		return nil, err
	}
	u.passOver(view)
	o := &offer{view: view, source: s, found: map[string]trust.Target{}, missing: map[string]error{}}
	return o, u.offered(ctx, o)
}

// onlyBehind says whether err is about sources that are behind and nothing
// worse: no failed update.
func onlyBehind(err error) bool {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return trust.KindOf(err) == trust.Behind
	}
	for _, e := range joined.Unwrap() {
		if !onlyBehind(e) {
			return false
		}
	}
	return true
}

// sourceFailed tells what is wrong with a source, and has it forget what it
// remembers of it.
func (u *Updater) sourceFailed(s source.Source, err error) {
	if f, ok := s.(interface{ Forget() }); ok {
		f.Forget()
	}
	code := event.SourceFailed
	switch trust.KindOf(err) {
	case trust.Behind:
		code = event.SourceBehind
	case trust.Expired:
		code = event.MetadataExpired
	case trust.Rollback, trust.BadSignature, trust.Mismatch, trust.Malformed:
		code = event.SourceHostile
	}
	u.emit(code, "source", s.Name(), "error", err.Error())
}

// contentFailed tells that a source did not give a file as it was signed.
func (u *Updater) contentFailed(s source.Source, b bases.Blob, err error) {
	u.emit(event.SourceFailed, "source", s.Name(), "error", fmt.Sprintf("%s: %v", b.Path(), err))
}

// passOver tells of stored metadata that was damaged and fetched anew.
func (u *Updater) passOver(v *trust.View) {
	for _, note := range v.Notes() {
		if trust.KindOf(note) == trust.Damaged {
			u.emit(event.StateDamaged, "error", note.Error())
		}
	}
}

func (u *Updater) client() *trust.Client {
	return &trust.Client{
		Dir:  filepath.Join(u.Dir, "trust", RepositoryID(u.Root)),
		Root: u.Root,
		Now:  u.now,
		Disk: u.Disk,
	}
}

// SignedAt is the newest time of signing that was verified; zero before the
// first update.
func (u *Updater) SignedAt() time.Time {
	view, err := u.client().Load()
	if err != nil {
		return time.Time{}
	}
	return view.SignedAt()
}

// now is the later of the clock and the newest verified time of signing: a
// clock set back must not bring expired metadata back to life.
func (u *Updater) now() time.Time { return bases.Now(u.Clock.Now(), u.signed) }

// RepositoryID names the repository that a root of trust belongs to.
func RepositoryID(root []byte) string { return trust.RepositoryID(root) }

// offered finds the bases that are wanted among those that are offered.
func (u *Updater) offered(ctx context.Context, o *offer) error {
	if u.Bases == nil {
		list, err := o.view.List(ctx, fetcher{o.source}, "bases")
		for _, t := range list {
			if name, ok := baseOf(t.Path); ok {
				o.found[name] = t
			}
		}
		return err
	}
	for _, name := range u.Bases {
		t, err := o.view.Target(ctx, fetcher{o.source}, bases.TargetPath(name))
		switch {
		case trust.KindOf(err) == trust.NoTarget:
			o.missing[name] = fmt.Errorf("the repository has no base %q", name)
		case err != nil:
			return err
		case t.Role != "bases":
			o.missing[name] = fmt.Errorf("the manifest is signed by role %q, not \"bases\"", t.Role)
		default:
			o.found[name] = t
		}
	}
	return nil
}

var targetForm = regexp.MustCompile(`^bases/([a-z0-9-]{1,64})\.json$`)

func baseOf(path string) (string, bool) {
	m := targetForm.FindStringSubmatch(path)
	if m == nil {
		return "", false
	}
	return m[1], true
}
