package licence

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/freshet/freshet/internal/durable"
)

// Store keeps licences, marks and the agent's ID in the state folder. Whoever
// changes it holds the folder's lock.
//
//	agent-id                 32 hexadecimal digits, the last 8 a check of the others
//	licence/ID.json          each licence, as it was given
//	licence/marks/REPO.json  see [Mark]
type Store struct {
	Dir  string // the state folder
	Disk *durable.Disk
}

// maxKept is how many licences are kept: those that end last.
const maxKept = 16

func (s Store) licences() string { return filepath.Join(s.Dir, "licence") }
func (s Store) marks() string    { return filepath.Join(s.licences(), "marks") }
func (s Store) agentID() string  { return filepath.Join(s.Dir, "agent-id") }

// AgentID is the agent's ID. Before [Store.MakeAgentID] the error is
// fs.ErrNotExist.
func (s Store) AgentID() (string, error) {
	data, err := readBounded(s.agentID())
	if err != nil {
		return "", err
	}
	id := strings.TrimSuffix(string(data), "\n")
	if err := CheckAgent(id); err != nil {
		return "", fmt.Errorf("%s is damaged: %w", s.agentID(), err)
	}
	return id, nil
}

// MakeAgentID gives the agent its ID where it has none, or a damaged one:
// damaged says so, and licences for that one are void. One that the disk does
// not give is left alone.
func (s Store) MakeAgentID() (damaged, err error) {
	path := s.agentID()
	_, err = s.AgentID()
	var unread *fs.PathError
	switch {
	case err == nil:
		// A killed process may have left its name in the page cache alone.
		return nil, s.Disk.SyncDir(s.Dir)
	case errors.Is(err, fs.ErrNotExist):
	case errors.As(err, &unread) && !errors.Is(err, unix.EISDIR):
		return nil, err
	default:
		damaged = err
		if err := s.Disk.RemoveAll(path); err != nil {
			return damaged, err
		}
	}
	return damaged, s.Disk.WriteFile(path, []byte(newAgentID()+"\n"), 0o644)
}

// Licences reads the licences that are kept. Files that are none are passed
// over, and told by errs.
func (s Store) Licences() (docs []*Document, errs []error) {
	names, err := idsIn(s.licences(), idForm)
	if err != nil {
		return nil, []error{err}
	}
	for _, name := range names {
		d, err := s.licence(name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		docs = append(docs, d)
	}
	return docs, errs
}

func (s Store) licence(id string) (*Document, error) {
	path := filepath.Join(s.licences(), id+".json")
	data, err := readBounded(path)
	if err != nil {
		return nil, err
	}
	d, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", path, err)
	}
	return d, nil
}

// idsIn lists the files ID.json in dir by their IDs.
func idsIn(dir string, form *regexp.Regexp) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var ids []string
	for _, e := range entries {
		if id, ok := strings.CutSuffix(e.Name(), ".json"); ok && form.MatchString(id) {
			ids = append(ids, id)
		}
	}
	return ids, err
}

// Mend puts damaged licences aside, under the name ID.json.damaged, and makes
// damaged marks whole ones that are used. It gives what it found.
func (s Store) Mend() []error {
	ids, err := idsIn(s.licences(), idForm)
	found := []error{err}
	for _, id := range ids {
		_, err := s.licence(id)
		if err == nil {
			continue
		}
		found = append(found, err)
		if !durable.Withheld(err) {
			path := filepath.Join(s.licences(), id+".json")
			found = append(found, s.Disk.Rename(path, path+".damaged"))
		}
	}
	repositories, err := idsIn(s.marks(), repositoryForm)
	found = append(found, err)
	for _, r := range repositories {
		m, err := s.Mark(r)
		if err != nil {
			found = append(found, err)
			if !durable.Withheld(err) && !errors.As(err, new(*durable.NewerError)) {
				found = append(found, s.SaveMark(r, m))
			}
		}
	}
	for _, dir := range []string{s.licences(), s.marks()} {
		if _, err := os.Stat(dir); err == nil { // a killed process may not have come to this
			found = append(found, s.Disk.SyncDir(dir))
		}
	}
	return slices.DeleteFunc(found, func(err error) bool { return err == nil })
}

// Add keeps a licence. The caller has verified it.
func (s Store) Add(id string, data []byte) error {
	if !idForm.MatchString(id) {
		return fmt.Errorf("%.40q is no ID of a licence", id)
	}
	if err := s.Disk.MkdirAll(s.licences(), 0o755); err != nil {
		return err
	}
	if err := s.Disk.WriteFile(filepath.Join(s.licences(), id+".json"), data, 0o644); err != nil {
		return err
	}
	docs, _ := s.Licences()
	slices.SortFunc(docs, func(a, b *Document) int { return b.Signed.Until.Compare(a.Signed.Until) })
	for i, d := range docs {
		if i >= maxKept && d.Signed.ID != id {
			if err := s.Disk.RemoveAll(filepath.Join(s.licences(), d.Signed.ID+".json")); err != nil {
				return err
			}
		}
	}
	return nil
}

// Mark reads the mark of a repository; none is a free one. With an error, that
// it cannot be read, comes one that is used.
func (s Store) Mark(repository string) (Mark, error) {
	free := Mark{Format: markFormat}
	path := filepath.Join(s.marks(), repository+".json")
	data, err := readBounded(path)
	if errors.Is(err, fs.ErrNotExist) {
		return free, nil
	}
	var m Mark
	if err == nil {
		m, err = unseal(path, data)
	}
	if err != nil {
		used := Mark{Format: markFormat, Used: 1}
		if durable.Withheld(err) || errors.As(err, new(*durable.NewerError)) {
			return used, err
		}
		return used, fmt.Errorf("%s is damaged: %w", path, err)
	}
	return m, nil
}

// SaveMark stores the mark of a repository. If it returns nil, the mark holds
// even after power loss.
func (s Store) SaveMark(repository string, m Mark) error {
	if !repositoryForm.MatchString(repository) {
		return fmt.Errorf("%.80q is no ID of a repository", repository)
	}
	if err := s.Disk.MkdirAll(s.marks(), 0o755); err != nil {
		return err
	}
	if _, err := s.Mark(repository); errors.As(err, new(*durable.NewerError)) {
		return err
	}
	data, err := m.seal()
	if err != nil {
		return err
	}
	return s.Disk.WriteFile(filepath.Join(s.marks(), repository+".json"), data, 0o644)
}

// Settle settles the marks of all repositories, and removes what an
// interrupted write left. good is the newest generation confirmed. Marks that
// cannot be read count as used and stay as they are.
func (s Store) Settle(good int, at time.Time) error {
	errs := []error{s.Disk.Reap(s.licences()), s.Disk.Reap(s.marks()), s.Disk.ReapFile(s.agentID())}
	repositories, err := idsIn(s.marks(), repositoryForm)
	errs = append(errs, err)
	for _, repository := range repositories {
		m, err := s.Mark(repository)
		if err != nil || m.Pending == 0 {
			continue
		}
		m = m.Settle(good)
		m.At = at.UTC().Truncate(time.Second)
		errs = append(errs, s.SaveMark(repository, m))
	}
	if len(repositories) > 0 { // a killed process may have settled one in the page cache alone
		errs = append(errs, s.Disk.SyncDir(s.marks()))
	}
	return errors.Join(errs...)
}

// readBounded reads a regular file of at most MaxSize bytes.
func readBounded(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, err
	}
	if len(data) > MaxSize {
		return nil, fmt.Errorf("%s has more than %d bytes", path, MaxSize)
	}
	return data, nil
}
