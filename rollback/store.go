package rollback

import (
	"context"
	"errors"
	"fmt"
	"io"
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

// DamagedError says that the state is there and cannot be read. That is not
// "no state".
type DamagedError struct {
	Path string
	Err  error
}

func (e *DamagedError) Error() string { return fmt.Sprintf("%s is damaged: %v", e.Path, e.Err) }
func (e *DamagedError) Unwrap() error { return e.Err }

// Load reads the state. Where there is none yet it gives the empty one; one
// that cannot be read is a [*DamagedError].
func (s Store) Load() (State, error) {
	st := State{Format: StateFormat}
	path := filepath.Join(s.Dir, "state.json")
	data, err := readBounded(path)
	if errors.Is(err, fs.ErrNotExist) {
		return st, nil
	}
	if err != nil {
		return st, &DamagedError{path, err}
	}
	var read State
	if err := unseal(data, &read); err != nil {
		return st, &DamagedError{path, err}
	}
	if err := read.Check(); err != nil {
		return st, &DamagedError{path, err}
	}
	return read, nil
}

// Save commits st. If it returns nil, st holds even after power loss. On an
// error either the old or the new state may be found; the caller loads again.
func (s Store) Save(st State) error {
	if err := st.Check(); err != nil {
		return fmt.Errorf("saving the state: %w", err)
	}
	if err := s.syncAgain(st); err != nil {
		return fmt.Errorf("saving the state: %w", err)
	}
	data, err := seal(st)
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("it has %d bytes, and no more than %d are read", len(data), maxFile)
	}
	if err != nil {
		return fmt.Errorf("saving the state: %w", err)
	}
	if err := s.Disk.WriteFile(filepath.Join(s.Dir, "state.json"), data, 0o644); err != nil {
		return fmt.Errorf("saving the state: %w", err)
	}
	return nil
}

// Reap removes what interrupted writes of the state left. Only who alone
// writes it may call it.
func (s Store) Reap() error {
	path := filepath.Join(s.Dir, "state.json")
	return errors.Join(s.Disk.ReapFile(path), s.Disk.ReapFile(path+".damaged"))
}

// ErrChanged says that the state is not any more what a change began from.
var ErrChanged = errors.New("the state was changed by another process meanwhile")

// Switch replaces the state was by is, as [Store.Save] does, if it still is
// was; else it returns [ErrChanged] and nothing has changed. It is for
// processes that change the state at the same time, as an agent that updates
// and what judges it; a lock is held while it is at work.
func (s Store) Switch(was, is State) error {
	lock, err := s.Disk.LockWait(context.Background(), filepath.Join(s.Dir, "state.lock"))
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
	lock, err := s.Disk.LockWait(context.Background(), filepath.Join(s.Dir, "state.lock"))
	if err != nil {
		return st, g, fmt.Errorf("making a generation: %w", err)
	}
	defer lock.Unlock()
	st.Last = max(st.Last, s.highest()) + 1
	g.Number = st.Last
	dir := s.genDir(g.Number)
	if err := s.Disk.MkdirAll(dir, 0o755); err != nil {
		return st, g, fmt.Errorf("making generation %d: %w", g.Number, err)
	}
	data, err := seal(g)
	if err != nil {
		return st, g, err
	}
	if err := s.Disk.WriteFile(filepath.Join(dir, "generation.json"), data, 0o644); err != nil {
		return st, g, fmt.Errorf("making generation %d: %w", g.Number, err)
	}
	return st, g, nil
}

// Generation reads generation n; 0 is the empty one.
func (s Store) Generation(n int) (Generation, error) {
	if n == 0 {
		return Generation{}, nil
	}
	path := filepath.Join(s.genDir(n), "generation.json")
	data, err := readBounded(path)
	if err != nil {
		return Generation{}, &DamagedError{path, err}
	}
	var g Generation
	if err := unseal(data, &g); err != nil {
		return Generation{}, &DamagedError{path, err}
	}
	if g.Number != n {
		return Generation{}, &DamagedError{path, fmt.Errorf("it says generation %d", g.Number)}
	}
	return g, nil
}

// Generations reads all that can be read, ascending.
func (s Store) Generations() []Generation {
	var all []Generation
	for _, n := range s.numbers() {
		if g, err := s.Generation(n); err == nil {
			all = append(all, g)
		}
	}
	return all
}

// Prune removes the generations that st does not keep. One above the last that
// st knows is being made by another process.
func (s Store) Prune(st State) error {
	keep := st.Keep(s.Generations())
	for _, n := range s.numbers() {
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

func (s Store) numbers() []int {
	entries, _ := os.ReadDir(filepath.Join(s.Dir, "generations"))
	var all []int
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil && n > 0 {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	return all
}

func (s Store) highest() int {
	all := s.numbers()
	if len(all) == 0 {
		return 0
	}
	return all[len(all)-1]
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxFile)
	}
	return data, nil
}
