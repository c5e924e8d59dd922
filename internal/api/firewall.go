package api

import "time"

// Firewall is how the firewall stands.
type Firewall struct {
	Wanted    bool           `json:"wanted"`             // the settings switch it on
	Error     string         `json:"error,omitempty"`    // why it is not possible, or what failed last
	Mechanism string         `json:"mechanism"`          // that is asked for: "iptables" or "nftables"
	NamedBy   string         `json:"named_by,omitempty"` // the generation that names it; "": none does, it is the default
	InForce   string         `json:"in_force,omitempty"` // the mechanism by which rules stand; "": none do
	Backend   string         `json:"backend,omitempty"`
	Why       string         `json:"why,omitempty"`  // of the backend
	Both      bool           `json:"both,omitempty"` // both variants of iptables hold rules of others
	Set       int            `json:"set"`            // that stands; 0: none
	Since     time.Time      `json:"since,omitzero"`
	In        string         `json:"in,omitempty"` // what happens to what no rule fits
	Out       string         `json:"out,omitempty"`
	Trial     *FirewallTrial `json:"trial,omitempty"`
	Off       bool           `json:"off,omitempty"`      // taken away by hand
	Held      string         `json:"held,omitempty"`     // the snapshot that was gone back to
	Returned  bool           `json:"returned,omitempty"` // what the settings say was not confirmed, or refused
	Place     []string       `json:"place,omitempty"`
	Rules     []FirewallRule `json:"rules,omitempty"`
	Lists     []FirewallList `json:"lists,omitempty"`
	Diff      []string       `json:"difference,omitempty"` // what others changed
	Snapshots []string       `json:"snapshots,omitempty"`
}

// FirewallTrial is a set that waits to be confirmed.
type FirewallTrial struct {
	Set  int      `json:"set"`
	Left Duration `json:"left"`
}

// FirewallRule is a rule in the kernel.
type FirewallRule struct {
	Family  string `json:"family"`
	Chain   string `json:"chain"`
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
	Rule    string `json:"rule"`
}

// FirewallList is a block list in force.
type FirewallList struct {
	Base      string   `json:"base"`
	Version   int64    `json:"version"` // 0: not installed
	Addresses int      `json:"addresses"`
	Left      []string `json:"left_out,omitempty"`  // would cut off what must stay reachable
	Bad       int      `json:"bad,omitempty"`       // lines that are left out, as they are no address
	BadLines  []string `json:"bad_lines,omitempty"` // the first of them, with number and reason
}

// FirewallApply asks for the rules of the settings.
type FirewallApply struct {
	DryRun  bool     `json:"dry_run,omitempty"`
	Force   bool     `json:"force,omitempty"`          // also if it cuts off who asks
	Confirm Duration `json:"confirm_within,omitempty"` // 0: it holds at once
	Session string   `json:"session,omitempty"`        // SSH_CONNECTION of who asks
}

// FirewallApplied is what came of it.
type FirewallApplied struct {
	Set       int      `json:"set"`
	Backend   string   `json:"backend"`
	Rules     int      `json:"rules"`
	Addresses int      `json:"addresses"`
	Notes     []string `json:"notes,omitempty"`
	Cut       []string `json:"cut,omitempty"`
	Diff      []string `json:"difference,omitempty"`
	Texts     []string `json:"texts,omitempty"`
	Confirm   Duration `json:"confirm_within,omitempty"`
}

// FirewallName names a snapshot; "" where that means the set in force.
type FirewallName struct {
	Name     string `json:"name,omitempty"`
	Previous bool   `json:"previous,omitempty"`
	Force    bool   `json:"force,omitempty"`   // also if it cuts off who asks
	Session  string `json:"session,omitempty"` // SSH_CONNECTION of who asks
}

// FirewallSet is a set that stands now.
type FirewallSet struct {
	Set int `json:"set"`
}

// FirewallStatus is the firewall's line in the status.
type FirewallStatus struct {
	State string `json:"state"` // "in force", "on trial", "off by hand", "held at a snapshot", "not possible", "failed"
	Set   int    `json:"set"`
	Error string `json:"error,omitempty"`
	Drift bool   `json:"drift,omitempty"` // others changed the rules
}
