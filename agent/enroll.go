package agent

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/settings"
	"github.com/freshet/freshet/internal/source"
	"github.com/freshet/freshet/internal/trust"
	"github.com/freshet/freshet/updater"
)

// postEnroll is for root and the agent's own user alone: whose root of trust is
// pinned decides what is installed here, and with which settings.
func (a *Agent) postEnroll(w http.ResponseWriter, req *http.Request) error {
	caller, known := api.CallerOf(req.Context())
	if !known || !(api.Gate{UID: os.Geteuid()}).MayChange(caller) {
		return &api.Error{
			Code: api.Forbidden, Text: fmt.Sprintf("enrolling is not allowed to user %d", caller.UID),
			Hint: "run it as root: members of a group do not decide whom this host trusts",
		}
	}
	var ask api.Enroll
	if err := api.Decode(req.Body, &ask); err != nil {
		return err
	}
	d, err := a.draft(req.Context(), ask)
	if err != nil {
		return err
	}
	return a.beginEnrolment(w, d)
}

// draft is an enrolment that was checked and changed nothing yet.
type draft struct {
	enrolment
	answer api.Enrolling
}

// draft checks source, root and bases.
func (a *Agent) draft(ctx context.Context, ask api.Enroll) (draft, error) {
	d := draft{enrolment: enrolment{Source: ask.Source, Bases: ask.Bases, Root: ask.Root}}
	if err := (settings.Enrolment{Source: ask.Source, Root: "/", Bases: ask.Bases}).Check(); err != nil {
		return d, &api.Error{Code: api.BadRequest, Text: err.Error()}
	}
	want, err := fingerprint(ask)
	if err != nil {
		return d, err
	}
	// The file as it is now: that which is in force may be a moment behind.
	s, err := settings.Load(a.Settings)
	if errors.Is(err, settings.ErrMissing) {
		s, err = settings.Default(), nil
	}
	if err != nil {
		return d, &api.Error{Code: api.SettingsInvalid, Text: "the settings file is wrong: " + err.Error()}
	}
	f := a.wire(s)
	only := a.at(f, ask.Source)
	d.answer.Source = only.sources[0].Name()
	err = a.inTurn(ctx, "an enrolment", func(ctx context.Context, _ *updater.Updater) error {
		u := a.updater(only)
		if want != "" {
			if d.Root, err = fetchRoot(ctx, u, want); err != nil {
				return err
			}
		}
		if err := a.trusts(f, ask, &d); err != nil {
			return err
		}
		u.Root = d.Root
		return d.probe(ctx, u)
	})
	if err != nil {
		return d, err
	}
	return d, a.foresee(&d)
}

// fingerprint is the SHA-256 that the root must have; "" if it was given whole.
func fingerprint(ask api.Enroll) (string, error) {
	sum := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(strings.ToLower(ask.Fingerprint), "sha256:"), ":", ""))
	raw, err := hex.DecodeString(sum)
	switch {
	case (len(ask.Root) > 0) == (ask.Fingerprint != ""):
		return "", &api.Error{Code: api.BadRequest, Text: "give either the root of trust or its fingerprint", Hint: "the publisher gives out metadata/1.root.json; freshet-publish show prints its SHA-256"}
	case ask.Fingerprint != "" && (err != nil || len(raw) != sha256.Size):
		return "", &api.Error{Code: api.BadRequest, Text: "the fingerprint is no SHA-256: 64 hexadecimal digits"}
	}
	return sum, nil
}

func fetchRoot(ctx context.Context, u *updater.Updater, want string) ([]byte, error) {
	from := u.Sources[0].Name()
	root, err := u.FetchRoot(ctx)
	if err != nil {
		return nil, unreached(from, err)
	}
	if sum := sha256.Sum256(root); hex.EncodeToString(sum[:]) != want {
		return nil, &api.Error{
			Code: api.RunFailed, Text: fmt.Sprintf("the root of trust at %s has the SHA-256 %x, not %s", from, sum, want),
			Hint: "nothing was changed; ask the publisher for the fingerprint again: if it is right, this source is not theirs",
		}
	}
	return root, nil
}

// trusts holds the new root against the one that is trusted now.
func (a *Agent) trusts(f *inForce, ask api.Enroll, d *draft) error {
	is, err := trust.ReadPinned(d.Root)
	if err != nil {
		return &api.Error{Code: api.BadRequest, Text: err.Error(), Hint: "give the publisher's metadata/1.root.json, or a newer root of theirs"}
	}
	d.answer.Repository, d.answer.RootVersion, d.answer.Fingerprint = is.Repository, is.Version, is.Fingerprint
	d.RootFile = f.settings.Root
	old, err := readRoot(d.RootFile)
	if errors.Is(err, os.ErrNotExist) && d.RootFile == settings.Default().Root {
		// Settings of another place than the usual have their root beside them.
		d.RootFile = filepath.Join(filepath.Dir(a.Settings), "root.json")
	}
	if errors.Is(err, os.ErrNotExist) || bytes.Equal(old, d.Root) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the root of trust in force: %w", err)
	}
	before := "a root of trust that cannot be read, in " + d.RootFile
	was, err := trust.ReadPinned(old)
	if err == nil {
		before = was.String()
	}
	if !ask.Replace {
		return &api.Error{Code: api.EnrolledAlready, Text: fmt.Sprintf("this host trusts %s; the new one is %s", before, is)}
	}
	d.answer.Before = before
	if was.Repository != is.Repository {
		d.Foreign = true
	} else if err := a.follows(is, d.Root); err != nil {
		return err
	}
	d.RootFile = rootFile(filepath.Dir(a.Settings), d.Root, is)
	return nil
}

// follows refuses a root of the repository in force that what is stored of it
// would overrule.
func (a *Agent) follows(is trust.Pinned, root []byte) error {
	stored := filepath.Join(a.Dir, "trust", is.Repository)
	refuse := func(format string, args ...any) error {
		return &api.Error{
			Code: api.EnrolledAlready, Text: fmt.Sprintf(format, args...),
			Hint: "nothing was changed; ask the publisher for the newest root; if they began anew with the same keys, remove " + stored + " first",
		}
	}
	u := &updater.Updater{Dir: a.Dir, Root: root, Clock: a.Clock}
	if v := u.RootVersion(); v > is.Version {
		return refuse("root version %d of repository %s is older than version %d, which this host has seen", is.Version, is.Repository, v)
	}
	// Of one version a publisher gives out one root.
	has, err := readRoot(filepath.Join(stored, "root.json"))
	if err != nil {
		return nil // what cannot be read overrules nothing
	}
	if was, err := trust.ReadPinned(has); err == nil && was.Version == is.Version && !trust.SameSigned(has, root) {
		return refuse("root version %d of repository %s is another one than this host has seen of that version", is.Version, is.Repository)
	}
	return nil
}

// rootFile is where a root goes that takes another's place: that one's file
// stays until the settings name the new one, which is the one commit.
func rootFile(dir string, root []byte, is trust.Pinned) string {
	usual := filepath.Join(dir, "root.json")
	there, err := readRoot(usual)
	if errors.Is(err, os.ErrNotExist) || bytes.Equal(there, root) {
		return usual
	}
	return filepath.Join(dir, "root-"+is.Fingerprint[:12]+".json")
}

// probe asks the source what it offers.
func (d *draft) probe(ctx context.Context, u *updater.Updater) error {
	from := u.Sources[0].Name()
	offered, err := u.Probe(ctx)
	switch trust.KindOf(err) {
	case trust.BadSignature, trust.Mismatch:
		return &api.Error{
			Code: api.RunFailed, Text: fmt.Sprintf("the source is not signed by this root of trust: %v", err),
			Hint: "nothing was changed; is it another repository's? ask the publisher for root and address",
		}
	case trust.Expired:
		return &api.Error{
			Code: api.RunFailed, Text: err.Error(),
			Hint: "nothing was changed; ask the publisher for a newer root, or to sign again; is this machine's clock right?",
		}
	}
	if err != nil {
		return unreached(from, err)
	}
	d.answer.Offered = offered
	if len(offered) == 0 {
		return &api.Error{Code: api.RunFailed, Text: "the repository at " + from + " offers no base yet", Hint: "nothing was changed; try again once the publisher has published one"}
	}
	for _, name := range d.Bases {
		if !slices.Contains(offered, name) {
			return &api.Error{Code: api.NoSuchBase, Text: fmt.Sprintf("the repository has no base %q", name), Hint: "it has " + strings.Join(offered, ", ")}
		}
	}
	return nil
}

func unreached(from string, err error) error {
	text := err.Error()
	if !strings.Contains(text, from) {
		text = from + ": " + text
	}
	hint := "nothing was changed; check the address, the network and the proxy"
	if errors.Is(err, source.ErrNotFound) {
		hint = "nothing was changed; the address is that of the folder in which metadata lies"
	}
	return &api.Error{Code: api.RunFailed, Text: text, Hint: hint}
}

// foresee says what will be written, and that it can be.
func (a *Agent) foresee(d *draft) error {
	d.Alone = d.Foreign
	text, err := settings.ReadText(a.Settings)
	if err != nil {
		return err
	}
	edited, changes, err := d.edit().Apply(a.Settings, text)
	if err != nil {
		return &api.Error{Code: api.SettingsInvalid, Text: err.Error()}
	}
	now, err := settings.Parse(a.Settings, edited)
	if err != nil {
		return err
	}
	for _, b := range now.Bases {
		d.answer.Wanted = append(d.answer.Wanted, b.Name)
	}
	d.answer.Settings, d.answer.Root, d.answer.Changes = a.Settings, d.RootFile, append([]string{}, changes...)
	for _, path := range []string{a.Settings, d.RootFile} {
		if err := a.writable(filepath.Dir(path)); err != nil {
			return err
		}
	}
	return nil
}

// writable says whether files can be written in dir, which is made if needed.
func (a *Agent) writable(dir string) error {
	err := a.Disk.MkdirAll(dir, 0o755)
	if err == nil {
		err = unix.Access(dir, unix.W_OK)
	}
	if err != nil {
		return &api.Error{
			Code: api.RunFailed, Text: fmt.Sprintf("%s cannot be written: %v", dir, err),
			Hint: "the service's unit may keep it from there: freshet service install writes it anew, or systemctl edit freshet with ReadWritePaths=" + dir,
		}
	}
	return nil
}

// at is f with the place at url for its only source, reached as the settings
// say if they name it.
func (a *Agent) at(f *inForce, url string) *inForce {
	s := *f.settings
	src := settings.Source{URL: url}
	if _, folder := src.Folder(); !folder {
		src.Proxy = "system"
	}
	for _, known := range s.Sources {
		if known.URL == url {
			src = known
		}
	}
	s.Sources = []settings.Source{src}
	return a.wire(&s)
}
