package updater_test

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/durable/crashtest"
	"github.com/freshet/freshet/internal/event"
)

// fault is a way in which a disk fails.
type fault struct {
	err      error
	ops      []string // that fail; nil: all
	lasting  bool     // those that follow fail too
	happened bool     // the step is done all the same
	full     bool     // no room, of whatever kind
}

var (
	takesRoom  = []string{"open", "write", "mkdir", "link", "symlink", "rename"}
	takesInode = []string{"open", "mkdir", "symlink"}
	syncs      = []string{"fsync", "syncfs", "syncdir"}
	changes    = append([]string{"remove"}, takesRoom...)
)

var faults = map[string]fault{
	"failed":                {err: errors.New("the disk says no")},
	"failed but happened":   {err: errors.New("the disk says no"), happened: true},
	"no space":              {err: syscall.ENOSPC, ops: takesRoom, lasting: true, full: true},
	"no inodes":             {err: syscall.ENOSPC, ops: takesInode, lasting: true, full: true},
	"quota used up":         {err: syscall.EDQUOT, ops: takesRoom, lasting: true, full: true},
	"read-only":             {err: syscall.EROFS, ops: changes, lasting: true},
	"input or output error": {err: syscall.EIO, ops: syncs},
}

// disk fails at the n-th of the steps that the fault is about. hit says how
// often it did.
func (f fault) disk(m *crashtest.Model, n int, hit *int) *durable.Disk {
	seen := 0
	hook := func(op, path string) error {
		if f.ops != nil && !slices.Contains(f.ops, op) || !strings.HasPrefix(path, filepath.Dir(m.Dir)) {
			return nil
		}
		if seen++; seen != n && !(f.lasting && seen > n) {
			return nil
		}
		*hit++
		return &fs.PathError{Op: op, Path: path, Err: f.err}
	}
	if f.happened {
		return m.Disk(crashtest.Hooks{After: hook})
	}
	return m.Disk(crashtest.Hooks{Before: hook})
}

// TestTheDiskFailsAtAnyStep has each act meet each fault at each step. It must
// say what is wrong, go on with what is installed, and do well the next time;
// also after a power cut.
func TestTheDiskFailsAtAnyStep(t *testing.T) {
	p := newPower(t)
	for actName, a := range p.acts() {
		for name, f := range faults {
			t.Run(actName+", "+name, func(t *testing.T) {
				q := *p
				q.t, q.tmp, q.random = t, t.TempDir(), p.sequence(t.Name())
				floor := marks{}
				if a.start != "" {
					floor = p.marks(a.start)
				}
				stride := 1
				if !soak {
					stride = 180
				}
				if !soak && a.spoil != nil {
					stride = 45
				}
				cases := 0
				for n := 1 + q.random.IntN(stride); q.fails(f, n, floor, a); n += stride {
					cases++
				}
				t.Logf("%d cases", cases)
			})
		}
	}
}

// fails meets a fault at its n-th step; false where there are not as many.
func (p *power) fails(f fault, n int, floor marks, a act) bool {
	p.t.Helper()
	what := fmt.Sprintf("failed at step %d", n)
	m := p.begin(a)
	defer p.end(m)
	hit := 0
	err := p.run(m.Dir, f.disk(m, n, &hit), a)
	if hit == 0 {
		return false
	}
	defer func() {
		if p.t.Failed() {
			p.t.Fatalf("%s; %v", what, err)
		}
	}()
	what += fmt.Sprintf(", %d times: %v", hit, p.events)
	p.reported(a)
	p.check(m.Dir, floor)
	p.told(f, err, a)
	killed := p.kill(m)
	killed.Close()
	p.settles(killed.Dir, floor, a)
	p.recovers(what, p.cut(m, nil), floor, a)
	return true
}

// told asserts that the act said what was wrong, if it did not get over it.
func (p *power) told(f fault, err error, a act) {
	p.t.Helper()
	if slices.Contains(p.events, event.SourceFailed) {
		p.t.Errorf("a source is blamed for this machine's disk: %v", p.events)
	}
	if err == nil || a.engine != nil {
		return
	}
	if !strings.Contains(err.Error(), f.err.Error()) {
		p.t.Errorf("the error does not say %q", f.err)
	}
	if !slices.Contains(p.events, event.UpdateStarted) { // not an update
		return
	}
	if !slices.Contains(p.events, event.UpdateFailed) && !slices.Contains(p.events, event.BaseUpdateFailed) {
		p.t.Error("no event tells that the update failed")
	}
	if f.full != slices.Contains(p.events, event.DiskFull) {
		p.t.Errorf("the disk is full: %v; events %v", f.full, p.events)
	}
}
