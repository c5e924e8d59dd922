package rollback

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/freshet/freshet/internal/durable"
)

// Store keeps the state and the generations in the agent's state folder. One
// process at a time may change it; whoever does holds the folder's lock.
type Store struct {
	Dir  string
	Disk *durable.Disk
}

// maxFile bounds what is read of the store's own files.
const maxFile = 16 << 20

// DamagedError says that a file of the store is there and is not as it was
// written, or is gone although others need it. That is not "no state".
type DamagedError = durable.DamagedError

// Load reads the state. Where there is none yet it gives the empty one; one
// that is damaged, or lost while generations lie there, is a [*DamagedError].
// One that the disk does not give, or a newer version wrote, is
// [durable.UnreadError] or [durable.NewerError]: it is left as it is.
func (s Store) Load() (State, error) {
	var st State
	err := s.read(s.statePath(), &st)
	if err == nil {
		st.Format = min(st.Format, StateFormat) // see durable.Format: what may be read may be rewritten
		if err = st.Check(); err == nil {
			for i, w := range st.Quarantine {
				st.Quarantine[i].By = w.who()
			}
			return st, nil
		}
		err = &DamagedError{Path: s.statePath(), Err: err}
	}
	st = State{Format: StateFormat}
	if !errors.Is(err, fs.ErrNotExist) || errors.As(err, new(*DamagedError)) {
		return st, err
	}
	lost, err := s.lost()
	if err == nil && lost {
		err = &DamagedError{Path: s.statePath(), Err: errors.New("it is gone, and what it led to is there")}
	}
	return st, err
}

func (s Store) statePath() string { return filepath.Join(s.Dir, "state.json") }

// lost says whether there was a state although there is none: each generation,
// and each entry of the quarantine, is younger than the first state.
func (s Store) lost() (bool, error) {
	all, err := s.numbers()
	if err != nil || len(all) > 0 {
		return true, err
	}
	h, known, err := s.History()
	return known && (len(h.Quarantine) > 0 || h.Lost != nil), err
}

// read reads a sealed file into v.
func (s Store) read(path string, v any) error {
	data, err := s.Disk.ReadFile(path, maxFile)
	if err != nil {
		return err
	}
	return unseal(path, data, v)
}

// write seals v and stores it at path.
func (s Store) write(path string, v any) error {
	data, err := seal(v)
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s has %d bytes, and no more than %d are read", path, len(data), maxFile)
	}
	if err != nil {
		return err
	}
	return s.Disk.WriteFile(path, data, 0o644)
}

// Save commits st. If it returns nil, st holds even after power loss. On an
// error either the old or the new state may be found; the caller loads again. A
// state that cannot be read now, or is of a newer version, is not replaced.
func (s Store) Save(st State) error {
	if err := st.Check(); err != nil {
		return fmt.Errorf("saving the state: %w", err)
	}
	if err := s.read(s.statePath(), &State{}); durable.Lasting(err) {
		return fmt.Errorf("saving the state: %w", err)
	}
	if err := s.syncAgain(st); err != nil {
		return fmt.Errorf("saving the state: %w", err)
	}
	// The copy of the quarantine never lacks an entry that the state has, at
	// whatever moment the power is cut: it gains entries before the state does,
	// and loses them after it.
	both, err := s.keepBoth(st.history())
	if err == nil {
		err = s.write(s.statePath(), st)
	}
	if err == nil && !both.equal(st.history()) {
		err = s.write(s.historyPath(), st.history())
	}
	if err != nil {
		return fmt.Errorf("saving the state: %w", err)
	}
	return nil
}

// Reap removes what interrupted writes of the state left. Only who alone
// writes it may call it.
func (s Store) Reap() error {
	path := s.statePath()
	return errors.Join(s.Disk.ReapFile(path), s.Disk.ReapFile(path+".damaged"), s.Disk.ReapFile(s.historyPath()))
}

// ErrChanged says that the state is not any more what a change began from.
var ErrChanged = errors.New("the state was changed by another process meanwhile")

// Switch replaces the state was by is, as [Store.Save] does, if it still is
// was; else it returns [ErrChanged] and nothing has changed. It is for
// processes that change the state at the same time, as an agent that updates
// and what judges it; a lock is held while it is at work.
func (s Store) Switch(was, is State) error {
	lock, err := s.lock()
	if err != nil {
		return fmt.Errorf("saving the state: %w", err)
	}
	defer lock.Unlock()
	now, err := s.Load()
	if err != nil {
		return err
	}
	if !now.equal(was) {
		return ErrChanged
	}
	return s.Save(is)
}

// syncAgain syncs the folders that lead to the current generation: a run that
// was killed may have left their names in the page cache alone.
func (s Store) syncAgain(st State) error {
	if st.Current == 0 {
		return nil
	}
	for _, dir := range []string{s.genDir(st.Current), filepath.Join(s.Dir, "generations"), s.Dir} {
		if err := s.Disk.SyncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// Make writes a new generation with the next number and gives the state that
// knows it. Nothing refers to the generation until that state is saved. Two
// processes that make one at the same time get different numbers.
func (s Store) Make(st State, g Generation) (State, Generation, error) {
	if err := s.Disk.MkdirAll(filepath.Join(s.Dir, "generations"), 0o755); err != nil {
		return st, g, fmt.Errorf("making a generation: %w", err)
	}
	lock, err := s.lock()
	if err != nil {
		return st, g, fmt.Errorf("making a generation: %w", err)
	}
	defer lock.Unlock()
	if err := s.begin(); err != nil {
		return st, g, fmt.Errorf("making a generation: %w", err)
	}
	all, err := s.numbers()
	if err != nil {
		return st, g, fmt.Errorf("making a generation: %w", err)
	}
	st.Last = max(st.Last, slices.Max(append(all, 0))) + 1
	g.Number = st.Last
	dir := s.genDir(g.Number)
	if err := s.Disk.MkdirAll(dir, 0o755); err != nil {
		return st, g, fmt.Errorf("making generation %d: %w", g.Number, err)
	}
	if err := s.write(filepath.Join(dir, "generation.json"), g); err != nil {
		return st, g, fmt.Errorf("making generation %d: %w", g.Number, err)
	}
	return st, g, nil
}

// begin saves the empty state before the first generation is made: from then
// on generations without a state tell that it was lost. The caller holds the lock.
func (s Store) begin() error {
	if _, err := os.Lstat(s.statePath()); !errors.Is(err, fs.ErrNotExist) {
		return nil // whoever reads it says what is wrong with it
	}
	st, err := s.Load()
	if errors.As(err, new(*DamagedError)) {
		return nil // a recovery makes it
	}
	if err != nil || st.Last > 0 {
		return err
	}
	return s.Save(st)
}

// lock keeps other processes from changing the state. They hold it for the time
// of a few writes.
func (s Store) lock() (*durable.Lock, error) {
	return s.Disk.LockWait(context.Background(), filepath.Join(s.Dir, "state.lock"))
}

// Generation reads generation n; 0 is the empty one. One that is not there is
// damage too: something refers to it.
func (s Store) Generation(n int) (Generation, error) {
	if n == 0 {
		return Generation{}, nil
	}
	path := filepath.Join(s.genDir(n), "generation.json")
	var g Generation
	err := s.read(path, &g)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = &DamagedError{Path: path, Err: err}
	case err == nil && g.Number != n:
		err = &DamagedError{Path: path, Err: fmt.Errorf("it says generation %d", g.Number)}
	}
	if err != nil {
		return Generation{}, err
	}
	return g, nil
}

// Generations reads all generations but damaged ones, ascending. The error is
// of one that was not read and may be whole: who removes or chooses must not do
// so by half of them.
func (s Store) Generations() ([]Generation, error) {
	numbers, err := s.numbers()
	if err != nil {
		return nil, err
	}
	var all []Generation
	for _, n := range numbers {
		g, err := s.Generation(n)
		if errors.As(err, new(*DamagedError)) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, g)
	}
	return all, nil
}

// Prune removes the generations that st does not keep. One above the last that
// st knows is being made by another process.
func (s Store) Prune(st State) error {
	all, err := s.Generations()
	if err != nil {
		return err
	}
	numbers, err := s.numbers()
	if err != nil {
		return err
	}
	keep := st.Keep(all)
	for _, n := range numbers {
		if n > st.Last || slices.Contains(keep, n) {
			continue
		}
		if err := s.Disk.RemoveAll(s.genDir(n)); err != nil {
			return fmt.Errorf("removing generation %d: %w", n, err)
		}
	}
	return nil
}

func (s Store) genDir(n int) string {
	return filepath.Join(s.Dir, "generations", fmt.Sprintf("%06d", n))
}

// numbers lists the generations that have a folder, ascending.
func (s Store) numbers() ([]int, error) {
	dir := filepath.Join(s.Dir, "generations")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, &durable.UnreadError{Path: dir, Err: err}
	}
	var all []int
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil && n > 0 {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	return all, nil
}
