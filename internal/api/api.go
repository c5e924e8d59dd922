// Package api is how the agent is spoken to on its own machine: the values, a
// client for the agent's unix socket, and the one table of errors.
//
//	freshet ──HTTP + JSON──► /run/freshet/agent.sock ──► agent
//	          /v1/…            peer known by SO_PEERCRED
//
// Answers are one JSON value, or for streams one JSON value a line. An answer
// of status 400 or more is {"error": …}, see [Error]. Within /v1 fields are
// added and never renamed or removed.
package api

import (
	"time"

	"github.com/freshet/freshet/internal/event"
)

// IDs of the predefined tasks, as their users know them.
const (
	TaskUpdate   = 6
	TaskRollback = 7
	TaskVerify   = 8
)

// Status is what an operator wants to know first.
type Status struct {
	Version    string       `json:"version"`
	Agent      bool         `json:"agent"` // false: no agent runs, the command read the state folder itself
	State      string       `json:"state"` // of the stalest base: "up to date", "out of date", "totally out of date", "without databases"; "unknown": see StateError
	Why        string       `json:"why,omitempty"`
	Now        time.Time    `json:"now"` // what ages are counted to: the clock, or a later time of signing that counts
	SignedAt   time.Time    `json:"signed_at,omitzero"`
	Bases      []BaseStatus `json:"bases"`
	Missing    []Missing    `json:"missing,omitempty"` // wanted by the settings' bases, and not installed
	Update     Task         `json:"update"`
	Generation int          `json:"generation"` // 0: none yet
	Trial      bool         `json:"trial"`      // the current generation is not confirmed yet
	Held       []Held       `json:"held,omitempty"`
	Sources    []string     `json:"sources"` // in the order to ask, without credentials

	// Roles are those of the trusted metadata; none before the first update.
	Roles []RoleStatus `json:"roles,omitempty"`

	// Unsupplied says that nothing can become newer by itself: there is no source,
	// no folder is watched for bundles, and the last update was no import.
	Unsupplied bool `json:"unsupplied,omitempty"`

	Licence  *Licence `json:"licence,omitempty"` // nil: not known, as without a root of trust
	Settings string   `json:"settings,omitempty"`
	Refused  string   `json:"settings_refused,omitempty"` // why the file as it is now is not in force

	Supervisor *Supervisor `json:"supervisor,omitempty"` // nil: none runs

	// StateError is why the state folder's files cannot be read now, or not by
	// this version. Nothing is updated then, and engines keep what they have: of
	// Bases and Held only what is still known is told.
	StateError string `json:"state_error,omitempty"`
	// HistoryLost is when it was found that nothing is known any more of what was
	// rolled back. Undecided names the installed bases and modules of which
	// nothing that was published before is installed, until a person allows it.
	HistoryLost time.Time `json:"history_lost,omitzero"`
	Undecided   []string  `json:"undecided,omitempty"`

	// Firewall is nil where it is not wanted.
	Firewall *FirewallStatus `json:"firewall,omitempty"`

	// Engines is what engines failed at since the last update began. It is
	// known to a running agent alone.
	Engines []EngineError `json:"engine_errors,omitempty"`
}

// RoleStatus is until when the metadata of a role is valid. Expired, it stops
// updates, except where it is unneeded: it names no module, and there is none.
type RoleStatus struct {
	Role     string    `json:"role"` // "root", "targets", "bases", …
	Version  int64     `json:"version"`
	Expires  time.Time `json:"expires"`
	Left     int64     `json:"left_seconds"` // negative: expired
	Unneeded bool      `json:"unneeded,omitempty"`
}

// Missing is a base that is wanted and not installed.
type Missing struct {
	Name  string `json:"name"`
	Error string `json:"error,omitempty"` // of the last run; "": none has tried yet
}

// EngineError is why an engine may not use the installed version of its base.
type EngineError struct {
	Base  string    `json:"base"`
	Step  string    `json:"step"` // "deliver" or "take"
	Error string    `json:"error"`
	At    time.Time `json:"at"`
}

// BaseStatus is an installed base.
type BaseStatus struct {
	Name      string    `json:"name"`
	Version   int64     `json:"version"`
	Published time.Time `json:"published"`
	Age       int64     `json:"age_seconds"` // negative: published in the future
	State     string    `json:"state"`
	Records   int64     `json:"records"`
	Size      int64     `json:"size"` // bytes
	Path      string    `json:"path"` // the folder that engines read
	Notes     string    `json:"notes,omitempty"`
	Held      string    `json:"held,omitempty"` // why no newer one is taken
}

// Held is a version that is not installed again until a newer one comes or a
// person releases it. Without a version, or release, it is every one.
type Held struct {
	Base    string    `json:"base,omitempty"`
	Version int64     `json:"version,omitempty"`
	Module  string    `json:"module,omitempty"`
	Release string    `json:"release,omitempty"` // the module's semantic version
	At      time.Time `json:"at"`
	Reason  string    `json:"reason"`
	ByHand  bool      `json:"by_hand,omitempty"`
	By      string    `json:"by,omitempty"` // judge, operator or console

	// Evidence is the end of what the engine's program wrote, at most 4 KiB. It
	// is given with one base, and in a support file.
	Evidence string `json:"evidence,omitempty"`
}

// Task is something the agent does at its times or when told to.
type Task struct {
	ID          int       `json:"id"`
	Name        string    `json:"name"`
	Does        string    `json:"does"`
	Type        string    `json:"type"`           // update, rollback or verify
	Own         bool      `json:"own,omitempty"`  // a user made it
	Scheduled   bool      `json:"scheduled"`      // false: only when told to
	Enabled     bool      `json:"enabled"`        // whether it runs by itself
	Timing      Timing    `json:"timing"`         // when
	Every       Duration  `json:"every,omitzero"` // that of the timing
	RandomDelay Duration  `json:"random_delay,omitempty"`
	MakeUp      bool      `json:"make_up"`           // a missed run is made up for, once
	Limit       Duration  `json:"limit,omitzero"`    // of a run's time; 0: none
	Overlap     string    `json:"overlap,omitempty"` // queue or skip
	Bases       []string  `json:"bases,omitempty"`   // that it is about; none: all that are wanted
	Sources     []string  `json:"sources,omitempty"` // that it asks, in its own order; none: all, in the settings' order
	Running     bool      `json:"running"`
	Run         int64     `json:"run,omitempty"` // number of the running or last run
	Next        time.Time `json:"next,omitzero"`
	Last        *Result   `json:"last,omitempty"`
	LastSuccess time.Time `json:"last_success,omitzero"`
	LastBytes   *Transfer `json:"last_transfer,omitempty"` // of the last run that changed a base
	Failures    int       `json:"failures,omitempty"`      // in a row
}

// Transfer compares what was fetched with what the full images would have cost.
type Transfer struct {
	Bytes int64     `json:"bytes"`
	Full  int64     `json:"full_bytes"`
	At    time.Time `json:"at,omitzero"` // the end of the run
}

// TaskChange sets when and how a task runs; nil leaves a field as it is.
type TaskChange struct {
	Every       *Duration `json:"every,omitempty"`  // a timing of kind interval
	Timing      *Timing   `json:"timing,omitempty"` // in place of the one before
	RandomDelay *Duration `json:"random_delay,omitempty"`
	Enabled     *bool     `json:"enabled,omitempty"`
	MakeUp      *bool     `json:"make_up,omitempty"`
	Limit       *Duration `json:"limit,omitempty"` // 1s to 7d; 0: none
	Overlap     *string   `json:"overlap,omitempty"`
	Default     bool      `json:"default,omitempty"` // back to what the settings say, before the others apply

	// Of tasks that a user made.
	Bases   *[]string `json:"bases,omitempty"`
	Sources *[]string `json:"sources,omitempty"` // by their names in the status
}

// Started answers the start of a task.
type Started struct {
	Task   int   `json:"task"`
	Run    int64 `json:"run"`
	Joined bool  `json:"joined"` // it was running already
}

// Progress is where a run stands. Bytes are those of deltas and images.
type Progress struct {
	Phase string `json:"phase"`
	Base  string `json:"base,omitempty"`
	Step  int    `json:"step"`
	Steps int    `json:"steps"` // 0 as long as there is no plan
	Done  int64  `json:"done"`
	Total int64  `json:"total"`
}

// Moment is a line of the stream of a run: its progress, or at the end its
// result.
type Moment struct {
	Progress *Progress `json:"progress,omitempty"`
	Result   *Result   `json:"result,omitempty"`
}

// Outcomes of a run.
const (
	Updated    = "updated"
	RolledBack = "rolled back"
	NothingNew = "nothing new"
	Whole      = "whole"    // a verification found no damage
	Repaired   = "repaired" // it found some, and mended all
	Partly     = "partly"
	Failed     = "failed"
	Stopped    = "stopped"
)

// ReasonBehind is that all sources that answered are behind what was seen before,
// so that nothing newer is to be had.
const ReasonBehind = "sources behind"

// Result is how a run ended.
type Result struct {
	Outcome  string    `json:"outcome"`
	Error    string    `json:"error,omitempty"`
	Source   string    `json:"source,omitempty"`
	Started  time.Time `json:"started"`
	Ended    time.Time `json:"ended"`
	Requests int64     `json:"requests"`
	Bytes    int64     `json:"bytes"`
	Full     int64     `json:"full_bytes"`
	Bases    []Change  `json:"bases"`
	Notes    []string  `json:"notes,omitempty"` // what a person should know although the outcome does not say it
	Hint     string    `json:"hint,omitempty"`  // what to do or to know, where the outcome leaves that open

	// Reason is why there is nothing new: ReasonBehind, or "".
	Reason string `json:"reason,omitempty"`

	Modules []ModuleChange `json:"modules,omitempty"`

	Imported bool `json:"imported,omitempty"` // from a bundle, which Source names
}

// Import asks for an update from one place.
type Import struct {
	Path string `json:"path"` // absolute: a folder or a .zip file
}

// Change is what a run did with a base.
type Change struct {
	Name  string `json:"name"`
	From  int64  `json:"from"` // 0: it was not installed
	To    int64  `json:"to"`
	Bytes int64  `json:"bytes"`
	Full  int64  `json:"full_bytes"`
	Error string `json:"error,omitempty"`

	Unknown bool `json:"unknown,omitempty"` // the settings name it, the repository does not have it // set: the version From stays in use
}

// Verify asks to read installed bases back, or to repair them; no names: all.
type Verify struct {
	Names []string `json:"names,omitempty"`
}

// Verified is an installed version that was read back.
type Verified struct {
	Name    string `json:"name"`
	Version int64  `json:"version"`
	Error   string `json:"error,omitempty"` // "": whole

	Repaired bool `json:"repaired,omitempty"` // it was damaged, and is whole again

	Module  bool   `json:"module,omitempty"`  // it is a slot of a module
	Release string `json:"release,omitempty"` // of the module; Version is 0
}

// VerifiedAll answers a verification.
type VerifiedAll struct {
	Bases []Verified `json:"bases"`
}

// Bases answers the question for the installed bases.
type Bases struct {
	Bases []BaseStatus `json:"bases"`
}

// BaseDetail is all that is known of one base.
type BaseDetail struct {
	Name      string        `json:"name"`
	Installed *BaseStatus   `json:"installed,omitempty"`
	Held      []Held        `json:"held"` // with their evidence
	Engines   []EngineError `json:"engines,omitempty"`
	Delivered []Delivery    `json:"delivered,omitempty"`
}

// Delivery is what of a base is in an engine's own folder.
type Delivery struct {
	Base    string   `json:"base"`
	Folder  string   `json:"folder"`
	Files   int      `json:"files"`             // those that go when it is not delivered any more
	Adopted []string `json:"adopted,omitempty"` // those that were there before, and stay
}

// Changes answers a rollback.
type Changes struct {
	Bases []Change `json:"bases"`
}

// Released answers a release.
type Released struct {
	Released []Held `json:"released"`
}

// Tasks answers the question for all tasks.
type Tasks struct {
	Tasks []Task `json:"tasks"`
}

// Plan says what an update would do.
type Plan struct {
	Source   string     `json:"source"`
	SignedAt time.Time  `json:"signed_at,omitzero"`
	Bases    []BasePlan `json:"bases"`
	Bytes    int64      `json:"bytes"`
	Full     int64      `json:"full_bytes"`
	Disk     int64      `json:"disk_bytes"`              // needed while updating, besides what is there
	Free     int64      `json:"free_bytes"`              // now
	Used     int64      `json:"used_bytes"`              // by the state folder, now
	Ceiling  int64      `json:"ceiling_bytes,omitempty"` // of that; 0: none

	Modules []ModulePlan `json:"modules,omitempty"`
}

// BasePlan is a base's part of a plan.
type BasePlan struct {
	Name  string `json:"name"`
	From  int64  `json:"from"` // 0: not installed
	To    int64  `json:"to"`
	Steps []Step `json:"steps"` // empty: nothing to fetch
	Bytes int64  `json:"bytes"`
	Full  int64  `json:"full_bytes"`
	Held  string `json:"held,omitempty"` // why the offered version is not taken

	Engine string `json:"engine,omitempty"` // how its engine will try it, and the memory that takes

	Delivery *DeliveryPlan `json:"delivery,omitempty"` // nil: none, or links
}

// DeliveryPlan is what copies of a base in its engine's own folder take.
type DeliveryPlan struct {
	To   string `json:"to"`
	Disk int64  `json:"disk_bytes"` // at the peak
	Free int64  `json:"free_bytes"` // there, now
}

// Step is one delta or full image to fetch.
type Step struct {
	From  int64 `json:"from"` // 0: a full image
	To    int64 `json:"to"`
	Bytes int64 `json:"bytes"`
}

// Events is a page of the log, oldest first.
type Events struct {
	Events []event.Event `json:"events"`
}

// Settings is what is in force, as YAML without secrets.
type Settings struct {
	File    string `json:"file"`
	YAML    string `json:"yaml"`
	Refused string `json:"refused,omitempty"` // why the file as it is now is not in force
}

// Version names the agent.
type Version struct {
	Version string `json:"version"`
	Go      string `json:"go"`
	API     string `json:"api"`
}
