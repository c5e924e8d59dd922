package updater

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
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
	missing map[string]error      // bases wanted and not offered
	data    map[bases.Hash][]byte // manifests that were fetched to see that they are there
}

// fetcher lets the trust client read from a source.
type fetcher struct {
	source.Source
	u *Updater
}

// FetchNamed is that of [trust.NamedFetcher]. A source that names what it does
// not give is told as soon as another gave it; of what none has the caller tells.
func (f fetcher) FetchNamed(ctx context.Context, path string, limit int64, right func([]byte) error) ([]byte, error) {
	var first error
	for _, s := range f.u.sourcesFrom(f.Source) {
		data, err := fetcher{s, f.u}.Fetch(ctx, path, limit)
		if err == nil {
			err = right(data)
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err == nil {
			if first != nil {
				f.u.emit(withheld(first), "source", f.Name(), "error", first.Error())
			}
			return data, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

// withheld is blame for a file that the source itself names: an answer that it
// is not there, or not to be had, is no fault of the network.
func withheld(err error) event.Code {
	var status *source.StatusError
	if code := blame(err); code != event.SourceFailed || !errors.Is(err, source.ErrNotFound) && !errors.As(err, &status) {
		return code
	}
	return event.SourceWithholds
}

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

// frozenAfter is the age of a timestamp, in the publisher's hourly pace, at
// which its source may be one that is held back.
const frozenAfter = 24 * time.Hour

// refresh asks the sources in their order until one gives metadata that can
// be trusted, is not behind what was seen, and was signed of late.
func (u *Updater) refresh(ctx context.Context) (*offer, error) {
	if len(u.Sources) == 0 {
		return nil, errNoSource
	}
	var errs []error
	var best, partial *offer
	for _, s := range u.Sources {
		o, err := u.ask(ctx, s)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if trust.KindOf(err) == trust.Storage { // this machine's disk, whoever is asked
			return nil, err
		}
		if err != nil {
			u.sourceFailed(s, err)
			errs = append(errs, err)
			if o != nil && (partial == nil || o.after(partial)) {
				partial = o
			}
			continue
		}
		if best = u.newer(best, o); !u.old(best) && !best.view.Older() {
			return best, nil
		}
	}
	if best != nil {
		return best, nil
	}
	if partial != nil { // of no source more is to be had
		return partial, nil
	}
	return nil, inOneLine(errs)
}

// inOneLine joins errors as errors.Join does, for people.
func inOneLine(errs []error) error {
	if len(errs) == 0 {
		return nil
	}
	err := errs[0]
	for _, e := range errs[1:] {
		err = fmt.Errorf("%w; %w", err, e)
	}
	return err
}

// old says whether an offer was signed so long ago, or so far in the future, that
// its source may be held at it: then the other sources are asked too, though they
// cost requests.
func (u *Updater) old(o *offer) bool {
	at, r := o.view.SignedAt(), u.Clock.Read()
	return !at.IsZero() && (r.Now(o.view.Floor()).Sub(at) > frozenAfter || r.Doubts(at))
}

// newer gives the newer of two offers, and tells of a source that stayed behind. A
// source that was asked later gives nothing older than what was seen by then, and
// versions tell it: a publisher's clock may have gone back.
func (u *Updater) newer(a, b *offer) *offer {
	if a == nil {
		return b
	}
	if maps.Equal(a.view.Versions(), b.view.Versions()) {
		return a
	}
	if a.after(b) { // of two that are older than what was seen
		a, b = b, a
	}
	was, is := a.view.SignedAt(), b.view.SignedAt()
	u.emit(event.SourceBehind, "source", a.source.Name(), "error",
		fmt.Sprintf("what it offers was signed at %s, %s offers what was signed at %s", was.UTC().Format(time.RFC3339), b.source.Name(), is.UTC().Format(time.RFC3339)))
	return b
}

// ask brings the metadata up to date from one source. With an error there may be an
// offer that lacks manifests alone.
func (u *Updater) ask(ctx context.Context, s source.Source) (*offer, error) {
	view, err := u.client().Refresh(ctx, fetcher{s, u})
	if err != nil {
		return nil, err
	}
	u.passOver(view, s)
	o := &offer{view: view, source: s, found: map[string]trust.Target{}, missing: map[string]error{}}
	if err := u.offered(ctx, o); err != nil {
		return nil, err
	}
	return o, u.manifests(ctx, o)
}

// after says whether a is a newer set than b. Versions begin again with keys that
// a newer root names.
func (a *offer) after(b *offer) bool {
	is, was := a.view.Versions(), b.view.Versions()
	if is["root"] != was["root"] {
		return is["root"] > was["root"]
	}
	return is["timestamp"] > was["timestamp"]
}

// manifests has the manifests of what is offered and not at hand be there: a set
// that names one which no source has is not whole, and an older one may be.
func (u *Updater) manifests(ctx context.Context, o *offer) error {
	o.data = map[bases.Hash][]byte{}
	for _, name := range slices.Sorted(maps.Keys(o.found)) {
		t := o.found[name]
		if t.Length > bases.MaxManifest || len(o.data) >= maxBases || !u.concerns(name) {
			continue // the plan says what is wrong
		}
		if _, err := u.readManifest(t.Hex()); err == nil {
			continue
		}
		data, err := fetcher{o.source, u}.FetchNamed(ctx, t.FetchPath, t.Length, func(data []byte) error {
			if int64(len(data)) != t.Length || sha256.Sum256(data) != t.SHA256 {
				return fmt.Errorf("%s from %s: %w", t.FetchPath, o.source.Name(), errNotSigned)
			}
			return nil
		})
		if err != nil {
			return err
		}
		o.data[t.SHA256] = data
	}
	return nil
}

// behindHint is what to do where all sources are behind.
const behindHint = "a mirror catches up by itself; where the publisher came back from a backup, they sign above the numbers seen: freshet-publish restore REPO --above NUMBER, from freshet status --json"

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
	code := blame(err)
	if role := trust.RoleOf(err); role != "root" && role != "timestamp" {
		code = withheld(err)
	}
	u.emit(code, "source", s.Name(), "error", err.Error())
}

// sourceGave tells what is wrong with what a source gave.
func (u *Updater) sourceGave(s source.Source, err error) {
	u.emit(blame(err), "source", s.Name(), "error", err.Error())
}

// blame gives an error with a source the event that tells it.
func blame(err error) event.Code {
	switch trust.KindOf(err) {
	case trust.Behind:
		return event.SourceBehind
	case trust.Expired:
		if trust.RoleOf(err) == "root" {
			return event.RootExpired
		}
		return event.MetadataExpired
	case trust.Rollback, trust.BadSignature:
		return event.SourceHostile
	case trust.Mismatch, trust.Malformed:
		return event.SourceDamaged
	}
	var busy *source.RetryError
	switch {
	case errors.As(err, &busy):
		return event.SourceBusy
	case errors.Is(err, source.ErrWrongFile), errors.Is(err, source.ErrTooLarge), errors.Is(err, errNotSigned):
		return event.SourceDamaged
	}
	return event.SourceFailed
}

// lapsedHint says what to do where sources had nothing but what has expired: an
// agent that was off for years may need a person. "" if that is not what failed.
func lapsedHint(err error) string {
	var hint string
	for err != nil {
		if all, ok := err.(interface{ Unwrap() []error }); ok {
			for _, e := range all.Unwrap() {
				if of := lapsedHint(e); len(of) > len(hint) {
					hint = of
				}
			}
			return hint
		}
		if e, ok := err.(*trust.Error); ok && e.Kind == trust.Expired {
			return event.New(time.Time{}, blame(e), nil).Hint
		}
		err = errors.Unwrap(err)
	}
	return hint
}

// passOver tells of stored metadata that was damaged and fetched anew, and of
// numbers that the source gives a second meaning.
func (u *Updater) passOver(v *trust.View, s source.Source) {
	for _, note := range v.Notes() {
		switch trust.KindOf(note) {
		case trust.Damaged:
			u.emit(event.StateDamaged, "error", note.Error())
		case trust.Reused:
			u.emit(event.NumbersReused, "source", s.Name(), "error", note.Error())
		}
	}
}

func (u *Updater) client() *trust.Client {
	return &trust.Client{
		Dir:   filepath.Join(u.Dir, "trust", RepositoryID(u.Root)),
		Root:  u.Root,
		Clock: u.Clock,
		Disk:  u.Disk,
		Sets:  true,
	}
}

// Signed gives when the timestamp that is trusted was signed, and the newest time
// of signing that counts, see [trust.View.Floor]; zero before the first update.
func (u *Updater) Signed() (at, floor time.Time) {
	view, err := u.client().Load()
	if err != nil {
		return at, floor
	}
	return view.SignedAt(), view.Floor()
}

// Role is a role of the trusted metadata.
type Role struct {
	trust.Expiry
	Unneeded bool // this machine updates though it has expired
}

// Roles are those of the metadata that u trusts, with their expiries; none
// before the first update.
func Roles(u *Updater) ([]Role, error) {
	view, err := u.client().Load()
	if err != nil {
		return nil, err
	}
	_, now, err := u.newestModules()
	var roles []Role
	for _, e := range view.Expiries() {
		unneeded := err == nil && e.Role == "modules" && e.Empty && !needsModules(u.Modules, now)
		roles = append(roles, Role{e, unneeded})
	}
	return roles, nil
}

// Now is the present by the clock and by what was verified: see [trust.Client.Now].
func (u *Updater) Now() time.Time { return u.client().Now() }

// RootVersion is that of the newest root trusted; 0 if there is none.
func (u *Updater) RootVersion() int64 {
	view, err := u.client().Load()
	if err != nil {
		return 0
	}
	return view.Versions()["root"]
}

// RepositoryID names the repository that a root of trust belongs to.
func RepositoryID(root []byte) string { return trust.RepositoryID(root) }

// offered finds the bases that are wanted among those that are offered.
func (u *Updater) offered(ctx context.Context, o *offer) error {
	if u.Bases == nil {
		list, err := o.view.List(ctx, fetcher{o.source, u}, "bases")
		for _, t := range list {
			if name, ok := baseOf(t.Path); ok {
				o.found[name] = t
			}
		}
		return err
	}
	for _, name := range u.Bases {
		t, err := o.view.Target(ctx, fetcher{o.source, u}, bases.TargetPath(name))
		switch {
		case trust.KindOf(err) == trust.NoTarget:
			o.missing[name] = &unknownError{name, u.offers(ctx, o)}
		case err != nil:
			return err
		case t.Role != "bases":
			o.missing[name] = signedBy(t.Role)
		default:
			o.found[name] = t
		}
	}
	return nil
}

// unknownError says that the settings name a base that is not offered. That is
// no failure of an update, and no retry mends it.
type unknownError struct {
	name   string
	offers []string
}

func (e *unknownError) Error() string {
	return fmt.Sprintf("the repository has no base %q (it has %s): mend bases in the settings", e.name, strings.Join(e.offers, ", "))
}

// offers names the first bases that are offered, for a person to choose from.
func (u *Updater) offers(ctx context.Context, o *offer) []string {
	const most = 10
	list, _ := o.view.List(ctx, fetcher{o.source, u}, "bases") // none: the text says less
	var names []string
	for _, t := range list {
		if name, ok := baseOf(t.Path); ok && len(names) < most {
			names = append(names, name)
		}
	}
	if len(list) > most {
		names = append(names, "…")
	}
	return names
}

var targetForm = regexp.MustCompile(`^bases/([a-z0-9-]{1,64})\.json$`)

func baseOf(path string) (string, bool) {
	m := targetForm.FindStringSubmatch(path)
	if m == nil {
		return "", false
	}
	return m[1], true
}
