package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"log"
	"net/http"
	"time"

	"github.com/freshet/freshet/internal/api"
)

// Route is one request of the local API.
type Route struct {
	Method  string
	Path    string // as net/http patterns
	Changes bool   // only for those who may change things
	Does    string
	serve   func(*Agent, http.ResponseWriter, *http.Request) error
}

// Routes is the whole local API.
func Routes() []Route {
	const get, post, patch, del = http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete
	return []Route{
		{get, "/v1/version", false, "the agent's version", (*Agent).getVersion},
		{get, "/v1/status", false, "state, bases, last and next update", (*Agent).getStatus},
		{get, "/v1/bases", false, "the installed bases", (*Agent).getBases},
		{post, "/v1/bases/verify", true, "read installed bases back and hold them against their signed hashes", (*Agent).postVerify},
		{post, "/v1/bases/repair", true, "the same, and fetch anew what is damaged", (*Agent).postRepair},
		{get, "/v1/bases/{name}/detail", false, "one base: its version, what is held back with its evidence, its engine, and what is delivered", (*Agent).getBase},
		{post, "/v1/bases/{name}/rollback", true, "one base to the version before", (*Agent).postRollback},
		{post, "/v1/bases/{name}/hold", true, "keep a base at its version, or go back to {\"version\"} and stay there", (*Agent).postBaseHold},
		{post, "/v1/bases/{name}/release", true, "allow what is held back of a base again", (*Agent).postRelease},
		{get, "/v1/modules", false, "the modules, installed and available", (*Agent).getModules},
		{post, "/v1/modules/{name}/install", true, "fetch {\"version\"}, or the newest release of the installed line, and put it on trial", (*Agent).postInstall},
		{post, "/v1/modules/{name}/rollback", true, "a module to the release before", (*Agent).postModuleRollback},
		{post, "/v1/modules/{name}/hold", true, "keep a module at its release", (*Agent).postHold},
		{post, "/v1/modules/{name}/release", true, "allow what is held back of a module again", (*Agent).postModuleRelease},
		{get, "/v1/generations", false, "the generations kept, newest first", (*Agent).getGenerations},
		{post, "/v1/rollback", true, "go back to what {\"generation\"} holds, or the previous one; where that removes bases or modules, only with {\"force\"}", (*Agent).postGoBack},
		{get, "/v1/events", false, "events; ?since=TIME (RFC 3339), ?follow=1 streams those to come too, one a line, from the ?last=N before them on", (*Agent).getEvents},
		{get, "/v1/plan", true, "what an update would do; fetches metadata alone", (*Agent).getPlan},
		{get, "/v1/tasks", false, "all tasks", (*Agent).getTasks},
		{post, "/v1/tasks", true, "make a task: name, type (update or verify), and what PATCH sets", (*Agent).postTask},
		{get, "/v1/tasks/{id}", false, "one task; {id} is its number or name", (*Agent).getTask},
		{patch, "/v1/tasks/{id}", true, "set timing (or every), random_delay, enabled, make_up, limit, overlap, and of a user's task bases and sources; default goes back to the settings", (*Agent).patchTask},
		{del, "/v1/tasks/{id}", true, "delete a task that a user made", (*Agent).deleteTask},
		{post, "/v1/tasks/{id}/start", true, "run it now, or join the run that is going on", (*Agent).postStart},
		{post, "/v1/tasks/{id}/stop", true, "end its run", (*Agent).postStop},
		{get, "/v1/tasks/{id}/progress", false, "stream of the running or last run: progress, then its result, one a line", (*Agent).getProgress},
		{post, "/v1/import", true, "run task 6 with the bundle at {\"path\"}, a folder or .zip file, as its only source", (*Agent).postImport},
		{post, "/v1/enroll", true, "trust a repository and keep its bases, for root alone: checks {\"source\", \"root\" or \"fingerprint\", \"bases\", \"replace\"}, then runs task 6 from there", (*Agent).postEnroll},
		{get, "/v1/licence", false, "the agent's ID, whether a licence is asked for, and those that were added", (*Agent).getLicence},
		{post, "/v1/licence", true, "add a licence, checked offline", (*Agent).postLicence},
		{get, "/v1/firewall", true, "the firewall: what is in force, why, and the rules with their counters; ?counters=0 leaves these out, ?contents=1 reads the content of block lists anew", (*Agent).getFirewall},
		{post, "/v1/firewall/apply", true, "put the rules of the settings in force, or say what that would do", (*Agent).postFirewallApply},
		{post, "/v1/firewall/confirm", true, "keep the rules that are on trial", (*Agent).postFirewallConfirm},
		{post, "/v1/firewall/snapshot", true, "put the rules in force aside, under a name", (*Agent).postFirewallSnapshot},
		{post, "/v1/firewall/restore", true, "set right what others changed; with a name, go back to that snapshot", (*Agent).postFirewallRestore},
		{post, "/v1/firewall/off", true, "take Freshet's rules away until they are applied again", (*Agent).postFirewallOff},
		{get, "/v1/support", false, "all of this and more in one answer, without passwords, for whoever helps; commands as they are only for those who may change", (*Agent).getSupport},
		{get, "/v1/settings", false, "the settings in force, without passwords; commands and firewall rules only for those who may change", (*Agent).getSettings},
	}
}

// Handler serves the local API. The caller's identity comes with the request's
// context, see [api.WithCaller]; an unknown caller may only read.
func (a *Agent) Handler() http.Handler {
	mux := http.NewServeMux()
	paths := map[string]bool{}
	for _, r := range Routes() {
		paths[r.Path] = true
		mux.HandleFunc(r.Method+" "+r.Path, func(w http.ResponseWriter, req *http.Request) { a.answer(r, w, req) })
	}
	for path := range paths {
		mux.HandleFunc(path, func(w http.ResponseWriter, req *http.Request) {
			api.Fail(w, &api.Error{Code: api.WrongMethod, Text: fmt.Sprintf("%s does not take %s", req.URL.Path, req.Method)})
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, req *http.Request) {
		api.Fail(w, &api.Error{Code: api.NotFound, Text: fmt.Sprintf("there is no %s", req.URL.Path)})
	})
	return a.callers.admitted(mux)
}

func (a *Agent) answer(r Route, w http.ResponseWriter, req *http.Request) {
	if privileged(api.CallerOf(req.Context())) {
		a.answerNow(r, w, req)
		return
	}
	key := r.Path
	if a.mayChange(req) { // members of the group are shown more: never share theirs with others
		key = "members " + key
	}
	a.callers.serve(r.kind(req), key, w, req, func(w http.ResponseWriter, req *http.Request) { a.answerNow(r, w, req) })
}

func (a *Agent) answerNow(r Route, w http.ResponseWriter, req *http.Request) {
	if !a.mayChange(req) {
		if r.Changes {
			caller, _ := api.CallerOf(req.Context())
			api.Fail(w, &api.Error{Code: api.Forbidden, Text: fmt.Sprintf("%s is not allowed to user %d: it is for %s", r.deed(), caller.UID, a.whoMay())})
			return
		}
		a.mu.Lock()
		secrets := a.force.settings.Secrets(true)
		a.mu.Unlock()
		w = &redacting{w, secrets}
	}
	// A body must come at once; the answer may take its time. Without a body the
	// server reads on for the end of the connection: a deadline would be one.
	if req.ContentLength != 0 {
		http.NewResponseController(w).SetReadDeadline(time.Now().Add(readTimeout))
	}
	answer := &begun{ResponseWriter: w}
	err := r.serve(a, answer, req)
	if errors.Is(err, fs.ErrPermission) { // of this process, where no agent runs
		err = a.noAccess(err.Error())
	}
	if err != nil && !answer.begun {
		api.Fail(w, err)
	}
}

// deed is what a request that changes things does, in words for who may not.
func (r Route) deed() string {
	switch r.Path {
	case "/v1/bases/verify":
		return "verifying bases"
	case "/v1/bases/repair":
		return "repairing bases"
	case "/v1/bases/{name}/rollback":
		return "rolling back a base"
	case "/v1/bases/{name}/hold":
		return "holding a base"
	case "/v1/bases/{name}/release":
		return "releasing what is held back"
	case "/v1/modules/{name}/install":
		return "installing a module"
	case "/v1/modules/{name}/rollback":
		return "rolling back a module"
	case "/v1/modules/{name}/hold":
		return "holding a module"
	case "/v1/modules/{name}/release":
		return "releasing what is held back"
	case "/v1/rollback":
		return "going back to a generation"
	case "/v1/plan":
		return "planning an update"
	case "/v1/tasks":
		return "making a task"
	case "/v1/tasks/{id}":
		return "changing a task"
	case "/v1/tasks/{id}/start":
		return "starting a task"
	case "/v1/tasks/{id}/stop":
		return "stopping a task"
	case "/v1/import":
		return "importing a bundle"
	case "/v1/enroll":
		return "enrolling"
	case "/v1/licence":
		return "adding a licence"
	case "/v1/firewall":
		return "reading the firewall"
	case "/v1/firewall/apply", "/v1/firewall/confirm", "/v1/firewall/snapshot", "/v1/firewall/restore", "/v1/firewall/off":
		return "changing the firewall"
	}
	return "this request"
}

func (a *Agent) whoMay() string {
	if a.Group == "" {
		return "root and the user that the agent runs as"
	}
	return "root and members of the group " + a.Group
}

// begun notes whether an answer has begun: no error can follow then.
type begun struct {
	http.ResponseWriter
	begun bool
}

func (b *begun) WriteHeader(status int) {
	b.begun = true
	b.ResponseWriter.WriteHeader(status)
}

func (b *begun) Write(p []byte) (int, error) {
	b.begun = true
	return b.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (b *begun) Unwrap() http.ResponseWriter { return b.ResponseWriter }

// httpLog takes what net/http complains about: callers that went away.
func (a *Agent) httpLog() *log.Logger {
	return log.New(debugWriter{a}, "", 0)
}

type debugWriter struct{ a *Agent }

func (d debugWriter) Write(p []byte) (int, error) {
	if d.a.Log != nil {
		d.a.Log.Debug(string(p))
	}
	return len(p), nil
}
