package agent

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/schedule"
)

// definition is what a task does.
type definition struct {
	id   int
	name string
	kind string // api.TypeUpdate and so on
	does string
	// usual is the task's timing and random delay unless it is set; nil: it
	// runs only when told to.
	usual func(*inForce) (api.Timing, time.Duration)
	// atOnce says that a task that never ran is due: else it waits for its slot.
	atOnce bool
	own    *own // nil: it is predefined
}

var predefined = []definition{
	{api.TaskUpdate, "Update", api.TypeUpdate, "bring the bases to the newest version", (*inForce).usual, true, nil},
	{api.TaskRollback, "Rollback", api.TypeRollback, "bring the bases back to the version before, offline", nil, false, nil},
	{api.TaskVerify, "Verify", api.TypeVerify, "read the bases back, and fetch anew what is damaged", daily, false, nil},
}

// daily is often enough to find what a disk damages, and no load.
func daily(*inForce) (api.Timing, time.Duration) {
	return api.Timing{Kind: api.Interval, Every: api.Duration(24 * time.Hour)}, time.Hour
}

// predefinedOf finds a predefined task.
func predefinedOf(id int) (definition, bool) {
	i := slices.IndexFunc(predefined, func(d definition) bool { return d.id == id })
	if i < 0 {
		return definition{}, false
	}
	return predefined[i], true
}

func manual(*inForce) (api.Timing, time.Duration) { return api.Timing{Kind: api.Manual}, 0 }

// definitions are all tasks, by ID.
func (r records) definitions() []definition {
	all := slices.Clone(predefined)
	for _, id := range slices.Sorted(maps.Keys(r.Tasks)) {
		if o := r.Tasks[id].Own; o != nil {
			all = append(all, o.definition(id))
		}
	}
	return all
}

// scheduled are the tasks that run by themselves. The caller holds a.mu.
func (a *Agent) scheduled() []definition {
	return slices.DeleteFunc(a.records.definitions(), func(d definition) bool { return d.usual == nil })
}

// definitionOf finds a task. The caller holds a.mu.
func (a *Agent) definitionOf(id int) (definition, error) {
	for _, d := range a.records.definitions() {
		if d.id == id {
			return d, nil
		}
	}
	return definition{}, &api.Error{Code: api.NoSuchTask, Text: fmt.Sprintf("there is no task %d", id)}
}

// record is what is kept of a task over restarts.
type record struct {
	Own         *own          `json:"own,omitempty"`   // of a task that a user made
	Every       *api.Duration `json:"every,omitempty"` // as versions before Timing kept it
	Timing      *api.Timing   `json:"timing,omitempty"`
	RandomDelay *api.Duration `json:"random_delay,omitempty"` // nil: as the settings say
	Enabled     *bool         `json:"enabled,omitempty"`
	MakeUp      *bool         `json:"make_up,omitempty"`
	Limit       *api.Duration `json:"limit,omitempty"`
	Overlap     *string       `json:"overlap,omitempty"`
	Runs        int64         `json:"runs"`
	Failures    int           `json:"failures,omitempty"` // in a row
	Next        time.Time     `json:"next,omitzero"`      // zero: nothing is planned
	Slot        time.Time     `json:"slot,omitzero"`      // that Next belongs to, without its random delay
	Served      time.Time     `json:"served,omitzero"`    // the slot before
	Last        *api.Result   `json:"last,omitempty"`
	LastSuccess time.Time     `json:"last_success,omitzero"`
	Transfer    *api.Transfer `json:"transfer,omitempty"`

	queued bool // it is due and waits for another run
}

// plan is the task's own where set, else that of otherwise. The error says
// which field is beyond its bounds; the plan is then that of otherwise.
func (r record) plan(otherwise api.Timing, random time.Duration, zone *time.Location) (plan, error) {
	p := plan{enabled: r.Enabled == nil || *r.Enabled, makeUp: r.MakeUp == nil || *r.MakeUp, zone: zone, timing: otherwise}
	switch {
	case r.Timing != nil:
		p.timing = *r.Timing
	case r.Every != nil:
		p.timing = api.Timing{Kind: api.Interval, Every: *r.Every}
	}
	p.skip = r.Overlap != nil && *r.Overlap == api.Skip
	if r.Limit != nil {
		p.limit = time.Duration(*r.Limit)
	}
	var err error
	if r.RandomDelay != nil {
		random = time.Duration(*r.RandomDelay)
	} else if p.timing.Kind == api.Interval {
		random = min(random, time.Duration(p.timing.Every)/2)
	} else {
		random = 0
	}
	if p.Schedule, err = schedule.Parse(p.timing, random); err != nil {
		p.timing = otherwise
		p.Schedule, _ = schedule.Parse(otherwise, 0)
	}
	return p, err
}

// Bounds of what a task may be set to.
const (
	leastLimit = time.Second
	mostLimit  = 7 * 24 * time.Hour
)

// change gives the record with c applied. What belongs to a task of a user is
// not its matter.
func (r record) change(c api.TaskChange) (record, error) {
	if c.Default {
		r.Every, r.Timing, r.RandomDelay, r.Enabled, r.MakeUp, r.Limit, r.Overlap = nil, nil, nil, nil, nil, nil, nil
	}
	if c.Every != nil && c.Timing != nil {
		return r, badRequest("every and timing say the same thing twice: keep one")
	}
	switch {
	case c.Every != nil:
		r.Every, r.Timing = nil, &api.Timing{Kind: api.Interval, Every: *c.Every}
	case c.Timing != nil:
		r.Every, r.Timing = nil, c.Timing
	}
	if c.Limit != nil {
		if d := time.Duration(*c.Limit); d != 0 && (d < leastLimit || d > mostLimit) {
			return r, badRequest("limit %s: use 1s to 7d, or 0s for none", d)
		}
	}
	if c.Overlap != nil && *c.Overlap != api.Queue && *c.Overlap != api.Skip {
		return r, badRequest("overlap %.40q is not queue or skip", *c.Overlap)
	}
	r.RandomDelay = orKept(c.RandomDelay, r.RandomDelay)
	r.Enabled, r.MakeUp = orKept(c.Enabled, r.Enabled), orKept(c.MakeUp, r.MakeUp)
	r.Limit, r.Overlap = orKept(c.Limit, r.Limit), orKept(c.Overlap, r.Overlap)
	return r, nil
}

func orKept[T any](changed, kept *T) *T {
	if changed != nil {
		return changed
	}
	return kept
}

func badRequest(format string, args ...any) error {
	return &api.Error{Code: api.BadRequest, Text: fmt.Sprintf(format, args...)}
}

// finished gives the record after a run.
func (r record) finished(res api.Result) record {
	r.Last = &res
	switch res.Outcome {
	case api.Failed, api.Partly:
		r.Failures++
	case api.Stopped:
	default:
		r.Failures = 0
		r.LastSuccess = res.Ended
	}
	if res.Full > 0 && (res.Outcome == api.Updated || res.Outcome == api.Partly) {
		r.Transfer = &api.Transfer{Bytes: res.Bytes, Full: res.Full, At: res.Ended}
	}
	return r
}
