package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"slices"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/internal/settings"
	"github.com/freshet/freshet/internal/trust"
	"github.com/freshet/freshet/updater"
)

// enrolment is what the next run of the update task does: the first update from
// another place. It lies in the state folder until that run has ended, so that
// one that was killed is taken up again.
//
//	enroll.json ► update ► root of trust ► settings (commit) ► enroll.json goes
type enrolment struct {
	Source   string   `json:"source"`
	Root     []byte   `json:"root"`
	RootFile string   `json:"root_file"`
	Bases    []string `json:"bases,omitempty"`
	Foreign  bool     `json:"foreign,omitempty"` // what is installed is of another repository
	Alone    bool     `json:"alone,omitempty"`   // the sources there were are of another repository
	Had      []string `json:"had,omitempty"`     // versions installed when it began
}

func (e enrolment) edit() settings.Enrolment {
	return settings.Enrolment{Source: e.Source, Alone: e.Alone, Root: e.RootFile, Bases: e.Bases}
}

// maxEnrolment bounds the file: a root of trust, in base64, and names.
const maxEnrolment = 4 * maxRoot

func (a *Agent) enrolmentPath() string { return filepath.Join(a.Dir, "enroll.json") }

// beginEnrolment commits to a first update and starts it.
func (a *Agent) beginEnrolment(w http.ResponseWriter, d draft) error {
	for {
		started, wait, err := a.startEnrolment(d.enrolment, d.answer.Source)
		if err != nil {
			return err
		}
		if wait == nil {
			d.answer.Started = started
			return api.Answer(w, d.answer)
		}
		<-wait
	}
}

// startEnrolment begins the run, but for a channel that closes when another's
// run has ended.
func (a *Agent) startEnrolment(e enrolment, from string) (api.Started, <-chan struct{}, error) {
	a.mu.Lock()
	if a.run != nil {
		defer a.mu.Unlock()
		if a.run.task == 0 {
			return api.Started{}, nil, &api.Error{Code: api.Busy, Text: a.run.name + " is running"}
		}
		return api.Started{}, a.run.done, nil
	}
	_, err := a.hold(context.Background(), false)
	if err == nil {
		e.Had, err = versionsOf(a.updater(a.force))
	}
	var data []byte
	if err == nil {
		data, err = json.Marshal(e)
	}
	// A source may hold a password: nobody else reads it.
	if err == nil {
		err = a.Disk.WriteFile(a.enrolmentPath(), data, 0o600)
	}
	a.mu.Unlock()
	if err != nil {
		return api.Started{}, nil, fmt.Errorf("beginning to enroll: %w", err)
	}
	return a.tryStart(api.TaskUpdate, "enrolling at "+from, "")
}

// versionsOf names what is installed, whoever published it.
func versionsOf(u *updater.Updater) ([]string, error) {
	installed, _, err := u.Installed()
	var all []string
	for _, b := range installed {
		all = append(all, b.Name+"/"+b.Ref.Dir)
	}
	return all, err
}

// switched says whether bases of the enrolment are installed though its update
// failed: its commit was on the disk when that said no, or may have been.
func (a *Agent) switched(e *enrolment) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	has, err := versionsOf(a.updater(a.force))
	return err != nil || !slices.Equal(has, e.Had)
}

// enrolling gives the enrolment that was begun; nil if there is none.
func (a *Agent) enrolling() *enrolment {
	var e enrolment
	now := a.Clock.Now()
	err := a.Disk.ReadJSON(a.enrolmentPath(), maxEnrolment, 1, &e)
	a.left.Note(a.enrolmentPath(), err, now)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case durable.Lasting(err):
		return nil
	case err != nil:
		a.warn("an enrolment that was begun is damaged, and is dropped", err)
		a.dropEnrolment()
		return nil
	}
	return &e
}

func (a *Agent) dropEnrolment() {
	if err := a.Disk.RemoveAll(a.enrolmentPath()); err != nil {
		a.warn("the file of an enrolment stays", err)
	}
}

// enrolled is an updater of what will be in force, and what keeps it from
// running. The caller holds a.mu.
func (a *Agent) enrolled(e *enrolment) (*updater.Updater, error) {
	text, err := settings.ReadText(a.Settings)
	if err == nil {
		text, _, err = e.edit().Apply(a.Settings, text)
	}
	var s *settings.Settings
	if err == nil {
		s, err = settings.Parse(a.Settings, text)
	}
	if err != nil {
		return a.updater(a.force), fmt.Errorf("enrolling: %w", err)
	}
	f := a.wire(s)
	// The first update is asked of this source alone: it is what is tried.
	if only := a.at(f, e.Source); len(f.sources) > 1 {
		f.sources, f.count = only.sources, only.count
	}
	u := a.updater(f)
	u.Root, u.Foreign, u.Proving = e.Root, e.Foreign, true
	return u, nil
}

// endEnrolment puts in force what the first update has proven, or drops it; nil
// is no enrolment.
func (a *Agent) endEnrolment(ctx context.Context, e *enrolment, res *api.Result) {
	if e == nil {
		return
	}
	var err error
	switch res.Outcome {
	case api.Updated, api.NothingNew, api.Partly:
		if err = a.commitEnrolment(e); err == nil {
			a.tidyEnrolment(e)
			a.dropEnrolment()
			a.emit(event.Enrolled, map[string]string{"source": res.Source, "repository": trust.RepositoryID(e.Root)})
			return
		}
		// The bases are there: the next run goes on from here.
		res.Outcome, res.Error = api.Failed, err.Error()
		res.Hint = "freshet update tries it again"
	default:
		if errors.Is(context.Cause(ctx), errEnding) && a.service {
			return // the next start goes on from here
		}
		if a.switched(e) {
			res.Hint = "some of it was done; freshet update goes on with it"
			break
		}
		a.tidyEnrolment(e)
		a.dropEnrolment()
		res.Hint = "nothing was changed: what was trusted before stays in force"
	}
	a.emit(event.EnrollFailed, map[string]string{"source": res.Source, "error": res.Error})
}

// commitEnrolment writes root of trust and settings. The settings name the root:
// replacing them is the commit, and all of it may be repeated.
func (a *Agent) commitEnrolment(e *enrolment) error {
	if there, err := readRoot(e.RootFile); err != nil || string(there) != string(e.Root) {
		if err := a.Disk.MkdirAll(filepath.Dir(e.RootFile), 0o755); err != nil {
			return err
		}
		if err := a.Disk.WriteFile(e.RootFile, e.Root, 0o644); err != nil {
			return fmt.Errorf("writing the root of trust: %w", err)
		}
	}
	path := a.Settings
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	text, err := settings.ReadText(path)
	if err != nil {
		return err
	}
	edited, _, err := e.edit().Apply(path, text)
	if err != nil {
		return err
	}
	if string(edited) != string(text) {
		if err := a.Disk.WriteInto(path, edited, settings.ModeOf(path, e.secret())); err != nil {
			return fmt.Errorf("writing the settings: %w", err)
		}
	}
	s, err := settings.Parse(path, edited)
	a.adopt(s, edited, err)
	return err
}

// secret says whether the source's address holds a password.
func (e enrolment) secret() bool {
	s := settings.Settings{Sources: []settings.Source{{URL: e.Source}}}
	return s.Redacted().Sources[0].URL != e.Source
}
