package api

// Supervisor is the process that starts and watches the agent.
type Supervisor struct {
	PID     int             `json:"pid"`
	Version string          `json:"version"`
	Modules []RunningModule `json:"modules"`
	Trial   *ModuleTrial    `json:"trial,omitempty"`
	Failing string          `json:"failing,omitempty"` // why no agent runs
}

// RunningModule is a module of which a program runs.
type RunningModule struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	PID     int    `json:"pid,omitempty"`
	State   string `json:"state"` // "runs", "starts", "ends"
}

// ModuleTrial is the trial of modules that runs.
type ModuleTrial struct {
	Modules string `json:"modules"` // "agent 1.3.0"
	From    string `json:"from"`
	Phase   string `json:"phase"`        // "loading", "watched", "supervisor"
	Left    int64  `json:"left_seconds"` // until it can be confirmed
}
