package updater_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/durable/crashtest"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/rollback"
	"github.com/freshet/freshet/updater"
)

// moduleAct is a change of an endpoint that has modules, cut short.
type moduleAct struct {
	name  string
	begin string // state folder that it begins with
	do    func(context.Context, *updater.Updater) error
	agent string           // that runs
	want  func(ends) error // what it comes to
}

// ends are the generations that an act leaves.
type ends struct {
	state          rollback.State
	current, good  rollback.Generation
	trial          rollback.Generation
	agent, agentOK string // versions, current and good
	list           int64  // version in the good generation
}

// moduleWorld is a publisher of two modules and a base, and endpoints at
// several points of their lives.
type moduleWorld struct {
	*world
	installed string // agent 1.0.0 and list 1 are good
	trial     string // and agent 1.1.0 is on trial; list 2 is on offer
	later     string // agent 1.1.0 is good, after 1.0.0
	floors    map[string]marks
}

func newModuleWorld(t *testing.T) *moduleWorld {
	t.Helper()
	if dir, err := os.MkdirTemp("/dev/shm", "freshet-modules-"); err == nil { // syncing costs nothing there
		t.Cleanup(func() { os.RemoveAll(dir) })
		t.Setenv("TMPDIR", dir)
	}
	m := &moduleWorld{world: newWorld(t), floors: map[string]marks{}}
	keep := func(name string) string {
		dir := filepath.Join(t.TempDir(), name)
		cloneTree(t, filepath.Join(m.dir, "state"), dir)
		m.floors[dir] = (&power{world: m.world}).marks(dir)
		return dir
	}
	m.publish("list", records(1, 200))
	m.publishModule("agent", "1.0.0")
	m.update(updater.Updated, policy("1.0.0-a"))
	m.judge(true)
	m.installed = keep("installed")
	m.publishModule("agent", "1.1.0")
	m.update(updater.Updated, policy("1.0.0"))
	m.trial = keep("trial")
	m.judge(true)
	m.later = keep("later")
	m.publish("list", records(2, 200))
	return m
}

func (m *moduleWorld) acts() []moduleAct {
	newest := func(e ends) error {
		if e.agent != "1.1.0" || e.agentOK != "1.0.0" || e.list != 2 || e.trial.Modules["agent"].Version != "1.1.0" || e.trial.Bases["list"].Version != 2 {
			return fmt.Errorf("%+v", e)
		}
		return nil
	}
	back := func(e ends) error {
		if e.agent != "1.0.0" || e.agentOK != "1.0.0" || e.state.OnTrial() {
			return fmt.Errorf("%+v", e)
		}
		return nil
	}
	undone := func(err error) error { // a rollback that was done already
		if errors.Is(err, updater.ErrNothingNewer) || errors.Is(err, rollback.ErrNoGeneration) {
			return nil
		}
		return err
	}
	return []moduleAct{
		{"an update of a base and a module", m.installed, update, "1.0.0", newest},
		{"an update of a base beside a trial of modules", m.trial, update, "1.1.0", newest},
		{"an installation by hand", m.installed, func(ctx context.Context, u *updater.Updater) error {
			_, _, err := u.InstallModule(ctx, "agent", "", nil)
			return undone(err)
		}, "1.0.0", func(e ends) error {
			if e.agent != "1.1.0" || e.agentOK != "1.0.0" {
				return fmt.Errorf("%+v", e)
			}
			return nil
		}},
		{"a rollback of a module", m.later, func(ctx context.Context, u *updater.Updater) error {
			_, _, err := u.RollBackModule(ctx, "agent")
			return undone(err)
		}, "1.1.0", back},
		{"a rollback of a trial", m.trial, func(ctx context.Context, u *updater.Updater) error {
			st, err := rollback.Store{Dir: u.Dir}.Load()
			if err != nil || !st.OnTrial() {
				return err
			}
			_, _, err = u.RollBackModule(ctx, "agent")
			return err
		}, "1.1.0", back},
		{"going back to the generation before", m.later, func(ctx context.Context, u *updater.Updater) error {
			st, err := rollback.Store{Dir: u.Dir}.Load()
			if err != nil {
				return err
			}
			if g, err := (rollback.Store{Dir: u.Dir}).Generation(st.Good); err != nil || g.Modules["agent"].Version == "1.0.0" {
				return err
			}
			_, err = u.GoBack(ctx, 0, true)
			return err
		}, "1.1.0", back},
	}
}

// on runs an act as one process on a folder that has all that it keeps.
func (m *moduleWorld) on(a moduleAct, dir string, disk *durable.Disk, change ...func(*updater.Updater)) error {
	u := m.updater(policy(a.agent), func(u *updater.Updater) {
		u.Dir, u.Runtime, u.Disk = filepath.Join(dir, "state"), filepath.Join(dir, "run"), disk
		for _, c := range change {
			c(u)
		}
	})
	if _, err := u.Start(m.t.Context()); err != nil { // as each process does that begins
		return err
	}
	return a.do(m.t.Context(), u)
}

// sound asserts all that must hold at any moment: the state and the
// generations that it names can be read, what they name is whole, the good one
// of the beginning is there, and the trust did not go back.
func (m *moduleWorld) sound(a moduleAct, dir string) (ends, error) {
	var e ends
	state := filepath.Join(dir, "state")
	store := rollback.Store{Dir: state}
	st, err := store.Load()
	if err != nil {
		return e, err
	}
	e.state = st
	for _, n := range []int{st.Current, st.Good, st.Previous, st.Trial, st.Over} {
		g, err := store.Generation(n)
		if err != nil {
			return e, fmt.Errorf("state %+v: %w", st, err)
		}
		for name, ref := range g.Bases {
			if !(&power{world: m.world}).whole(state, name, ref) {
				return e, fmt.Errorf("state %+v: %s version %d is damaged", st, name, ref.Version)
			}
		}
		for name, slot := range g.Modules {
			if err := soundSlot(state, name, slot); err != nil {
				return e, fmt.Errorf("state %+v: module %s %s: %w", st, name, slot.Version, err)
			}
		}
		switch n {
		case st.Current:
			e.current = g
		}
		if n == st.Good {
			e.good = g
		}
		if n == st.Trial {
			e.trial = g
		}
	}
	e.agent, e.agentOK, e.list = e.current.Modules["agent"].Version, e.good.Modules["agent"].Version, e.good.Bases["list"].Version
	if e.agent == "" || e.agentOK == "" || e.list == 0 {
		return e, fmt.Errorf("something is gone: %+v", e)
	}
	if now := (&power{world: m.world}).marks(state); now.below(m.floors[a.begin]) {
		return e, fmt.Errorf("trust went back: %v, it was at %v", now, m.floors[a.begin])
	}
	return e, nil
}

// cloneTree copies a folder with modes, links and hard links.
func cloneTree(t testing.TB, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
}

func (m *moduleWorld) begin(a moduleAct, dir string) error {
	cloneTree(m.t, a.begin, filepath.Join(dir, "state"))
	return os.MkdirAll(filepath.Join(dir, "run"), 0o755)
}

// TestModulesSurviveAPowerCutAtAnyStep stops each act at its steps on the disk,
// cuts the power in several ways, stops the next process too, and has the disk
// fail there. All steps are looked at in a soak.
func TestModulesSurviveAPowerCutAtAnyStep(t *testing.T) {
	m := newModuleWorld(t)
	stride := 27
	if soak {
		stride = 1
	}
	cases := 0
	for _, a := range m.acts() {
		t.Run(a.name, func(t *testing.T) {
			s := crashtest.Sweep{
				Begin:  func(dir string) error { return m.begin(a, dir) },
				Work:   func(dir string, disk *durable.Disk) error { return m.on(a, dir, disk) },
				Stride: stride,
				Check: func(dir string, done bool) error {
					e, err := m.sound(a, dir)
					if err == nil && done {
						err = a.want(e)
					}
					return err
				},
			}
			seen, err := s.Run(t.TempDir(), (&power{seed: 7}).sequence(t.Name()))
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%+v", seen)
			cases += seen.Clones + seen.Failed
		})
	}
	t.Logf("%d cases", cases)
	if cases < 60 {
		t.Errorf("only %d cases were seen", cases)
	}
}

// TestModulesSurviveAKillAtAnyStep stops each act at every fourth of its steps, at
// each in a soak, as kill -9 does, and has the next process go on from what is left.
func TestModulesSurviveAKillAtAnyStep(t *testing.T) {
	m := newModuleWorld(t)
	for _, a := range m.acts() {
		t.Run(a.name, func(t *testing.T) {
			steps, stride := 0, someSteps(4)
			first := 1 + crashtest.Random(t).IntN(stride)
			for n := first; n == first || steps >= n-stride; n += stride {
				dir := t.TempDir()
				if err := m.begin(a, dir); err != nil {
					t.Fatal(err)
				}
				err := m.on(a, dir, dying(n, &steps))
				if _, bad := m.sound(a, dir); bad != nil {
					t.Fatalf("stopped at step %d (%v): %v", n, err, bad)
				}
				if steps < n && err != nil {
					t.Fatalf("not stopped: %v", err)
				}
				if err := m.on(a, dir, nil); err != nil {
					t.Fatalf("stopped at step %d: again: %v", n, err)
				}
				e, bad := m.sound(a, dir)
				if bad == nil {
					bad = a.want(e)
				}
				if bad != nil {
					t.Fatalf("stopped at step %d, and again: %v", n, bad)
				}
				if left, _ := filepath.Glob(dir + "/state/tmp/*"); len(left) > 0 {
					t.Fatalf("stopped at step %d: left over: %v", n, left)
				}
				os.RemoveAll(dir)
			}
			t.Logf("stopped at every step of %d, or every fourth", steps)
			if steps < 10 {
				t.Errorf("only %d steps were seen", steps)
			}
		})
	}
}

// TestAFullOrFailingDiskCostsNoModule has the disk be full from some step on,
// or fail to sync, while a module is updated.
func TestAFullOrFailingDiskCostsNoModule(t *testing.T) {
	m := newModuleWorld(t)
	a := m.acts()[0]
	for _, f := range []struct {
		name    string
		err     error
		ops     []string
		lasting bool
		tells   event.Code
	}{
		{"no space", syscall.ENOSPC, takesRoom, true, event.DiskFull},
		{"input or output error", syscall.EIO, syncs, false, ""},
		{"read-only", syscall.EROFS, changes, true, ""},
	} {
		t.Run(f.name, func(t *testing.T) {
			stride, cases := 15, 0
			if soak {
				stride = 1
			}
			for n := 1 + crashtest.Random(t).IntN(stride); ; n += stride {
				dir, seen, hit := t.TempDir(), 0, 0
				if err := m.begin(a, dir); err != nil {
					t.Fatal(err)
				}
				disk := &durable.Disk{Step: func(op, path string) error {
					if !slices.Contains(f.ops, op) || !strings.HasPrefix(path, dir) {
						return nil
					}
					if seen++; seen != n && !(f.lasting && seen > n) {
						return nil
					}
					hit++
					return &fs.PathError{Op: op, Path: path, Err: f.err}
				}}
				var told []event.Code
				err := m.on(a, dir, disk, func(u *updater.Updater) {
					u.Emit = func(c event.Code, _ map[string]string) { told = append(told, c) }
				})
				if hit == 0 {
					break
				}
				cases++
				if _, bad := m.sound(a, dir); bad != nil {
					t.Fatalf("step %d: %v", n, bad)
				}
				if err != nil && !strings.Contains(err.Error(), f.err.Error()) {
					t.Errorf("step %d: the error does not say %q: %v", n, f.err, err)
				}
				if err != nil && f.tells != "" && !slices.Contains(told, f.tells) {
					t.Errorf("step %d: %v; events %v", n, err, told)
				}
				if slices.Contains(told, event.SourceFailed) {
					t.Errorf("step %d: a source is blamed: %v", n, told)
				}
				if err := m.on(a, dir, nil); err != nil {
					t.Fatalf("step %d: again: %v", n, err)
				}
				e, bad := m.sound(a, dir)
				if bad == nil {
					bad = a.want(e)
				}
				if bad != nil {
					t.Fatalf("step %d, and again: %v", n, bad)
				}
			}
			t.Logf("%d cases", cases)
		})
	}
}
