package agent

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/internal/schedule"
	"github.com/freshet/freshet/internal/source"
)

// own is what a task that a user made is about.
type own struct {
	Name    string    `json:"name"`
	Type    string    `json:"type"`
	Bases   []string  `json:"bases,omitempty"`   // none: all that are wanted
	Sources []string  `json:"sources,omitempty"` // names; none: all, in the settings' order
	Made    time.Time `json:"made"`
}

// Bounds of the tasks that users make.
const (
	maxOwn     = 100
	maxName    = 64 // bytes
	maxSources = 50
)

func (o *own) definition(id int) definition {
	d := definition{id: id, name: o.Name, kind: o.Type, usual: manual, own: o}
	what := "all bases"
	if len(o.Bases) > 0 {
		what = strings.Join(o.Bases, ", ")
	}
	if o.Type == api.TypeVerify {
		d.does = "read back " + what + ", and fetch anew what is damaged"
		return d
	}
	d.does = "bring " + what + " to the newest version"
	if len(o.Sources) > 0 {
		d.does += " from " + strings.Join(o.Sources, ", ")
	}
	return d
}

// check holds each field against its bounds.
func (o *own) check() error {
	if o.Name == "" || len(o.Name) > maxName || strings.TrimSpace(o.Name) != o.Name || strings.ContainsFunc(o.Name, func(r rune) bool { return !unicode.IsPrint(r) || r == '/' || r == unicode.ReplacementChar }) {
		return badRequest("%.80q is no name of a task: 1 to %d bytes that can be printed, without /", o.Name, maxName)
	}
	if _, err := strconv.Atoi(o.Name); err == nil {
		return badRequest("%q is no name of a task: a number is an ID", o.Name)
	}
	switch o.Type {
	case api.TypeUpdate, api.TypeVerify:
	case api.TypeRollback:
		return badRequest("a rollback is not scheduled: a person decides it")
	default:
		return badRequest("type %.40q is not update or verify", o.Type)
	}
	if err := schedule.CheckBases(o.Bases); err != nil {
		return err
	}
	if len(o.Sources) > maxSources {
		return badRequest("%d sources: name %d at most", len(o.Sources), maxSources)
	}
	for i, s := range o.Sources {
		if s == "" || len(s) > 2048 || slices.Contains(o.Sources[:i], s) {
			return badRequest("source %.80q is empty, too long, or stands there twice", s)
		}
	}
	return nil
}

// fits holds a task against what is in force.
func (o *own) fits(f *inForce) error {
	for _, name := range o.Bases {
		if _, wanted := f.settings.Base(name); !wanted {
			return badRequest("base %s is not wanted: add it to bases in the settings first", name)
		}
	}
	for _, name := range o.Sources {
		if _, ok := f.source(name); !ok {
			return badRequest("%q is no source of the settings: freshet status lists them", name)
		}
	}
	return nil
}

func (f *inForce) source(name string) (source.Source, bool) {
	i := slices.IndexFunc(f.sources, func(s source.Source) bool { return s.Name() == name })
	if i < 0 {
		return nil, false
	}
	return f.sources[i], true
}

// ordered is f with the named sources alone, in that order. One that the
// settings no longer have is passed over.
func (f *inForce) ordered(names []string) (*inForce, error) {
	if len(names) == 0 {
		return f, nil
	}
	only := *f
	only.sources = nil
	for _, name := range names {
		if s, ok := f.source(name); ok {
			only.sources = append(only.sources, s)
		}
	}
	if len(only.sources) == 0 {
		return f, fmt.Errorf("the settings have none of the task's sources any more: %s", strings.Join(names, ", "))
	}
	return &only, nil
}

// create makes a task of a user.
func (a *Agent) create(spec api.TaskSpec) (api.Task, error) {
	o := &own{Name: spec.Name, Type: spec.Type, Made: a.Clock.Now().UTC()}
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, err := a.hold(context.Background(), false); err != nil {
		return api.Task{}, err
	}
	all := a.records.definitions()
	if len(all)-len(predefined) >= maxOwn {
		return api.Task{}, badRequest("there are %d tasks of users: delete one first", maxOwn)
	}
	for _, d := range all {
		if strings.EqualFold(d.name, o.Name) {
			return api.Task{}, &api.Error{Code: api.TaskExists, Text: fmt.Sprintf("task %d has the name %q", d.id, d.name)}
		}
	}
	rec, err := a.changed(o.definition(0), record{Own: o}, spec.TaskChange)
	if err != nil {
		return api.Task{}, err
	}
	id := max(a.records.LastID+1, api.FirstUserTask)
	for a.records.Tasks[id].Own != nil {
		id++
	}
	a.records.Tasks[id], a.records.LastID = rec, id
	a.planAnew(rec.Own.definition(id))
	if err := a.records.save(a.Disk, a.Dir); err != nil {
		delete(a.records.Tasks, id)
		return api.Task{}, err
	}
	a.emit(event.TaskCreated, map[string]string{"task": fmt.Sprint(id), "name": o.Name})
	a.nudge()
	return a.task(rec.Own.definition(id)), nil
}

// remove deletes a task that a user made.
func (a *Agent) remove(d definition) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if d.own == nil {
		return badRequest("task %d (%s) is predefined: freshet task set %d --enabled=false turns it off", d.id, d.name, d.id)
	}
	if _, err := a.hold(context.Background(), false); err != nil {
		return err
	}
	if a.run != nil && a.run.task == d.id {
		return &api.Error{Code: api.Busy, Text: fmt.Sprintf("%s is running", d.name)}
	}
	kept, ok := a.records.Tasks[d.id]
	if !ok {
		return &api.Error{Code: api.NoSuchTask, Text: fmt.Sprintf("there is no task %d", d.id)}
	}
	delete(a.records.Tasks, d.id)
	if err := a.records.save(a.Disk, a.Dir); err != nil {
		a.records.Tasks[d.id] = kept
		return err
	}
	delete(a.last, d.id)
	a.emit(event.TaskDeleted, map[string]string{"task": fmt.Sprint(d.id), "name": d.name})
	a.nudge()
	return nil
}

func (a *Agent) postTask(w http.ResponseWriter, req *http.Request) error {
	var spec api.TaskSpec
	if err := api.Decode(req.Body, &spec); err != nil {
		return err
	}
	t, err := a.create(spec)
	if err != nil {
		return err
	}
	return api.Answer(w, t)
}

func (a *Agent) deleteTask(w http.ResponseWriter, req *http.Request) error {
	d, err := a.taskOf(req)
	if err != nil {
		return err
	}
	a.mu.Lock()
	t := a.task(d)
	a.mu.Unlock()
	if err := a.remove(d); err != nil {
		return err
	}
	return api.Answer(w, t)
}
