package updater

import (
	"time"

	"github.com/freshet/freshet/bases"
	"github.com/freshet/freshet/rollback"
)

// Phases of an update, in their order.
const (
	PhaseRefresh  = "refresh"
	PhasePlan     = "plan"
	PhaseFetch    = "fetch"
	PhaseAssemble = "assemble"
	PhaseCheck    = "check"
	PhaseTry      = "try"
	PhaseSwitch   = "switch"
	PhaseWatch    = "watch"
	PhaseDone     = "done"
)

// Progress is where an update stands. Bytes are bodies of deltas and images,
// as the plan foresees them.
type Progress struct {
	Phase string `json:"phase"`
	Base  string `json:"base,omitempty"`
	Step  int    `json:"step"`
	Steps int    `json:"steps"` // 0 as long as there is no plan
	Done  int64  `json:"done"`
	Total int64  `json:"total"`
}

// Plan says what an update would do, before the first byte of content is
// fetched.
type Plan struct {
	Source   string     `json:"source"`
	SignedAt time.Time  `json:"signed_at,omitzero"`
	Bases    []BasePlan `json:"bases"`
	Bytes    int64      `json:"bytes"`                   // to fetch
	Full     int64      `json:"full_bytes"`              // what the full images would cost
	Disk     int64      `json:"disk_bytes"`              // needed while updating, besides what is there
	Free     int64      `json:"free_bytes"`              // now
	Used     int64      `json:"used_bytes"`              // by the state folder, now
	Ceiling  int64      `json:"ceiling_bytes,omitempty"` // of that; 0: none

	Modules []ModulePlan `json:"modules,omitempty"`
}

// BasePlan is a base's part of a plan.
type BasePlan struct {
	Name  string `json:"name"`
	From  int64  `json:"from"` // installed; 0 none
	To    int64  `json:"to"`
	Steps []Step `json:"steps"` // empty: nothing to fetch
	Bytes int64  `json:"bytes"`
	Full  int64  `json:"full_bytes"`
	Held  string `json:"held,omitempty"` // why the offered version is not taken

	Engine string `json:"engine,omitempty"` // how its engine will try it, and the memory that takes

	Delivery *DeliveryPlan `json:"delivery,omitempty"` // nil: none, or links
}

// DeliveryPlan is what copies in an engine's own folder take.
type DeliveryPlan struct {
	To   string `json:"to"`
	Disk int64  `json:"disk_bytes"` // at the peak
	Free int64  `json:"free_bytes"` // there, now
}

// Step is one delta or full image to fetch and apply.
type Step struct {
	From int64 `json:"from"` // 0: a full image
	To   int64 `json:"to"`
	bases.Blob
}

// Outcomes of an update.
const (
	Updated    = "updated"
	NothingNew = "nothing new"
	Partly     = "partly"  // some bases were updated, others failed
	Failed     = "failed"  // none was
	Stopped    = "stopped" // interrupted
)

// ReasonBehind is that all sources that answered are behind what was seen before:
// what there is is used, and nothing newer is to be had. As after a publisher came
// back from a backup.
const ReasonBehind = "sources behind"

// Result is how an update ended.
type Result struct {
	Outcome  string    `json:"outcome"`
	Error    string    `json:"error,omitempty"`
	Source   string    `json:"source,omitempty"` // the one used last
	Started  time.Time `json:"started"`
	Ended    time.Time `json:"ended"`
	Requests int64     `json:"requests"`
	Bytes    int64     `json:"bytes"`      // bodies of all responses, metadata included
	Full     int64     `json:"full_bytes"` // what the full images would have cost
	Bases    []Change  `json:"bases"`
	Notes    []string  `json:"notes,omitempty"` // what a person should know although the outcome does not say it

	// Reason is why there is nothing new, or why it failed, for those who act on
	// it: one of the reasons, or "".
	Reason string `json:"reason,omitempty"`

	Hint    string         `json:"hint,omitempty"` // what to do, where the error alone leaves that open
	Modules []ModuleChange `json:"modules,omitempty"`

	RetryAfter time.Duration `json:"-"` // how long the source asked to be left alone
}

// Change is what an update or a rollback did with a base.
type Change struct {
	Name  string `json:"name"`
	From  int64  `json:"from"` // 0: it was not installed
	To    int64  `json:"to"`
	Bytes int64  `json:"bytes"`
	Full  int64  `json:"full_bytes"`
	Error string `json:"error,omitempty"` // set: the version From stays in use

	Unknown bool `json:"unknown,omitempty"` // the settings name it, the repository does not have it
}

// ModuleChange is what an update did with a module.
type ModuleChange struct {
	Name    string `json:"name"` // "": all, for want of what is on offer
	From    string `json:"from,omitempty"`
	To      string `json:"to,omitempty"`
	Fetched bool   `json:"fetched,omitempty"` // and not installed, as the settings say
	Error   string `json:"error,omitempty"`   // set: the release From goes on running
}

// ModulePlan is a module's part of a plan.
type ModulePlan struct {
	Name  string `json:"name"`
	From  string `json:"from,omitempty"` // installed; "" none
	To    string `json:"to"`
	Bytes int64  `json:"bytes"` // to fetch; 0: fetched already
	Full  int64  `json:"full_bytes"`
	Disk  int64  `json:"disk_bytes"`
	Held  string `json:"held,omitempty"` // why it is not taken
}

// Installed is a base of the current generation.
type Installed struct {
	Name     string          `json:"name"`
	Ref      rollback.Ref    `json:"ref"`
	Manifest *bases.Manifest `json:"manifest"`
	Path     string          `json:"path"` // the folder that engines read: bases/NAME/current
}

// Verified is the result of reading a version back: one in use, or one kept to
// go back to.
type Verified struct {
	Name    string `json:"name"`
	Version int64  `json:"version"`
	Error   string `json:"error,omitempty"` // "": whole

	Repaired bool `json:"repaired,omitempty"` // it was damaged, and is whole again

	Module  bool   `json:"module,omitempty"`  // it is a slot of a module
	Release string `json:"release,omitempty"` // of the module; Version is 0
}
