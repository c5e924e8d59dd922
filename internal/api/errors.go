package api

import (
	"errors"
	"net/http"
)

// Code names a kind of error. Codes are stable.
type Code string

// The codes.
const (
	BadRequest    Code = "bad_request"
	Forbidden     Code = "forbidden"
	NotFound      Code = "not_found"
	WrongMethod   Code = "wrong_method"
	NoSuchBase    Code = "no_such_base"
	NoSuchTask    Code = "no_such_task"
	TaskExists    Code = "task_exists"
	NotRunning    Code = "not_running"
	Busy          Code = "busy"
	Locked        Code = "locked"
	NothingBefore Code = "nothing_before"
	NothingHeld   Code = "nothing_held"
	NoSuchModule  Code = "no_such_module"
	ModuleHeld    Code = "module_held"
	NothingToDo   Code = "nothing_to_do"

	NoSuchGeneration Code = "no_such_generation"
	WouldRemove      Code = "would_remove"
	TooLarge         Code = "too_large"
	LicenceRefused   Code = "licence_refused"
	EnrolledAlready  Code = "enrolled_already"
	SettingsInvalid  Code = "settings_invalid"
	Stopping         Code = "stopping"
	TooManyCallers   Code = "too_many_callers"
	Internal         Code = "internal"

	NoFirewall     Code = "no_firewall"
	LockOut        Code = "lock_out"
	NoSnapshot     Code = "no_snapshot"
	FirewallFailed Code = "firewall_failed"

	RunFailed Code = "failed"

	// These do not travel: the command itself says them.
	RunPartly   Code = "partly"
	RunStopped  Code = "stopped"
	NoSystemd   Code = "no_systemd"
	Usage       Code = "usage"
	Unreachable Code = "unreachable"
	Interrupted Code = "interrupted"
)

// Exit codes of the commands.
const (
	ExitDone        = 0
	ExitFailed      = 1
	ExitUsage       = 2
	ExitPartly      = 3
	ExitUnreachable = 4
	ExitInterrupted = 130
)

// Meaning is what a code becomes outside: the one table.
type Meaning struct {
	Code   Code
	Status int // HTTP; 0: it does not travel
	Exit   int
	Hint   string // what to do, unless the error itself says
}

// Meanings lists every code there is.
var Meanings = []Meaning{
	{BadRequest, http.StatusBadRequest, ExitUsage, ""},
	{Forbidden, http.StatusForbidden, ExitFailed, "run it as root, or as a member of the group freshet"},
	{NotFound, http.StatusNotFound, ExitFailed, "the agent may be older than this command; see freshet version"},
	{WrongMethod, http.StatusMethodNotAllowed, ExitFailed, ""},
	{NoSuchBase, http.StatusNotFound, ExitFailed, "freshet bases list names the installed ones"},
	{NoSuchTask, http.StatusNotFound, ExitUsage, "freshet task list names them"},
	{TaskExists, http.StatusConflict, ExitFailed, "freshet task list names them; freshet task set changes one"},
	{NotRunning, http.StatusConflict, ExitFailed, ""},
	{Busy, http.StatusConflict, ExitFailed, "wait for its end (freshet status), or end it with freshet task stop"},
	{Locked, http.StatusConflict, ExitFailed, "an agent or another command is at work there; if the agent listens elsewhere, name its --socket"},
	{NothingBefore, http.StatusConflict, ExitFailed, "only the version before the installed one is kept"},
	{NothingHeld, http.StatusConflict, ExitFailed, "freshet status shows what is held back"},
	{NoSuchModule, http.StatusNotFound, ExitFailed, "freshet modules list names those that are known; one that is not installed yet is named under modules in the settings"},
	{ModuleHeld, http.StatusConflict, ExitFailed, "freshet modules unhold NAME allows it again"},
	{NothingToDo, http.StatusConflict, ExitFailed, "freshet modules show NAME tells what there is"},
	{NoSuchGeneration, http.StatusConflict, ExitFailed, "freshet generations lists those that are kept"},
	{WouldRemove, http.StatusConflict, ExitFailed, "freshet generations shows what each holds; --force goes there all the same"},
	{TooLarge, http.StatusRequestEntityTooLarge, ExitUsage, ""},
	{LicenceRefused, http.StatusUnprocessableEntity, ExitFailed, "freshet licence show has the ID of this agent and of its repository"},
	{EnrolledAlready, http.StatusConflict, ExitFailed, "--replace changes over; what is trusted now stays in force until the first update from there has succeeded"},
	{SettingsInvalid, http.StatusUnprocessableEntity, ExitFailed, "mend the file and try again"},
	{Stopping, http.StatusServiceUnavailable, ExitFailed, "the agent is stopping; try again when it is back"},
	{TooManyCallers, http.StatusServiceUnavailable, ExitFailed, "try again in a moment; root is always answered"},
	{Internal, http.StatusInternalServerError, ExitFailed, "see freshet events and the agent's log"},
	{NoFirewall, http.StatusConflict, ExitFailed, "it needs root, and iptables; everything else works without"},
	{LockOut, http.StatusConflict, ExitFailed, "add a rule that passes it, or say --force; --confirm-within 60s takes it back by itself"},
	{NoSnapshot, http.StatusNotFound, ExitFailed, "freshet firewall show names them"},
	{FirewallFailed, http.StatusBadGateway, ExitFailed, "the rules of before are in force; see freshet firewall show"},
	{RunFailed, http.StatusBadGateway, ExitFailed, "the installed bases stay in use; see freshet events"},
	{RunPartly, 0, ExitPartly, "see freshet events for the bases that failed"},
	{RunStopped, 0, ExitFailed, "the next run goes on from what was fetched"},
	{NoSystemd, 0, ExitFailed, ""},
	{Usage, 0, ExitUsage, "see freshet --help"},
	{Unreachable, 0, ExitUnreachable, "start it with freshet service start, or name its --socket"},
	{Interrupted, 0, ExitInterrupted, ""},
}

// MeaningOf gives the row of a code; that of Internal for an unknown one.
func MeaningOf(c Code) Meaning {
	var internal Meaning
	for _, m := range Meanings {
		switch m.Code {
		case c:
			return m
		case Internal:
			internal = m
		}
	}
	return internal
}

// Error is an error that has a meaning for whoever called.
type Error struct {
	Code Code   `json:"code"`
	Text string `json:"text"`
	Hint string `json:"hint,omitempty"`
}

func (e *Error) Error() string { return e.Text }

// AsError gives err its meaning: Internal unless it carries one.
func AsError(err error) *Error {
	e := &Error{}
	if !errors.As(err, &e) {
		e = &Error{Code: Internal, Text: err.Error()}
	} else {
		e = &Error{Code: e.Code, Text: err.Error(), Hint: e.Hint}
	}
	if e.Hint == "" {
		e.Hint = MeaningOf(e.Code).Hint
	}
	return e
}

// Failure is the body of an answer that is an error.
type Failure struct {
	Error Error `json:"error"`
}

// CodeOf is the code that err carries, or Internal.
func CodeOf(err error) Code { return AsError(err).Code }
