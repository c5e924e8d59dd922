package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/modules"
	"github.com/freshet/freshet/rollback"
	"github.com/freshet/freshet/updater"
)

func (a *Agent) getVersion(w http.ResponseWriter, _ *http.Request) error {
	return api.Answer(w, api.Version{Version: a.Version, Go: runtime.Version(), API: "v1"})
}

func (a *Agent) getStatus(w http.ResponseWriter, req *http.Request) error {
	st, err := a.status()
	if err != nil {
		return err
	}
	if st.Refused != "" && !a.mayChange(req) {
		st.Refused = notForAll
	}
	return api.Answer(w, st)
}

func (a *Agent) getBases(w http.ResponseWriter, _ *http.Request) error {
	st, err := a.status()
	if err != nil {
		return err
	}
	return api.Answer(w, api.Bases{Bases: st.Bases})
}

func (a *Agent) getBase(w http.ResponseWriter, req *http.Request) error {
	st, err := a.status()
	if err != nil {
		return err
	}
	a.mu.Lock()
	u := a.updater(a.force)
	a.mu.Unlock()
	d := api.BaseDetail{Name: req.PathValue("name"), Held: []api.Held{}, Delivered: deliveriesOf(a.Dir, req.PathValue("name"))}
	for _, b := range st.Bases {
		if b.Name == d.Name {
			d.Installed = &b
		}
	}
	for _, h := range st.Held {
		if h.Base == d.Name && h.Module == "" {
			h.Evidence = a.evidence(req, u, h)
			d.Held = append(d.Held, h)
		}
	}
	for _, e := range st.Engines {
		if e.Base == d.Name {
			d.Engines = append(d.Engines, e)
		}
	}
	if d.Installed == nil && len(d.Held)+len(d.Engines)+len(d.Delivered) == 0 {
		return &api.Error{Code: api.NoSuchBase, Text: fmt.Sprintf("nothing is known of a base %.80q", d.Name)}
	}
	return api.Answer(w, d)
}

func deliveriesOf(dir, base string) []api.Delivery {
	var out []api.Delivery
	for _, d := range modules.Deliveries(dir) {
		if d.Base == base || base == "" {
			out = append(out, api.Delivery{Base: d.Base, Folder: d.To, Files: len(d.Files), Adopted: d.Adopted})
		}
	}
	return out
}

func (a *Agent) postVerify(w http.ResponseWriter, req *http.Request) error {
	return a.verify(w, req, "a verification", false, (*updater.Updater).Verify)
}

func (a *Agent) postRepair(w http.ResponseWriter, req *http.Request) error {
	return a.verify(w, req, "a repair", true, (*updater.Updater).Repair)
}

type verifier func(*updater.Updater, context.Context, []string, func(updater.Progress)) ([]updater.Verified, error)

func (a *Agent) verify(w http.ResponseWriter, req *http.Request, what string, repair bool, check verifier) error {
	var ask api.Verify
	if err := api.Decode(req.Body, &ask); err != nil {
		return err
	}
	var out []api.Verified
	err := a.exclusively(req.Context(), what, func(ctx context.Context, u *updater.Updater) error {
		for _, name := range ask.Names {
			if _, _, err := installed(u, name); err != nil {
				return err
			}
		}
		all, err := check(u, ctx, ask.Names, nil)
		out = verifiedOf(all)
		if err != nil || len(ask.Names) > 0 {
			return err
		}
		slots, err := checkModules(ctx, u, repair)
		out = append(out, slots...)
		return err
	})
	if err != nil {
		return err
	}
	return api.Answer(w, api.VerifiedAll{Bases: out})
}

func (a *Agent) postRollback(w http.ResponseWriter, req *http.Request) error {
	name := req.PathValue("name")
	var out []api.Change
	err := a.exclusively(req.Context(), "a rollback", func(ctx context.Context, u *updater.Updater) error {
		if err := canGoBack(u, name); err != nil {
			return err
		}
		changes, err := u.RollBack(ctx, []string{name})
		out = changesOf(changes)
		return err
	})
	if err != nil {
		return err
	}
	return api.Answer(w, api.Changes{Bases: out})
}

// postBaseHold keeps a base at a version.
func (a *Agent) postBaseHold(w http.ResponseWriter, req *http.Request) error {
	name := req.PathValue("name")
	var ask api.HoldBase
	if err := api.Decode(req.Body, &ask); err != nil {
		return err
	}
	if ask.Version < 0 {
		return &api.Error{Code: api.BadRequest, Text: "versions are numbered from 1"}
	}
	var out []api.Change
	err := a.exclusively(req.Context(), "a hold", func(ctx context.Context, u *updater.Updater) error {
		if _, _, err := installed(u, name); err != nil {
			return err
		}
		c, err := u.Hold(ctx, name, ask.Version)
		out = changesOf([]updater.Change{c})
		return err
	})
	if errors.Is(err, updater.ErrNotKept) {
		return &api.Error{Code: api.NothingBefore, Text: err.Error()}
	}
	if err != nil {
		return err
	}
	return api.Answer(w, api.Changes{Bases: out})
}

func (a *Agent) postRelease(w http.ResponseWriter, req *http.Request) error {
	name := req.PathValue("name")
	var out []api.Held
	err := a.exclusively(req.Context(), "a release", func(ctx context.Context, u *updater.Updater) error {
		_, st, err := u.Installed()
		if err != nil {
			return err
		}
		if _, out := st.Release(name); len(out) == 0 {
			return &api.Error{Code: api.NothingHeld, Text: fmt.Sprintf("no version of base %q is held back", name)}
		}
		held, err := u.Release(ctx, name)
		out = heldOf(held)
		return err
	})
	if err != nil {
		return err
	}
	return api.Answer(w, api.Released{Released: out})
}

// installed finds an installed base by its name.
func installed(u *updater.Updater, name string) (updater.Installed, rollback.State, error) {
	all, st, err := u.Installed()
	if err != nil {
		return updater.Installed{}, st, err
	}
	for _, b := range all {
		if b.Name == name {
			return b, st, nil
		}
	}
	return updater.Installed{}, st, &api.Error{Code: api.NoSuchBase, Text: fmt.Sprintf("base %q is not installed", name)}
}

func canGoBack(u *updater.Updater, name string) error {
	_, st, err := installed(u, name)
	if err != nil {
		return err
	}
	store := rollback.Store{Dir: u.Dir}
	now, err := store.Generation(st.Current)
	if err != nil {
		return err
	}
	kept, err := store.Generations()
	if err != nil {
		return err
	}
	if _, ok := st.Before(now, name, kept); !ok {
		return &api.Error{Code: api.NothingBefore, Text: fmt.Sprintf("base %q has no version before %d on this machine, but for those that were rejected", name, now.Bases[name].Version)}
	}
	return nil
}

func (a *Agent) getEvents(w http.ResponseWriter, req *http.Request) error {
	var since time.Time
	if s := req.URL.Query().Get("since"); s != "" {
		var err error
		if since, err = time.Parse(time.RFC3339, s); err != nil {
			return &api.Error{Code: api.BadRequest, Text: fmt.Sprintf("since %q is no time as 2026-01-31T12:00:00Z", s)}
		}
	}
	if follow, _ := strconv.ParseBool(req.URL.Query().Get("follow")); follow {
		return a.followEvents(w, req, since)
	}
	events, err := a.eventsSince(since)
	if err != nil {
		return err
	}
	if events == nil {
		events = []event.Event{}
	}
	if !a.mayChange(req) {
		for i := range events {
			events[i] = publicEvent(events[i])
		}
	}
	return api.Answer(w, api.Events{Events: events})
}

func (a *Agent) followEvents(w http.ResponseWriter, req *http.Request, since time.Time) error {
	if a.eventLog() == nil {
		return &api.Error{Code: api.NotRunning, Text: "no agent runs whose events could be followed"}
	}
	after, err := a.beforeLast(req.URL.Query().Get("last"))
	if err != nil {
		return err
	}
	s := api.NewStream(w)
	all := a.mayChange(req)
	return a.follow(req.Context(), after, since, func(e event.Event) error {
		if !all {
			e = publicEvent(e)
		}
		return s.Send(e)
	})
}

func (a *Agent) getPlan(w http.ResponseWriter, req *http.Request) error {
	if err := a.readyNow(); err != nil {
		return err
	}
	var plan updater.Plan
	err := a.exclusively(req.Context(), "a plan", func(ctx context.Context, u *updater.Updater) (err error) {
		plan, err = u.Plan(ctx)
		return err
	})
	if err != nil {
		return &api.Error{Code: codeOr(err, api.RunFailed), Text: err.Error()}
	}
	return api.Answer(w, planOf(plan))
}

func (a *Agent) getTasks(w http.ResponseWriter, _ *http.Request) error {
	a.mu.Lock()
	var all []api.Task
	for _, d := range a.records.definitions() {
		all = append(all, a.task(d))
	}
	a.mu.Unlock()
	return api.Answer(w, api.Tasks{Tasks: all})
}

func (a *Agent) getTask(w http.ResponseWriter, req *http.Request) error {
	d, err := a.taskOf(req)
	if err != nil {
		return err
	}
	a.mu.Lock()
	t := a.task(d)
	a.mu.Unlock()
	return api.Answer(w, t)
}

func (a *Agent) patchTask(w http.ResponseWriter, req *http.Request) error {
	d, err := a.taskOf(req)
	if err != nil {
		return err
	}
	var c api.TaskChange
	if err := api.Decode(req.Body, &c); err != nil {
		return err
	}
	t, err := a.set(d, c)
	if err != nil {
		return err
	}
	return api.Answer(w, t)
}

func (a *Agent) postStart(w http.ResponseWriter, req *http.Request) error {
	d, err := a.taskOf(req)
	if err != nil {
		return err
	}
	if d.kind == api.TypeUpdate {
		// At once, with what to do: the result of a run has no room for it.
		if err := a.readyNow(); err != nil {
			return err
		}
	}
	started, err := a.start(d.id, "by hand")
	if err != nil {
		return err
	}
	return api.Answer(w, started)
}

func (a *Agent) postStop(w http.ResponseWriter, req *http.Request) error {
	d, err := a.taskOf(req)
	if err != nil {
		return err
	}
	if err := a.stop(d.id); err != nil {
		return err
	}
	return a.getTask(w, req)
}

func (a *Agent) getProgress(w http.ResponseWriter, req *http.Request) error {
	d, err := a.taskOf(req)
	if err != nil {
		return err
	}
	a.mu.Lock()
	r, kept := a.last[d.id], a.records.Tasks[d.id].Last
	a.mu.Unlock()
	if r == nil && kept == nil {
		return &api.Error{Code: api.NotRunning, Text: fmt.Sprintf("task %d has never run", d.id)}
	}
	s := api.NewStream(w)
	if r == nil {
		return s.Send(api.Moment{Result: kept})
	}
	send := func(m api.Moment) error { return s.Send(m) }
	err = r.watch(req.Context(), send)
	if errors.Is(err, context.Canceled) {
		// The server ends, and the run with it: a moment later it has a result.
		last, stop := context.WithTimeout(context.WithoutCancel(req.Context()), endTimeout-time.Second)
		defer stop()
		err = r.watch(last, send)
	}
	return err
}

func (a *Agent) getSettings(w http.ResponseWriter, req *http.Request) error {
	a.mu.Lock()
	s, refused := a.force.settings, a.refused
	a.mu.Unlock()
	text, err := yaml.Marshal(a.shown(req, s))
	if err != nil {
		return err
	}
	if refused != "" && !a.mayChange(req) {
		refused = notForAll
	}
	return api.Answer(w, api.Settings{File: a.Settings, YAML: string(text), Refused: refused})
}

// taskOf finds a task by its ID or, since no name is a number, by its name.
func (a *Agent) taskOf(req *http.Request) (definition, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	named := req.PathValue("id")
	if id, err := strconv.Atoi(named); err == nil {
		return a.definitionOf(id)
	}
	for _, d := range a.records.definitions() {
		if strings.EqualFold(d.name, named) {
			return d, nil
		}
	}
	return definition{}, &api.Error{Code: api.NoSuchTask, Text: fmt.Sprintf("%.80q is no task", named)}
}
