package agent

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/internal/source"
	"github.com/freshet/freshet/updater"
)

// renewal is the way on from an expired bundle.
const renewal = "the publisher makes a new one: freshet-publish bundle REPO OUT --valid 30d"

func (a *Agent) postImport(w http.ResponseWriter, req *http.Request) error {
	var ask api.Import
	if err := api.Decode(req.Body, &ask); err != nil {
		return err
	}
	started, err := a.importFrom(ask.Path)
	if err != nil {
		return err
	}
	return api.Answer(w, started)
}

// importFrom runs the update task with the bundle or mirror at path, a folder
// or a .zip file, as its only source.
func (a *Agent) importFrom(path string) (api.Started, error) {
	if !filepath.IsAbs(path) {
		return api.Started{}, &api.Error{Code: api.BadRequest, Text: fmt.Sprintf("%q is no absolute path", path)}
	}
	path = filepath.Clean(path)
	st, err := os.Stat(path)
	if err == nil && !st.IsDir() && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s is neither a folder nor a file", path)
	}
	if err != nil {
		return api.Started{}, &api.Error{
			Code: api.RunFailed, Text: err.Error(),
			Hint: "is it mounted? the service sees neither /tmp nor /var/tmp of others: try /mnt or /media",
		}
	}
	return a.startFrom(api.TaskUpdate, "import of "+path, path)
}

// alone is f with the folder or archive at path for its only source.
func (f *inForce) alone(path string) *inForce {
	only := *f
	only.sources = []source.Source{local(path, f.count)}
	return &only
}

// local is the source at path. By its name an archive is known as one before the
// stick that holds it is mounted.
func local(path string, count *source.Counter) source.Source {
	if st, err := os.Stat(path); isZip(path) && (err != nil || !st.IsDir()) {
		return &source.Archive{Path: path, Count: count}
	}
	return source.Local(path, count)
}

// importer is what an import adds to a run of the update task.
type importer struct {
	path    string // "": the run is no import
	expired bool
	behind  bool
}

// listen has the importer hear what is told of the bundle.
func (i *importer) listen(u *updater.Updater) {
	emit := u.Emit
	u.Emit = func(code event.Code, fields map[string]string) {
		switch code {
		case event.MetadataExpired, event.RootExpired:
			i.expired = true
		case event.SourceBehind:
			i.behind = true
		case event.SourcesBehind:
			if i.path != "" {
				return // a bundle says nothing of the sources
			}
		}
		emit(code, fields)
	}
}

// explain adds what a person with a stick in hand must know.
func (i *importer) explain(res *api.Result, emit func(event.Code, map[string]string)) {
	if i.path == "" {
		return
	}
	switch {
	case i.expired:
		res.Error = fmt.Sprintf("%s has expired: %s", i.path, res.Error)
		res.Hint = renewal
	case i.behind && res.Outcome == api.NothingNew:
		res.Source, res.Error = i.path, ""
		res.Hint = i.path + " is older than what this machine has seen"
	}
	if res.Outcome == api.Failed {
		emit(event.ImportFailed, map[string]string{"path": i.path, "error": res.Error})
	}
}
