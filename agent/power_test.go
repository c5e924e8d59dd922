package agent_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"

	"github.com/freshet/freshet/agent"
	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/durable/crashtest"
)

// keeper is an endpoint whose own files are cut: the records of tasks, and the
// copy of the settings accepted last.
type keeper struct{ before, after, wrong, run string }

func newKeeper(t *testing.T) keeper {
	t.Helper()
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("version: 1\n"+content), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return keeper{
		write("before.yaml", "update: {every: 2h}\n"), write("after.yaml", "update: {every: 3h}\n"),
		write("wrong.yaml", "updat: {every: 4h}\n"), filepath.Join(dir, "run"),
	}
}

// process is an agent on a state folder, with what it warns of.
func (k keeper) process(dir, settings string, disk *durable.Disk) (*agent.Agent, *api.Client, *logtest.Hook, error) {
	log, warnings := logtest.NewNullLogger()
	log.SetLevel(logrus.WarnLevel)
	a := &agent.Agent{Settings: settings, Dir: dir, Runtime: k.run, Version: "1.2.3", Disk: disk, Log: log}
	err := a.Open()
	return a, api.Local(a.Handler(), api.Caller{UID: os.Geteuid()}), warnings, err
}

// begin leaves the tasks "kept" and "gone", and the settings of before.
func (k keeper) begin(dir string) error {
	a, client, _, err := k.process(dir, k.before, nil)
	for _, name := range []string{"kept", "gone"} {
		spec := api.TaskSpec{Name: name, Type: api.TypeVerify, TaskChange: every(2 * time.Hour)}
		err = errors.Join(err, client.Do(context.Background(), http.MethodPost, "/v1/tasks", spec, nil))
	}
	return errors.Join(err, a.Close())
}

func every(d time.Duration) api.TaskChange {
	e := api.Duration(d)
	return api.TaskChange{Every: &e}
}

// work takes new settings into force, sets a task, makes one and deletes one.
func (k keeper) work(dir string, disk *durable.Disk) error {
	a, client, warnings, err := k.process(dir, k.after, disk)
	if err != nil {
		return err
	}
	defer a.Close()
	ctx := context.Background()
	if err := client.Do(ctx, http.MethodPatch, "/v1/tasks/kept", every(3*time.Hour), nil); err != nil {
		return err
	}
	spec := api.TaskSpec{Name: "new", Type: api.TypeVerify, TaskChange: every(5 * time.Hour)}
	if err := client.Do(ctx, http.MethodPost, "/v1/tasks", spec, nil); err != nil && api.CodeOf(err) != api.TaskExists {
		return err
	}
	if err := client.Do(ctx, http.MethodDelete, "/v1/tasks/gone", nil, nil); err != nil && api.CodeOf(err) != api.NoSuchTask {
		return err
	}
	for _, e := range warnings.AllEntries() { // what is only warned of is not done
		return fmt.Errorf("%s: %v", e.Message, e.Data[logrus.ErrorKey])
	}
	return nil
}

// check asserts that an agent that starts on a wrong settings file has what
// was before or what came after, file by file, and warns of nothing.
func (k keeper) check(dir string, done bool) error {
	_, client, warnings, err := k.process(dir, k.wrong, nil)
	if err != nil {
		return err
	}
	for _, e := range warnings.AllEntries() {
		return fmt.Errorf("%s: %v", e.Message, e.Data[logrus.ErrorKey])
	}
	var tasks api.Tasks
	if err := client.Get(context.Background(), "/v1/tasks", &tasks); err != nil {
		return err
	}
	var own []string
	usual := ""
	for _, t := range tasks.Tasks {
		if at := time.Duration(t.Every).String(); t.Own {
			own = append(own, t.Name+" "+strings.TrimSuffix(at, "0m0s"))
		} else if t.ID == api.TaskUpdate {
			usual = strings.TrimSuffix(at, "0m0s")
		}
	}
	moments := [][]string{
		{"kept 2h", "gone 2h"}, {"kept 3h", "gone 2h"}, {"kept 3h", "gone 2h", "new 5h"}, {"kept 3h", "new 5h"},
	}
	accepted := []string{"2h", "3h"}
	if done {
		moments, accepted = moments[3:], accepted[1:]
	}
	if !slices.ContainsFunc(moments, func(m []string) bool { return slices.Equal(m, own) }) || !slices.Contains(accepted, usual) {
		return fmt.Errorf("tasks %q, updates every %s; want one of %q, %q", own, usual, moments, accepted)
	}
	return nil
}

// TestTasksAndAcceptedSettingsSurviveAnyEnd stops, fails and cuts the agent's
// own writing at each disk step.
func TestTasksAndAcceptedSettingsSurviveAnyEnd(t *testing.T) {
	tmp, err := os.MkdirTemp("/dev/shm", "freshet-power-") // syncing costs nothing there
	if err != nil {
		tmp = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(tmp) })
	k := newKeeper(t)
	s := crashtest.Sweep{Begin: k.begin, Work: k.work, Check: k.check}
	swept, err := s.Run(tmp, crashtest.Random(t))
	if err != nil {
		t.Fatal(err)
	}
	if t.Logf("%+v", swept); swept.Steps < 15 || swept.Twice < 100 {
		t.Errorf("only %+v", swept)
	}
}
