package agent_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"

	"github.com/freshet/freshet/agent"
	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/durable/crashtest"
	"github.com/freshet/freshet/internal/settings"
	"github.com/freshet/freshet/publish"
	"github.com/freshet/freshet/rollback"
)

// soak looks at more steps.
var soak = os.Getenv("FRESHET_SOAK") != ""

// publisher is a repository that hosts are enrolled at, and its root of trust.
type publisher struct {
	dir     string
	root    []byte
	content string // of its base hosts
}

// enroller is a host that is enrolled at each of two publishers while it is
// stopped and cut: settings and state lie in one folder, reached by one path.
type enroller struct {
	tmp, here string
	first     *publisher // trusted before; nil: none is
	then      *publisher
}

func newPublisher(t *testing.T, tmp, name string) *publisher {
	t.Helper()
	p := &publisher{dir: filepath.Join(tmp, name), content: strings.Repeat(name+".example\n", 50)}
	repo := &publish.Repository{Dir: p.dir}
	if _, err := repo.Init(t.Context(), filepath.Join(tmp, name+"-keys")); err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(tmp, name+".txt")
	err := os.WriteFile(list, []byte(p.content), 0o644)
	if err == nil {
		_, err = repo.Publish(t.Context(), publish.Release{Name: "hosts", Path: list, File: "hosts.txt"})
	}
	if err == nil {
		p.root, err = os.ReadFile(filepath.Join(p.dir, "metadata", "1.root.json"))
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// process is an agent on the host in dir, with what it warns of.
func (e *enroller) process(dir string, disk *durable.Disk) (*agent.Agent, *logtest.Hook, error) {
	os.Remove(e.here)
	if err := os.Symlink(dir, e.here); err != nil {
		return nil, nil, err
	}
	if disk != nil { // the model knows the folder by its own path
		model := *disk
		disk = &durable.Disk{
			Step:  func(op, path string) error { return model.Step(op, e.real(dir, path)) },
			After: func(op, path string) error { return model.After(op, e.real(dir, path)) },
		}
	}
	log, warnings := logtest.NewNullLogger()
	log.SetLevel(logrus.WarnLevel)
	a := &agent.Agent{
		Settings: filepath.Join(e.here, "etc", "freshet.yaml"), Dir: filepath.Join(e.here, "state"),
		Runtime: filepath.Join(e.tmp, "run", filepath.Base(dir)), // a boot empties it
		Version: "1.2.3", Disk: disk, Log: log,
	}
	return a, warnings, a.Open()
}

func (e *enroller) real(dir, path string) string {
	if rest, ok := strings.CutPrefix(path, e.here); ok {
		return dir + rest
	}
	return path
}

func (e *enroller) begin(dir string) error {
	err := os.Mkdir(filepath.Join(dir, "etc"), 0o755)
	if err == nil && e.first != nil {
		err = e.enroll(dir, nil, e.first, false)
	}
	return err
}

func (e *enroller) work(dir string, disk *durable.Disk) error {
	return e.enroll(dir, disk, e.then, e.first != nil)
}

// enroll is the command, in a process of its own.
func (e *enroller) enroll(dir string, disk *durable.Disk, at *publisher, replace bool) (err error) {
	a, warnings, err := e.process(dir, disk)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	client := api.Local(a.Handler(), api.Caller{UID: os.Geteuid()})
	ask := api.Enroll{Source: at.dir, Root: at.root, Replace: replace}
	if err := client.Do(context.Background(), http.MethodPost, "/v1/enroll", ask, &api.Enrolling{}); err != nil {
		return err
	}
	var res api.Result
	err = client.Follow(context.Background(), "/v1/tasks/6/progress", func(line []byte) error {
		var m api.Moment
		err := json.Unmarshal(line, &m)
		if m.Result != nil {
			res = *m.Result
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case res.Outcome != api.Updated && res.Outcome != api.NothingNew:
		return fmt.Errorf("%s: %s", res.Outcome, res.Error)
	}
	for _, w := range warnings.AllEntries() { // what is only warned of is not done
		return fmt.Errorf("%s: %v", w.Message, w.Data[logrus.ErrorKey])
	}
	return nil
}

// check asserts that the host trusts and has what it did before, or what it
// shall: whole. In between, bases may be those of the new one as long as the
// enrolment that ends this is there to go on with.
func (e *enroller) check(dir string, done bool) error {
	a, _, err := e.process(dir, nil)
	if err != nil {
		return err
	}
	defer a.Close()
	trusted, err := e.trusted(a.Settings)
	if err != nil {
		return err
	}
	content, err := os.ReadFile(filepath.Join(dir, "state", "bases", "hosts", "current", "hosts.txt"))
	has := func(p *publisher) bool { return p == nil && err != nil || p != nil && string(content) == p.content }
	_, pending := os.Lstat(filepath.Join(dir, "state", "enroll.json"))
	switch {
	case !has(e.first) && !has(e.then):
		return fmt.Errorf("the base is neither of before nor of after: %d bytes, %w", len(content), err)
	case trusted == e.then && !has(e.then):
		return errors.New("the new repository is trusted, and its base is not there")
	case trusted == e.first && !has(e.first) && pending != nil:
		return errors.New("the base is the new repository's, the old one is trusted, and no enrolment goes on")
	case !done:
		return nil
	case trusted != e.then || pending == nil:
		return fmt.Errorf("it is not done, or not at its end: %v", pending)
	}
	return e.tidy(dir)
}

// trusted reads settings and root of trust, as they are to belong together.
func (e *enroller) trusted(file string) (*publisher, error) {
	s, err := settings.Load(file)
	if errors.Is(err, settings.ErrMissing) && e.first == nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	root, err := os.ReadFile(s.Root)
	if err != nil {
		return nil, err
	}
	for _, p := range []*publisher{e.first, e.then} {
		if p != nil && len(s.Sources) == 1 && s.Sources[0].URL == p.dir && bytes.Equal(root, p.root) {
			return p, nil
		}
	}
	return nil, fmt.Errorf("sources %v and %s do not belong together", s.Sources, s.Root)
}

// tidy asserts that nothing is left that nothing names.
func (e *enroller) tidy(dir string) error {
	named := map[string]bool{}
	settings, err := os.ReadFile(filepath.Join(dir, "etc", "freshet.yaml"))
	if err != nil {
		return err
	}
	gens, err := (rollback.Store{Dir: filepath.Join(dir, "state")}).Generations()
	if err != nil {
		return err
	}
	for _, g := range gens {
		for name, ref := range g.Bases {
			named["state/bases/"+name+"/"+ref.Dir] = true
			named["state/manifests/"+ref.Manifest+".json"] = true
		}
	}
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		in, name := filepath.Split(rel)
		switch {
		case strings.Contains(name, ".tmp-"), in == "state/tmp/",
			in == "state/manifests/" && !named[rel],
			strings.HasPrefix(rel, "state/bases/hosts/") && strings.Count(rel, "/") == 3 && name != "current" && !named[rel],
			in == "etc/" && !slices.Contains([]string{"freshet.yaml", "root.json"}, name) && (e.first == nil || !strings.HasPrefix(name, "root-") || !strings.Contains(string(settings), rel)):
			return fmt.Errorf("%s is left", rel)
		}
		return nil
	})
}

// TestEnrollingSurvivesAnyEnd stops, fails and cuts enrolling at each disk step.
func TestEnrollingSurvivesAnyEnd(t *testing.T) {
	tmp, err := os.MkdirTemp("/dev/shm", "freshet-enroll-") // syncing costs nothing there
	if err != nil {
		tmp = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(tmp) })
	one, two := newPublisher(t, tmp, "one"), newPublisher(t, tmp, "two")
	rows := []struct {
		name        string
		first, then *publisher
	}{
		{"at a first repository", nil, one},
		{"at another repository", one, two},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			e := &enroller{tmp: tmp, here: filepath.Join(tmp, "here"), first: row.first, then: row.then}
			s := crashtest.Sweep{Begin: e.begin, Work: e.work, Check: e.check, Stride: 32}
			if soak {
				s.Stride = 2
			}
			copies := filepath.Join(tmp, fmt.Sprint(row.first != nil))
			if err := os.Mkdir(copies, 0o755); err != nil {
				t.Fatal(err)
			}
			swept, err := s.Run(copies, crashtest.Random(t))
			if err != nil {
				t.Fatal(err)
			}
			if t.Logf("%+v", swept); swept.Steps < 5 || swept.Failed < 8 {
				t.Errorf("only %+v", swept)
			}
		})
	}
}
