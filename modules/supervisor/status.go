package supervisor

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"time"

	"github.com/freshet/freshet/internal/durable"
)

// Status is what a supervisor says of itself, in supervisor.json in the
// runtime folder.
type Status struct {
	PID     int            `json:"pid"`
	Version string         `json:"version"`
	Program string         `json:"program"`
	Modules []ModuleStatus `json:"modules"`
	Trial   *TrialStatus   `json:"trial,omitempty"`
	Failing string         `json:"failing,omitempty"` // why no agent runs
}

// ModuleStatus is a module that runs.
type ModuleStatus struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	PID     int    `json:"pid,omitempty"`
	State   string `json:"state"` // "runs", "starts", "ends"
}

// TrialStatus is the trial of modules that runs.
type TrialStatus struct {
	Modules string `json:"modules"` // "agent 1.3.0"
	From    string `json:"from"`
	Phase   string `json:"phase"`
	Left    int64  `json:"left_seconds"` // until it can be confirmed
}

func statusPath(runtime string) string { return filepath.Join(runtime, "supervisor.json") }

func (s *Supervisor) statusPath() string { return statusPath(s.Runtime) }

// ReadStatus reads what the supervisor whose runtime folder this is says, if
// there is one.
func ReadStatus(runtime string) (Status, bool) {
	var st Status
	data, err := readBounded(statusPath(runtime))
	if err != nil || json.Unmarshal(data, &st) != nil {
		return st, false
	}
	p, err := os.FindProcess(st.PID)
	if err != nil {
		return st, false
	}
	defer p.Release()
	return st, true
}

func (s *Supervisor) status() Status {
	st := Status{PID: os.Getpid(), Version: s.Version, Program: s.Program, Modules: []ModuleStatus{}}
	add := func(c *child, name string) {
		if c == nil {
			return
		}
		state := "starts"
		switch {
		case c.stage == ends || c.killed != notKilled:
			state = "ends"
		case c.stage == serves:
			state = "runs"
		}
		version := c.slot.Version
		if version == "" {
			version = s.Version
		}
		st.Modules = append(st.Modules, ModuleStatus{Name: name, Version: version, PID: c.cmd.Process.Pid, State: state})
	}
	add(s.agent, agentModule)
	add(s.next, agentModule)
	for _, name := range sorted(s.others) {
		add(s.others[name], name)
	}
	if t := s.trial; t != nil {
		left := t.judge.Times.Gate + t.judge.Times.Soak
		if t.judging() {
			left = t.judge.Left(s.now())
		}
		st.Trial = &TrialStatus{Modules: t.names(), From: namesOf(t.from), Phase: s.at.phaseName(), Left: int64(left / time.Second)}
	}
	if s.agent == nil && s.trial == nil && s.crashes.fails > 0 {
		st.Failing = s.failing
	}
	return st
}

// writeStatus brings the file up to date, if it is not. It is no part of the
// state: nothing is lost with it.
func (s *Supervisor) writeStatus() {
	st := s.status()
	if reflect.DeepEqual(st, s.wrote) {
		return
	}
	s.wrote = st
	data, err := json.Marshal(st)
	if err != nil {
		return
	}
	tmp := s.statusPath() + ".new"
	_ = os.Remove(tmp)
	f, err := durable.OpenNew(tmp, os.O_WRONLY, 0o644)
	if err != nil {
		return
	}
	if _, err := f.Write(append(data, '\n')); errors.Join(err, f.Close()) == nil {
		_ = os.Rename(tmp, s.statusPath())
	}
}
