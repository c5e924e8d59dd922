package firewall

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/freshet/freshet/firewall/iplist"
	"github.com/freshet/freshet/internal/durable"
)

const maxStateFile = 64 << 20

// sealed is how files are written: what they hold, and its SHA-256.
type sealed struct {
	SHA256  string          `json:"sha256"`
	Content json.RawMessage `json:"content"`
}

func (f *Firewall) write(path string, v any) error {
	content, err := json.Marshal(v)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(content)
	data, err := json.Marshal(sealed{hex.EncodeToString(sum[:]), content})
	if err != nil {
		return err
	}
	return f.Disk.WriteFile(path, append(data, '\n'), 0o600)
}

// unseal reads a file into v; see [durable.UnreadError] for its errors.
func unseal(disk *durable.Disk, path string, v any) error {
	var s sealed
	if err := disk.ReadJSON(path, maxStateFile, stateFormat, &s); err != nil {
		return err
	}
	sum := sha256.Sum256(s.Content)
	if hex.EncodeToString(sum[:]) != s.SHA256 {
		return &durable.DamagedError{Path: path, Err: fmt.Errorf("its SHA-256 is %x", sum)}
	}
	if err := durable.CheckFormat(path, s.Content, stateFormat); err != nil {
		return err
	}
	if err := json.Unmarshal(s.Content, v); err != nil {
		return &durable.DamagedError{Path: path, Err: err}
	}
	return nil
}

func (f *Firewall) statePath() string { return filepath.Join(f.Dir, "state.json") }

func (f *Firewall) setPath(n int) string {
	return filepath.Join(f.Dir, "sets", fmt.Sprintf("%06d.json", n))
}

func (f *Firewall) listPath(sum string) string { return filepath.Join(f.Dir, "lists", sum) }

// load reads the state. Without one, and with one that is damaged, nothing is
// in force as far as is known; err says so of the second. Where err is
// [durable.Lasting] nothing is known, and nothing is to be changed.
func (f *Firewall) load() (State, error) {
	fresh := State{Format: stateFormat, Last: f.highest()}
	var st State
	err := unseal(f.Disk, f.statePath(), &st)
	if errors.Is(err, fs.ErrNotExist) {
		return fresh, nil
	}
	if err == nil {
		err = st.Check()
	}
	if err != nil {
		return fresh, err
	}
	st.Last = max(st.Last, fresh.Last)
	return st, nil
}

func (f *Firewall) save(st State) error {
	if err := st.Check(); err != nil {
		return fmt.Errorf("saving the state of the firewall: %w", err)
	}
	if err := f.write(f.statePath(), st); err != nil {
		return fmt.Errorf("saving the state of the firewall: %w", err)
	}
	return nil
}

// keep writes a set and the content of its lists.
func (f *Firewall) keep(s Set, lists map[string]Addresses) error {
	for _, dir := range []string{"sets", "lists"} {
		if err := f.Disk.MkdirAll(filepath.Join(f.Dir, dir), 0o700); err != nil {
			return err
		}
	}
	for _, a := range lists {
		path := f.listPath(a.sum())
		if _, err := os.Stat(path); err == nil {
			continue
		}
		if err := f.Disk.WriteFile(path, a.Text(), 0o600); err != nil {
			return fmt.Errorf("keeping a block list: %w", err)
		}
	}
	if err := f.write(f.setPath(s.Number), s); err != nil {
		return fmt.Errorf("keeping set %d: %w", s.Number, err)
	}
	return nil
}

// build reads set n and its lists, whole: what was damaged is not put into the
// kernel.
func (f *Firewall) build(n int) (build, error) {
	var s Set
	if err := unseal(f.Disk, f.setPath(n), &s); err != nil {
		return build{}, err
	}
	if s.Number != n {
		return build{}, fmt.Errorf("%s says that it is set %d", f.setPath(n), s.Number)
	}
	lists, err := f.lists(s)
	if err != nil {
		return build{}, err
	}
	if err := s.Policy.Check(); err != nil {
		return build{}, fmt.Errorf("set %d: %w", n, err)
	}
	return build{s, materialOf(lists, s.Sets || s.Backend == NFTables)}, nil
}

func (f *Firewall) lists(s Set) (map[string]Addresses, error) {
	lists := map[string]Addresses{}
	for _, l := range s.Lists {
		data, err := f.Disk.ReadFile(f.listPath(l.SHA256), iplist.MaxBytes)
		if err != nil {
			return nil, fmt.Errorf("the block list %s: %w", l.Base, err)
		}
		if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != l.SHA256 {
			return nil, fmt.Errorf("the block list %s is damaged", f.listPath(l.SHA256))
		}
		if lists[l.Base], err = readKept(data); err != nil {
			return nil, fmt.Errorf("the block list %s: %w", l.Base, err)
		}
	}
	return lists, nil
}

var setFile = regexp.MustCompile(`^(\d{6,})\.json$`)

func (f *Firewall) numbers() []int {
	entries, _ := os.ReadDir(filepath.Join(f.Dir, "sets"))
	var all []int
	for _, e := range entries {
		if m := setFile.FindStringSubmatch(e.Name()); m != nil {
			if n, err := strconv.Atoi(m[1]); err == nil && n > 0 {
				all = append(all, n)
			}
		}
	}
	return all
}

func (f *Firewall) highest() int {
	n := 0
	for _, m := range f.numbers() {
		n = max(n, m)
	}
	return n
}

// prune removes the sets that nothing leads back to, and their lists.
func (f *Firewall) prune(st State) error {
	needed := []int{st.Current, st.Previous, st.Wanted(), st.Coming}
	lists := map[string]bool{}
	need := func(path string) error {
		var s Set
		err := unseal(f.Disk, path, &s)
		if durable.Lasting(err) {
			return err // its lists are not known: none is removed
		}
		for _, l := range s.Lists {
			lists[l.SHA256] = true
		}
		return nil
	}
	for _, n := range f.numbers() {
		if slices.Contains(needed, n) {
			if err := need(f.setPath(n)); err != nil {
				return err
			}
			continue
		}
		if err := f.Disk.RemoveAll(f.setPath(n)); err != nil {
			return err
		}
	}
	for _, name := range f.Snapshots() {
		if err := need(f.snapshotPath(name)); err != nil {
			return err
		}
	}
	entries, _ := os.ReadDir(filepath.Join(f.Dir, "lists"))
	for _, e := range entries {
		if lists[e.Name()] || strings.Contains(e.Name(), ".tmp-") {
			continue
		}
		if err := f.Disk.RemoveAll(f.listPath(e.Name())); err != nil {
			return err
		}
	}
	for _, dir := range []string{f.Dir, filepath.Join(f.Dir, "sets"), filepath.Join(f.Dir, "lists")} {
		if err := f.Disk.Reap(dir); err != nil {
			return err
		}
	}
	return nil
}
