package api

import "time"

// Module is what there is of a module: of the agent itself, which is "agent",
// or of an engine that it supervises.
type Module struct {
	Name      string             `json:"name"`
	Installed string             `json:"installed,omitempty"` // version of the current generation; "": none
	Good      string             `json:"good,omitempty"`      // of the good one
	Trial     string             `json:"trial,omitempty"`     // on trial, or waiting for it
	Before    string             `json:"before,omitempty"`    // what a rollback goes back to
	Mode      string             `json:"mode"`
	Notes     string             `json:"notes,omitempty"` // of the installed release
	Available []AvailableRelease `json:"available"`       // when the repository was asked last: the newest of each line
	Held      []Held             `json:"held,omitempty"`
}

// AvailableRelease is the newest release of a major line.
type AvailableRelease struct {
	Version   string    `json:"version"`
	Line      string    `json:"line"`
	Published time.Time `json:"published"`
	Size      int64     `json:"size"`       // bytes on disk
	Full      int64     `json:"full_bytes"` // to fetch, at most
	Fetched   bool      `json:"fetched,omitempty"`
	Newer     bool      `json:"newer,omitempty"`   // than what is installed
	Further   bool      `json:"further,omitempty"` // of a line that is not installed: never pushed
	Refused   string    `json:"refused,omitempty"` // why it cannot be installed
	Agent     string    `json:"agent,omitempty"`   // least version of the agent
	Notes     string    `json:"notes,omitempty"`
}

// Modules answers the question for the modules.
type Modules struct {
	Modules []Module `json:"modules"`
}

// Install asks for a release of a module.
type Install struct {
	Version string `json:"version,omitempty"` // "": the newest of the installed line
}

// ModuleChanged answers an installation or a rollback of a module.
type ModuleChanged struct {
	Name    string `json:"name"`
	From    string `json:"from,omitempty"` // "": it was not installed
	To      string `json:"to"`
	Trial   bool   `json:"trial"`           // To is on trial, and judged by whoever runs it
	Running bool   `json:"running"`         // false: no agent runs, and it is judged at the next start
	Notes   string `json:"notes,omitempty"` // what a person should know
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

// Generation is all that an update can change, at one moment.
type Generation struct {
	Number  int               `json:"number"`
	Made    time.Time         `json:"made"`
	Why     string            `json:"why"`
	Role    string            `json:"role,omitempty"` // "current", "good", "previous", "on trial"
	Bases   map[string]int64  `json:"bases"`
	Modules map[string]string `json:"modules,omitempty"`
	Lacks   string            `json:"lacks,omitempty"` // what of it is not on disk: it cannot be gone back to
}

// Generations answers the question for those kept, newest first.
type Generations struct {
	Generations []Generation `json:"generations"`
}

// GoBack asks for what an older generation holds.
type GoBack struct {
	Generation int  `json:"generation,omitempty"` // 0: the previous one
	Force      bool `json:"force,omitempty"`      // also where bases or modules are removed
}

// HoldBase asks to keep a base where it is, or to go back and stay there.
type HoldBase struct {
	Version int64 `json:"version,omitempty"` // 0: the installed one
}

// WentBack answers it.
type WentBack struct {
	From int `json:"from"`
	To   int `json:"to"`

	Removed []string `json:"removed,omitempty"` // "base NAME", "module NAME": they were installed, and are not any more
}
