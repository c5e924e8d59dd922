package agent

import (
	"context"
	"errors"
	"net/http"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/trust"
	"github.com/freshet/freshet/updater"
)

func (a *Agent) getLicence(w http.ResponseWriter, _ *http.Request) error {
	a.mu.Lock()
	u := a.updater(a.force)
	a.mu.Unlock()
	l, err := licenceOf(u)
	if err != nil {
		return err
	}
	return api.Answer(w, l)
}

func (a *Agent) postLicence(w http.ResponseWriter, req *http.Request) error {
	var ask api.AddLicence
	if err := api.Decode(req.Body, &ask); err != nil {
		return err
	}
	var l *api.Licence
	err := a.exclusively(req.Context(), "adding a licence", func(_ context.Context, u *updater.Updater) error {
		_, err := u.AddLicence([]byte(ask.Licence))
		var refused *updater.LicenceError
		if errors.As(err, &refused) {
			return &api.Error{Code: api.LicenceRefused, Text: refused.Error()}
		}
		if err == nil {
			l, err = licenceOf(u)
		}
		return err
	})
	if err != nil {
		return err
	}
	// An update that waited for it need wait no longer.
	a.mu.Lock()
	if def, err := a.definitionOf(api.TaskUpdate); err == nil {
		a.reschedule(def, true)
	}
	a.mu.Unlock()
	a.nudge()
	return api.Answer(w, l)
}

// licenceOf is the licence as the API shows it.
func licenceOf(u *updater.Updater) (*api.Licence, error) {
	s, err := u.Licence()
	if trust.KindOf(err) == trust.NoRoot {
		return nil, &api.Error{
			Code: api.SettingsInvalid, Text: "no root of trust says which repository this machine updates from",
			Hint: "put the publisher's root.json where the settings say",
		}
	}
	if err != nil {
		return nil, err
	}
	l := &api.Licence{
		Agent: s.Agent, Repository: s.Repository, State: string(s.State), Left: s.Left,
		Licences: []api.KnownLicence{},
	}
	if s.Licence != nil {
		l.To, l.Until = s.Licence.To, s.Licence.Until
	}
	for _, v := range s.Known {
		l.Licences = append(l.Licences, api.KnownLicence{
			ID: v.Licence.ID, To: v.Licence.To, Issued: v.Licence.Issued, Until: v.Licence.Until,
			Agent: v.Licence.Agent, Expired: v.Expired, Refused: v.Refused,
		})
	}
	return l, nil
}
