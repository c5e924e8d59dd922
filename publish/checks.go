package publish

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/publish/feed"
	"github.com/freshet/freshet/publish/form"
)

// maxAhead is how far ahead of the clock a time of publication may be.
const maxAhead = 5 * time.Minute

// manifest reads the content and describes it, without blobs, as the version
// after before (nil: the first). It gives nil where before has it already, and
// an [Error] where it must not be published.
func (rel Release) manifest(now time.Time, f *feed.Feed, before *bases.Manifest) (*bases.Manifest, []byte, error) {
	m := &bases.Manifest{
		Type: "base", Name: rel.Name, Version: rel.Version, Published: rel.Published.UTC().Truncate(time.Second),
		Stale: bases.ThresholdsFor(rel.Every), Notes: rel.Notes,
		Checks: bases.Checks{MinRecords: rel.MinRecords, MaxShrink: rel.MaxShrink, MustHave: rel.MustHave, MustLack: rel.MustLack},
	}
	if rel.Published.IsZero() {
		m.Published = now
	}
	rel.inherit(m, before)
	img, data, count, err := readImage(f.Path, selection{rel.Include, rel.Exclude}, m.Checks)
	if err != nil {
		return nil, nil, err
	}
	m.Image = img
	rel.setFile(m, f.Name, before)
	m.Records = count.Records
	for _, o := range rel.overrides() {
		if o.reason != "" {
			m.Notes = strings.TrimSpace(m.Notes + "\n\n" + o.title + ": " + o.reason)
		}
	}
	if rel.has(m, before) {
		return nil, nil, nil
	}
	if err := rel.check(m, before, now, count); err != nil {
		return nil, nil, err
	}
	return m, data, checkLength(m)
}

// checkLength refuses a manifest that would be too long for agents, before
// any delta is made. What is added to it later takes less than 4 KB.
func checkLength(m *bases.Manifest) error {
	data, err := json.Marshal(m)
	if err == nil && len(data) > bases.MaxManifest-4096 {
		err = refuse("shorten the notes or the lists of records", "the manifest would have %d bytes, agents take %d", len(data), bases.MaxManifest)
	}
	return err
}

// follows gives the version that the release comes after. A thief's, whose
// number nothing can follow, is none: with a number of its own, and keys that
// have been replaced, the base begins again.
func (rel Release) follows(before *bases.Manifest) (*bases.Manifest, error) {
	if before == nil || before.Version <= mostVersion {
		return before, nil
	}
	if rel.Version == 0 || rel.Version > mostVersion {
		return nil, refuse("replace the stolen keys with freshet-publish key replace, then give the number after your own last version with --version",
			"base %s is at version %d, which no publisher comes to by counting", rel.Name, before.Version)
	}
	return nil, nil
}

// inherit takes over from the version before what was not given.
func (rel Release) inherit(m, before *bases.Manifest) {
	if m.Version == 0 {
		m.Version = 1
		if before != nil {
			m.Version = before.Version + 1
		}
	}
	if before == nil {
		return
	}
	if m.Checks.MinRecords == 0 {
		m.Checks.MinRecords = before.Checks.MinRecords
	}
	if m.Checks.MaxShrink == 0 {
		m.Checks.MaxShrink = before.Checks.MaxShrink
	}
	if m.Checks.MustHave == nil {
		m.Checks.MustHave = before.Checks.MustHave
	}
	if m.Checks.MustLack == nil {
		m.Checks.MustLack = before.Checks.MustLack
	}
}

// setFile keeps the file's name from version to version: engines are
// configured with it.
func (rel Release) setFile(m *bases.Manifest, name string, before *bases.Manifest) {
	switch {
	case m.Image.Kind != bases.KindFile:
	case rel.File != "":
		m.Image.File = rel.File
	case before != nil && before.Image.Kind == bases.KindFile:
		m.Image.File = before.Image.File
	default:
		m.Image.File = name // "" of a pipe, which check refuses
	}
}

// has says whether the version before is what is asked for: a run that was
// killed after its last step, or an hour in which nothing changed.
func (rel Release) has(m, before *bases.Manifest) bool {
	if before == nil || before.Image != m.Image || !sameTerms(m, before) {
		return false
	}
	if rel.Version != 0 {
		return rel.Version == before.Version
	}
	age := m.Published.Sub(before.Published)
	return age >= 0 && age < rel.Every
}

// sameTerms says whether nothing but the content could differ: checks that
// were tightened, say, are worth a version of their own.
func sameTerms(m, before *bases.Manifest) bool {
	return m.Stale == before.Stale && (m.Notes == "" || m.Notes == before.Notes) &&
		m.Checks.MinRecords == before.Checks.MinRecords && m.Checks.MaxShrink == before.Checks.MaxShrink &&
		slices.Equal(m.Checks.MustHave, before.Checks.MustHave) &&
		slices.Equal(m.Checks.MustLack, before.Checks.MustLack)
}

func (rel Release) check(m, before *bases.Manifest, now time.Time, count bases.Count) error {
	timeHint := "check the clock, or give --published"
	if !rel.Published.IsZero() {
		timeHint = "check --published, or leave it away to take the time of now"
	}
	// One that was published by a clock that was wrong is followed by its own time.
	if ahead := m.Published.Sub(now); ahead > maxAhead && (before == nil || !m.Published.Equal(before.Published)) {
		return refuse(timeHint, "the time of publication %s is %s ahead of the clock", m.Published.Format(time.RFC3339), ahead)
	}
	if before != nil && m.Version <= before.Version {
		return refuse("leave --version away to take the next number", "version %d is not above version %d, the newest", m.Version, before.Version)
	}
	if before != nil && m.Published.Before(before.Published) {
		if before.Published.Sub(now) > maxAhead {
			timeHint = "the clock was wrong then, or is now; in the first case give --published " + before.Published.Format(time.RFC3339) + ", until that time has come"
		}
		return refuse(timeHint, "the time of publication %s is before that of version %d, %s",
			m.Published.Format(time.RFC3339), before.Version, before.Published.Format(time.RFC3339))
	}
	if m.Image.Kind == bases.KindFile {
		if err := bases.CheckFileName(m.Image.File); err != nil {
			return refuse("name the file at the endpoint with --file", "%v", err)
		}
	}
	if m.Records == 0 {
		return refuse("check what wrote it", "%s has no records", rel.Path)
	}
	if err := m.Checks.Verify(count); err != nil {
		return refuse("check what wrote it; --min-records, --must-have and --must-lack change what is asked of it",
			"%s must not be published: %v", rel.Path, err)
	}
	return nil
}

// An override is a reason by which what would be refused is published. It goes
// into the notes, and is signed with them.
type override struct {
	lifts  form.Override
	title  string
	reason string // "": not given
}

func (rel Release) overrides() []override {
	return []override{
		{form.AllowShrink, "Smaller on purpose", rel.Shrink},
		{form.AllowGrowth, "Larger on purpose", rel.Growth},
		{form.AllowForm, "Changed in form on purpose", rel.Allow},
	}
}

// judge refuses what must not be published without a reason, and gives what is
// to be told of the rest.
func (rel Release) judge(findings []form.Finding) (told []form.Finding, err error) {
	for _, f := range findings {
		given := slices.ContainsFunc(rel.overrides(), func(o override) bool { return o.lifts == f.Override && o.reason != "" })
		switch {
		case f.Severity == form.Refuse && !given:
			return nil, refuse(f.Hint, "%s", f.Text)
		case f.Severity == form.Refuse:
			continue
		case f.Severity == form.Warn && given:
			f.Severity = form.Note
		}
		told = append(told, f)
	}
	return told, nil
}

// prepare fills in defaults and says what is wrong with the request itself.
func (rel *Release) prepare() error {
	if err := bases.CheckName(rel.Name); err != nil {
		return refuse("", "%v", err)
	}
	if rel.Version < 0 || rel.MinRecords < 0 || rel.Every < 0 {
		return refuse("", "versions, numbers of records and durations are not negative")
	}
	if err := (selection{rel.Include, rel.Exclude}).check(); err != nil {
		return err
	}
	if rel.MaxShrink < 0 || rel.MaxShrink > 100 {
		return refuse("give 1 to 100", "%d %% is no share of a base that may be gone", rel.MaxShrink)
	}
	if rel.Every == 0 {
		rel.Every = time.Hour
	}
	rel.MustHave, rel.MustLack = samples(rel.MustHave), samples(rel.MustLack)
	for _, s := range slices.Concat(rel.MustHave, rel.MustLack) {
		if strings.ContainsAny(s, "\r\n") || s[0] == '#' {
			return refuse("", "%q is no record: a record is one line that does not begin with #", s)
		}
	}
	return nil
}

// samples drops empty strings, by which a list of records is emptied. nil
// stays nil.
func samples(records []string) []string {
	return slices.DeleteFunc(slices.Clone(records), func(s string) bool { return s == "" })
}
