package agent

import (
	"context"
	"errors"
	"net/http"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/rollback"
	"github.com/freshet/freshet/updater"
)

func (a *Agent) getModules(w http.ResponseWriter, _ *http.Request) error {
	a.mu.Lock()
	u := a.updater(a.force)
	a.mu.Unlock()
	list, _, err := u.ListModules()
	if err != nil {
		return err
	}
	out := api.Modules{Modules: []api.Module{}}
	for _, m := range list {
		out.Modules = append(out.Modules, moduleOf(m))
	}
	return api.Answer(w, out)
}

func moduleOf(m updater.Module) api.Module {
	out := api.Module{
		Name: m.Name, Installed: m.Installed, Good: m.Good, Trial: m.Trial, Before: m.Before,
		Mode: m.Mode, Notes: m.Notes, Available: []api.AvailableRelease{}, Held: heldOf(m.Held),
	}
	for _, r := range m.Available {
		out.Available = append(out.Available, api.AvailableRelease(r))
	}
	return out
}

// moduleError gives what a person asked of a module its meaning.
func moduleError(err error) error {
	var known *api.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	code := api.RunFailed
	for _, m := range []struct {
		is   error
		code api.Code
	}{
		{updater.ErrNoModule, api.NoSuchModule}, {updater.ErrModuleHeld, api.ModuleHeld},
		{updater.ErrNothingNewer, api.NothingToDo}, {rollback.ErrNoGeneration, api.NoSuchGeneration},
	} {
		if errors.Is(err, m.is) {
			code = m.code
		}
	}
	return &api.Error{Code: code, Text: err.Error()}
}

func (a *Agent) postInstall(w http.ResponseWriter, req *http.Request) error {
	var ask api.Install
	if err := api.Decode(req.Body, &ask); err != nil {
		return err
	}
	if err := a.readyNow(); err != nil {
		return err
	}
	out := api.ModuleChanged{Name: req.PathValue("name"), Trial: true, Running: a.serves()}
	err := a.exclusively(req.Context(), "an installation", func(ctx context.Context, u *updater.Updater) (err error) {
		out.From, out.To, err = u.InstallModule(ctx, out.Name, ask.Version, nil)
		return err
	})
	if err != nil {
		return moduleError(err)
	}
	return api.Answer(w, out)
}

// serves says whether this is the service.
func (a *Agent) serves() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.service
}

func (a *Agent) postModuleRollback(w http.ResponseWriter, req *http.Request) error {
	out := api.ModuleChanged{Name: req.PathValue("name"), Running: a.serves()}
	err := a.exclusively(req.Context(), "a rollback", func(ctx context.Context, u *updater.Updater) (err error) {
		out.From, out.To, err = u.RollBackModule(ctx, out.Name)
		return err
	})
	if err != nil {
		return moduleError(err)
	}
	return api.Answer(w, out)
}

func (a *Agent) postHold(w http.ResponseWriter, req *http.Request) error {
	name := req.PathValue("name")
	var out api.Modules
	err := a.exclusively(req.Context(), "a hold", func(ctx context.Context, u *updater.Updater) error {
		if err := u.HoldModule(ctx, name); err != nil {
			return err
		}
		list, _, err := u.ListModules()
		for _, m := range list {
			if m.Name == name {
				out.Modules = append(out.Modules, moduleOf(m))
			}
		}
		return err
	})
	if err != nil {
		return moduleError(err)
	}
	return api.Answer(w, out)
}

func (a *Agent) postModuleRelease(w http.ResponseWriter, req *http.Request) error {
	var out []api.Held
	err := a.exclusively(req.Context(), "a release", func(ctx context.Context, u *updater.Updater) error {
		held, err := u.ReleaseModule(ctx, req.PathValue("name"))
		out = heldOf(held)
		return err
	})
	if errors.Is(err, updater.ErrNothingNewer) {
		return &api.Error{Code: api.NothingHeld, Text: err.Error()}
	}
	if err != nil {
		return moduleError(err)
	}
	return api.Answer(w, api.Released{Released: out})
}

func (a *Agent) getGenerations(w http.ResponseWriter, _ *http.Request) error {
	a.mu.Lock()
	u := a.updater(a.force)
	a.mu.Unlock()
	list, err := u.Generations()
	if err != nil {
		return err
	}
	out := api.Generations{Generations: []api.Generation{}}
	for _, g := range list {
		o := api.Generation{Number: g.Number, Made: g.Made, Why: g.Why, Role: g.Role, Bases: map[string]int64{}, Lacks: g.Lacks}
		for name, ref := range g.Bases {
			o.Bases[name] = ref.Version
		}
		for name, slot := range g.Modules {
			if o.Modules == nil {
				o.Modules = map[string]string{}
			}
			o.Modules[name] = slot.Version
		}
		out.Generations = append(out.Generations, o)
	}
	return api.Answer(w, out)
}

func (a *Agent) postGoBack(w http.ResponseWriter, req *http.Request) error {
	var ask api.GoBack
	if err := api.Decode(req.Body, &ask); err != nil {
		return err
	}
	if ask.Generation < 0 {
		return &api.Error{Code: api.BadRequest, Text: "generations are numbered from 1"}
	}
	var out api.WentBack
	err := a.exclusively(req.Context(), "a rollback", func(ctx context.Context, u *updater.Updater) (err error) {
		r, err := u.GoBack(ctx, ask.Generation, ask.Force)
		out.From, out.To, out.Removed = r.Left.Number, r.Back.Number, r.Lost()
		return err
	})
	if errors.As(err, new(*rollback.RemovesError)) {
		return &api.Error{Code: api.WouldRemove, Text: err.Error()}
	}
	if err != nil {
		return moduleError(err)
	}
	return api.Answer(w, out)
}

// checkModules verifies, or repairs, slots beside bases.
func checkModules(ctx context.Context, u *updater.Updater, repair bool) ([]api.Verified, error) {
	all, err := u.VerifyModules(ctx, repair, nil)
	return verifiedOf(all), err
}
