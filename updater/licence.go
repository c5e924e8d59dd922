package updater

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/internal/licence"
	"github.com/freshet/freshet/internal/trust"
	"github.com/freshet/freshet/rollback"
)

// LicenceStatus is how this endpoint stands with its repository.
type LicenceStatus struct {
	licence.Standing
	Agent      string // the agent's ID; "" before the first start
	Repository string // its ID
	Left       bool   // the one update without a licence is still possible

	mark licence.Mark
}

// unlicensedError keeps new versions away for want of a licence.
type unlicensedError struct{ text string }

func (e *unlicensedError) Error() string { return e.text }

// unlicensedRetry is how long an update waits after one that lacked a licence:
// asking sooner would find the same.
const unlicensedRetry = time.Hour

func isUnlicensed(err error) bool {
	var u *unlicensedError
	return errors.As(err, &u)
}

func (u *Updater) licences() licence.Store { return licence.Store{Dir: u.Dir, Disk: u.Disk} }

// startLicence settles what a killed run left open, and sees that the agent
// has an ID. It comes before anything can confirm another generation. A disk
// that does not let it must not keep anyone from rolling back: then a mark
// left open is judged by a later generation, and never to be free when it is
// used.
func (u *Updater) startLicence(st rollback.State) {
	if err := u.licences().Settle(st.Good, u.Clock.Now()); err != nil {
		u.emit(event.StateDamaged, "error", fmt.Sprintf("settling the update without a licence: %v", err))
	}
	for _, err := range u.licences().Mend() {
		u.emit(event.StateDamaged, "error", err.Error())
	}
	damaged, err := u.licences().MakeAgentID()
	if damaged != nil {
		u.emit(event.StateDamaged, "error", fmt.Sprintf("%v; the agent has a new ID", damaged))
	}
	if err != nil {
		u.emit(event.StateDamaged, "error", fmt.Sprintf("giving the agent its ID: %v", err))
	}
}

// Licence says how this endpoint stands, by what is stored. It needs no lock.
func (u *Updater) Licence() (LicenceStatus, error) {
	st, err := u.store().Load()
	if err != nil {
		return LicenceStatus{}, err
	}
	view, err := u.client().Load()
	if err != nil {
		return LicenceStatus{}, err
	}
	return u.standing(view, st)
}

func (u *Updater) standing(view *trust.View, st rollback.State) (LicenceStatus, error) {
	s := LicenceStatus{Repository: RepositoryID(u.Root)}
	// What is damaged is told, and mended, at the start of each run. Here an ID
	// or licence that cannot be read is none, and a mark is used.
	s.Agent, _ = u.licences().AgentID()
	s.mark, _ = u.licences().Mark(s.Repository)
	s.mark = s.mark.Settle(st.Good)
	s.Left = s.mark.Used == 0
	docs, _ := u.licences().Licences()
	terms, err := licenceTerms(view)
	if trust.KindOf(err) == trust.NotStored {
		s.State = licence.Unknown
		return s, nil
	}
	if err != nil {
		return s, err
	}
	s.Standing = licence.Judge(terms, docs, s.Repository, s.Agent, u.Clock.Read().Now(view.Floor()))
	return s, nil
}

func licenceTerms(view *trust.View) (licence.Terms, error) {
	data, err := view.TargetsField(licence.Field)
	if err != nil {
		return licence.Terms{}, err
	}
	return licence.ParseTerms(data)
}

// LicenceError says why a licence is not added.
type LicenceError struct{ Reason string }

func (e *LicenceError) Error() string { return "the licence is not added: " + e.Reason }

// AddLicence checks a licence by what is stored, without the network, and
// keeps it. One that does not count here and now is a [*LicenceError]. The
// caller holds the lock.
func (u *Updater) AddLicence(data []byte) (licence.Licence, error) {
	none := licence.Licence{}
	doc, err := licence.Parse(data)
	if err != nil {
		return none, &LicenceError{err.Error()}
	}
	view, err := u.client().Load()
	if err != nil {
		return none, err
	}
	terms, err := licenceTerms(view)
	if trust.KindOf(err) == trust.NotStored {
		return none, &LicenceError{"the repository's keys were not fetched yet: run freshet update --dry-run first"}
	}
	if err != nil {
		return none, err
	}
	agent, err := u.licences().AgentID()
	if err != nil {
		return none, err
	}
	now := u.Clock.Read().Now(view.Floor())
	verdict := licence.Judge(terms, []*licence.Document{doc}, RepositoryID(u.Root), agent, now).Known[0]
	switch {
	case verdict.Refused != "":
		return none, &LicenceError{verdict.Refused}
	case verdict.Expired:
		return none, &LicenceError{"it ended at " + stamp(doc.Signed.Until)}
	}
	if err := u.licences().Add(doc.Signed.ID, data); err != nil {
		return none, fmt.Errorf("keeping the licence: %w", err)
	}
	u.emit(event.LicenceAdded, "to", doc.Signed.To, "until", stamp(doc.Signed.Until))
	return doc.Signed, nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// gate takes out of a survey what may not be installed for want of a licence.
// What is installed already may be fetched again, and what is not wanted any
// more may go.
func (u *Updater) gate(s *survey) (err error) {
	if s.licence, err = u.standing(s.offer.view, s.state); err != nil {
		return err
	}
	if s.licence.MayUpdate() || s.licence.Left {
		return nil
	}
	reason := "the repository asks for a licence, and there is none"
	if s.licence.State == licence.Expired {
		reason = "the licence ended at " + stamp(s.licence.Licence.Until)
	}
	s.jobs = slices.DeleteFunc(s.jobs, func(j *job) bool {
		if !s.brings(j) {
			return false
		}
		s.unlicensed = &unlicensedError{reason + ", and the one update without is used up"}
		j.err = s.unlicensed
		s.barred = append(s.barred, j)
		return true
	})
	return nil
}

// brings says whether a job is for a version that is not installed.
func (s *survey) brings(j *job) bool {
	return j.err == nil && j.held == "" && j.manifest.Dir() != s.now.Bases[j.name].Dir
}

// tellLicence emits what an operator must know of the licence in this run.
func (u *Updater) tellLicence(s *survey) {
	l := s.licence
	if l.State == licence.NotRequired {
		return
	}
	fields := []string{"agent", l.Agent}
	if l.Licence != nil {
		fields = append(fields, "to", l.Licence.To, "until", stamp(l.Licence.Until))
	}
	code := map[licence.State]event.Code{
		licence.Missing: event.LicenceMissing, licence.Expired: event.LicenceExpired, licence.ExpiresSoon: event.LicenceExpiresSoon,
	}[l.State]
	switch {
	case s.unlicensed != nil:
		u.emit(code, append(fields, "effect", "no update is possible any more; the installed bases stay in use")...)
	case l.State == licence.ExpiresSoon && l.mark.Told != l.Licence.ID:
		u.emit(code, fields...)
		l.mark.Told = l.Licence.ID
		// Where it is not kept, it is told again.
		_ = u.licences().SaveMark(l.Repository, l.mark)
	case !l.MayUpdate() && slices.ContainsFunc(s.jobs, s.brings):
		u.emit(code, append(fields, "effect", "this update is the only one possible without")...)
	}
}

// spend marks, before the bases of gen are confirmed in generation good, that it
// is the one update without a licence, if it is: one that brings a base that was
// not installed.
func (u *Updater) spend(s *survey, good int, gen rollback.Generation) error {
	if s.licence.MayUpdate() || len(gen.Changed(s.now)) == 0 {
		return nil
	}
	m, err := s.licence.mark.Spend(good, u.Clock.Now())
	if err != nil {
		return err
	}
	if err := u.licences().SaveMark(s.licence.Repository, m); err != nil {
		return fmt.Errorf("marking the update without a licence: %w", err)
	}
	s.licence.mark = m
	return nil
}
