package crashtest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/freshet/freshet/internal/durable"
)

// ErrStopped is what all steps of a process give that has been stopped.
var ErrStopped = errors.New("the process was stopped")

// errDisk is a disk's own error.
var errDisk = errors.New("the disk says no")

// Sweep is work on a folder that is stopped, cut and failed at each of its
// steps on the disk.
type Sweep struct {
	// Begin fills the folder that the work begins with; nil: it is empty.
	Begin func(dir string) error
	// Work is one process. It must be possible to run it again after any end.
	Work func(dir string, disk *durable.Disk) error
	// Check asserts what must hold at any moment. done says that Work has
	// returned nil: then what it did must be there.
	Check func(dir string, done bool) error
	// Stride is how many steps lie between two that are looked at; 0 and 1:
	// all are.
	Stride int
}

// Swept is what a sweep looked at.
type Swept struct {
	Steps  int // at which the work was stopped
	Twice  int // the next process was stopped as well
	Failed int // steps that the disk failed at
	Clones int // of what a power cut leaves
}

// Run sweeps in tmp, which is empty. Each moment is looked at as the worst
// case of a power cut and as some that random gives. The error names the
// moment.
func (s Sweep) Run(tmp string, random *rand.Rand) (Swept, error) {
	w := &sweeper{Sweep: s, tmp: tmp, random: random}
	w.Stride = max(1, w.Stride)
	start := 1
	if w.Stride > 1 {
		start += random.IntN(w.Stride)
	}
	for n := start; ; n += w.Stride {
		more, err := w.at(n)
		if err != nil || !more {
			return w.seen, err
		}
		w.seen.Steps++
	}
}

type sweeper struct {
	Sweep
	tmp    string
	random *rand.Rand
	copies int
	seen   Swept
}

// at looks at the n-th step; false where there are not as many.
func (w *sweeper) at(n int) (bool, error) {
	m, err := w.fresh()
	if err != nil {
		return false, err
	}
	defer w.end(m)
	killed, step, err := w.stop(m, n)
	if err != nil {
		return false, fmt.Errorf("%s: %w", step, err)
	}
	if killed == nil {
		return false, w.recovers("a power cut after the end", m, nil, true)
	}
	defer w.end(killed)
	what := fmt.Sprintf("stopped at step %d (%s)", n, step)
	for i := range 4 {
		var random *rand.Rand
		if i > 0 {
			random = w.random
		}
		if err := w.recovers(what+", then a power cut", killed, random, false); err != nil {
			return true, err
		}
	}
	if err := w.twice(what, killed); err != nil {
		return true, err
	}
	for _, happened := range []bool{false, true} {
		if err := w.fails(n, happened); err != nil {
			return true, err
		}
	}
	return true, nil
}

// twice stops the next process too, at one step by chance, or at each if all
// steps are looked at.
func (w *sweeper) twice(what string, killed *Model) error {
	for m := 1; ; m++ {
		at := m
		if w.Stride > 1 {
			at = 1 + w.random.IntN(2*w.Stride)
		}
		dir := w.dir()
		again, err := killed.Kill(dir)
		if err != nil {
			return err
		}
		second, step, err := w.stop(again, at)
		if err == nil && second != nil {
			w.seen.Twice++
			err = w.recovers(fmt.Sprintf("%s, then at step %d (%s), then a power cut", what, at, step), second, nil, false)
			w.end(second)
		} else if err == nil {
			err = w.recovers(what+", gone on from, then a power cut", again, nil, true)
		}
		w.end(again)
		if err != nil || second == nil || w.Stride > 1 {
			return err
		}
	}
}

// fails has the disk fail once, at the n-th step, or say so though it was done.
func (w *sweeper) fails(n int, happened bool) error {
	m, err := w.fresh()
	if err != nil {
		return err
	}
	defer w.end(m)
	seen, step := 0, ""
	hook := func(op, path string) error {
		if seen++; seen != n {
			return nil
		}
		step = op + " " + filepath.Base(path)
		return fmt.Errorf("%s %s: %w", op, path, errDisk)
	}
	h := Hooks{Before: hook}
	if happened {
		h = Hooks{After: hook}
	}
	err = w.Work(m.Dir, m.Disk(h))
	if step == "" {
		return nil // steps that are taken by the caller have no end to fail at
	}
	w.seen.Failed++
	what := fmt.Sprintf("the disk failed at step %d (%s), though it was done: %v; the work gave %v", n, step, happened, err)
	done := err == nil
	if err := w.recovers(what+"; then a power cut", m, nil, done); err != nil {
		return err
	}
	if err := w.Check(m.Dir, done); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return w.completes(what, m.Dir)
}

// stop does the work on m until its n-th step, and gives what a kill leaves
// then; nil where it ended before.
func (w *sweeper) stop(m *Model, n int) (killed *Model, step string, err error) {
	seen := 0
	var broken error
	disk := m.Disk(Hooks{Before: func(op, path string) error {
		if seen++; seen < n {
			return nil
		}
		if seen == n {
			step = op + " " + filepath.Base(path)
			killed, broken = m.Kill(w.dir())
		}
		return ErrStopped
	}})
	err = w.Work(m.Dir, disk)
	if broken != nil || killed != nil {
		return killed, step, broken
	}
	return nil, "to its end", err
}

// recovers cuts the power and asserts that what is left is sound, and that the
// same work again succeeds.
func (w *sweeper) recovers(what string, m *Model, random *rand.Rand, done bool) error {
	dir := w.dir()
	defer os.RemoveAll(dir)
	if err := m.PowerCut(dir, random); err != nil {
		return err
	}
	w.seen.Clones++
	if err := w.Check(dir, done); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return w.completes(what, dir)
}

func (w *sweeper) completes(what, dir string) error {
	if err := w.Work(dir, nil); err != nil {
		return fmt.Errorf("%s: the same work again: %w", what, err)
	}
	if err := w.Check(dir, true); err != nil {
		return fmt.Errorf("%s, and the same work again: %w", what, err)
	}
	return nil
}

func (w *sweeper) fresh() (*Model, error) {
	dir := w.dir()
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	if w.Begin != nil {
		if err := w.Begin(dir); err != nil {
			return nil, err
		}
	}
	return New(dir)
}

func (w *sweeper) end(m *Model) {
	m.Close()
	os.RemoveAll(m.Dir)
}

// dir is a folder that is not there yet.
func (w *sweeper) dir() string {
	w.copies++
	return filepath.Join(w.tmp, fmt.Sprint(w.copies))
}
