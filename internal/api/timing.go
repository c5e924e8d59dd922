package api

// Kinds of timing.
const (
	Interval = "interval" // Every, counted from the end of the run before
	Daily    = "daily"    // At
	Weekly   = "weekly"   // At, on Days
	Manual   = "manual"   // only when told to
	AtStart  = "start"    // Delay after each start of the agent
	OnBase   = "base"     // Delay after an update of one of Bases; none: of any
)

// Timing says when a task runs by itself. Times of day are those of the host's
// time zone.
type Timing struct {
	Kind  string   `json:"kind"`
	Every Duration `json:"every,omitzero"`
	At    string   `json:"at,omitempty"`   // "03:30"
	Days  []string `json:"days,omitempty"` // "mon" to "sun"
	Delay Duration `json:"delay,omitzero"`
	Bases []string `json:"bases,omitempty"`
}

// What a task does.
const (
	TypeUpdate   = "update"
	TypeRollback = "rollback"
	TypeVerify   = "verify"
)

// What becomes of a run that is due while something else runs.
const (
	Queue = "queue" // it begins after that
	Skip  = "skip"  // it is left out, and the next is waited for
)

// FirstUserTask is the least ID of a task that a user made.
const FirstUserTask = 100

// TaskSpec makes a task. Without a timing it runs only when told to.
type TaskSpec struct {
	Name string `json:"name"` // not that of another; not a number
	Type string `json:"type"` // update or verify

	TaskChange
}
