package agent

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/internal/trust"
	"github.com/freshet/freshet/rollback"
	"github.com/freshet/freshet/updater"
)

// supportEvents is how many events a helper gets.
const supportEvents = 200

func (a *Agent) getSupport(w http.ResponseWriter, req *http.Request) error {
	a.mu.Lock()
	f := a.force
	u := a.updater(f)
	s := api.Support{
		Format: 1, Made: a.Clock.Now().UTC().Truncate(time.Second), System: system(), Settings: a.shown(req, f.settings),
		Version: api.Version{Version: a.Version, Go: runtime.Version(), API: "v1"}, Events: []event.Event{},
	}
	for _, d := range a.records.definitions() {
		s.Tasks = append(s.Tasks, a.task(d))
	}
	a.mu.Unlock()
	// What cannot be read is told in its place: it may be what is wrong.
	miss := func(what string, err error) {
		if err != nil {
			s.Errors = append(s.Errors, fmt.Sprintf("%s: %v", what, err))
		}
	}
	st, err := a.status()
	if miss("status", err); err == nil {
		for i, h := range st.Held {
			st.Held[i].Evidence = a.evidence(req, u, h)
		}
		if st.Refused != "" && !a.mayChange(req) {
			st.Refused = notForAll
		}
		s.Status = &st
	}
	events, err := a.eventsSince(time.Time{})
	miss("events", err)
	if events != nil {
		s.Events = events[max(0, len(events)-supportEvents):]
		for i := range s.Events {
			if !a.mayChange(req) {
				s.Events[i] = publicEvent(s.Events[i])
			}
		}
	}
	store := rollback.Store{Dir: a.Dir}
	state, err := store.Load()
	if miss("state", err); err == nil {
		s.State = state
	}
	s.Generations, err = store.Generations()
	miss("generations", err)
	s.Metadata, err = a.trusted(f)
	miss("metadata", err)
	s.Disk, err = diskOf(a.Dir)
	miss("disk", err)
	text, err := plain(s)
	if err != nil {
		return err
	}
	return api.Answer(w, json.RawMessage(redact(text, f.settings.Secrets(false))))
}

func system() api.System {
	s := api.System{OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), User: os.Geteuid()}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		s.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	return s
}

// trusted reads the versions of the stored metadata.
func (a *Agent) trusted(f *inForce) (api.SupportMetadata, error) {
	m := api.SupportMetadata{Versions: map[string]int64{}}
	root, err := readRoot(f.settings.Root)
	if err != nil {
		return m, err
	}
	m.Repository = updater.RepositoryID(root)
	client := &trust.Client{Dir: filepath.Join(a.Dir, "trust", m.Repository), Root: root, Clock: a.Clock}
	view, err := client.Load()
	if err != nil {
		return m, err
	}
	m.SignedAt, m.Expires, m.Versions = view.SignedAt(), view.Expires(), view.Versions()
	for _, note := range view.Notes() {
		m.Notes = append(m.Notes, note.Error())
	}
	return m, nil
}

func diskOf(dir string) (api.SupportDisk, error) {
	d := api.SupportDisk{Path: dir}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return d, err
	}
	size := uint64(st.Bsize)
	d.Bytes, d.FreeBytes, d.Inodes, d.FreeInodes = st.Blocks*size, st.Bavail*size, st.Files, st.Ffree
	return d, nil
}
