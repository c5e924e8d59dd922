package agent

import (
	"errors"
	"time"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/rollback"
	"github.com/freshet/freshet/updater"
)

// What goes over the socket has types of its own: it stays stable while the
// inside changes.

func resultOf(r updater.Result) api.Result {
	return api.Result{
		Outcome: r.Outcome, Error: r.Error, Source: r.Source, Started: r.Started, Ended: r.Ended,
		Requests: r.Requests, Bytes: r.Bytes, Full: r.Full, Bases: changesOf(r.Bases), Notes: r.Notes,
		Hint: r.Hint, Reason: r.Reason, Modules: moduleChangesOf(r.Modules),
	}
}

func moduleChangesOf(all []updater.ModuleChange) []api.ModuleChange {
	var out []api.ModuleChange
	for _, c := range all {
		out = append(out, api.ModuleChange(c))
	}
	return out
}

func changesOf(all []updater.Change) []api.Change {
	out := []api.Change{}
	for _, c := range all {
		out = append(out, api.Change(c))
	}
	return out
}

func heldOf(all []rollback.Withdrawn) []api.Held {
	out := []api.Held{}
	for _, w := range all {
		out = append(out, api.Held{Base: w.Base, Version: w.Version, Module: w.Module, Release: w.Release, At: w.At, Reason: w.Reason, ByHand: w.ByHand, By: w.By})
	}
	return out
}

// rolesOf are the roles of the trusted metadata; none where it cannot be read,
// which is told elsewhere.
func rolesOf(u *updater.Updater, now time.Time) []api.RoleStatus {
	var out []api.RoleStatus
	roles, _ := updater.Roles(u)
	for _, r := range roles {
		left := int64(r.Expires.Sub(now) / time.Second)
		out = append(out, api.RoleStatus{Role: r.Role, Version: r.Version, Expires: r.Expires.UTC(), Left: left, Unneeded: r.Unneeded})
	}
	return out
}

func verifiedOf(all []updater.Verified) []api.Verified {
	out := []api.Verified{}
	for _, v := range all {
		out = append(out, api.Verified(v))
	}
	return out
}

func planOf(p updater.Plan) api.Plan {
	out := api.Plan{
		Source: p.Source, SignedAt: p.SignedAt, Bases: []api.BasePlan{},
		Bytes: p.Bytes, Full: p.Full, Disk: p.Disk, Free: p.Free, Used: p.Used, Ceiling: p.Ceiling,
	}
	for _, b := range p.Bases {
		bp := api.BasePlan{Name: b.Name, From: b.From, To: b.To, Steps: []api.Step{}, Bytes: b.Bytes, Full: b.Full, Held: b.Held, Engine: b.Engine}
		if d := b.Delivery; d != nil {
			bp.Delivery = &api.DeliveryPlan{To: d.To, Disk: d.Disk, Free: d.Free}
		}
		for _, s := range b.Steps {
			bp.Steps = append(bp.Steps, api.Step{From: s.From, To: s.To, Bytes: s.Size})
		}
		out.Bases = append(out.Bases, bp)
	}
	for _, m := range p.Modules {
		out.Modules = append(out.Modules, api.ModulePlan(m))
	}
	return out
}

// codeOr is the code that err carries, else otherwise.
func codeOr(err error, otherwise api.Code) api.Code {
	var e *api.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return otherwise
}
