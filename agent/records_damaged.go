package agent

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/event"
)

// damagedRecords is a file of tasks that is not as it was written.
type damagedRecords struct {
	err  error
	lost string // what of it is not in force any more, in words
}

// recall reads the records under dir, else what was set of them by the copy.
// The error is of a file that is not to be touched: it could not be read, or a
// newer version wrote it. Then what the copy says is in force.
func recall(disk *durable.Disk, dir string) (records, *damagedRecords, error) {
	recs, err := readRecords(disk, recordsPath(dir))
	copied, copyErr := readRecords(disk, settingsPath(dir))
	if left := cmp.Or(lasting(err), lasting(copyErr)); left != nil {
		if lasting(err) != nil && copyErr == nil {
			recs = copied
		}
		recs.left, recs.blind = left, lasting(err) != nil
		return recs, nil, left
	}
	switch gone := errors.Is(err, fs.ErrNotExist); {
	case err == nil, gone && errors.Is(copyErr, fs.ErrNotExist):
		return recs, nil, nil
	case errors.As(err, new(*unsoundError)):
		return recs, &damagedRecords{err, "the tasks named there are left out"}, nil
	case copyErr == nil:
		return copied, &damagedRecords{err, "tasks and their schedules are as they were set; when each ran last is forgotten"}, nil
	case errors.Is(err, errWrongSum):
		return recs, &damagedRecords{err, "what can be read of it is in force"}, nil
	case gone: // and the copy is damaged
		return recs, &damagedRecords{copyErr, "the tasks that users made, and the schedules that were set, are lost"}, nil
	}
	return recs, &damagedRecords{err, "the tasks that users made, and the schedules that were set, are lost"}, nil
}

func lasting(err error) error {
	if durable.Lasting(err) {
		return err
	}
	return nil
}

// setAside keeps a damaged file of tasks beside the one that takes its place,
// and says what was lost. The caller holds a.mu and the state folder.
func (a *Agent) setAside(d *damagedRecords) {
	if d == nil {
		return
	}
	path := recordsPath(a.Dir)
	kept := path + ".damaged"
	err := a.Disk.RemoveAll(kept)
	if st, e := os.Lstat(path); err == nil && e == nil {
		if data, e := os.ReadFile(path); e == nil && st.Mode().IsRegular() {
			err = a.Disk.WriteFile(kept, data, 0o600) // a copy: killed now, it is found damaged again
		} else {
			err = a.Disk.Rename(path, kept)
		}
	}
	if err == nil {
		err = a.records.save(a.Disk, a.Dir)
	}
	if err != nil {
		a.warn("the damaged file of tasks stays", err)
	}
	a.emit(event.TasksDamaged, map[string]string{"error": d.err.Error(), "lost": d.lost, "kept": kept})
}

// errWrongSum is of records that can be read and are not those that were written.
var errWrongSum = errors.New("its SHA-256 is not the one that it says")

// unsoundError names records that cannot be used; the others can.
type unsoundError struct{ error }

// canonical is what the sum of a file of records is of: its fields but the sum
// itself, by name, without white space. Fields of other versions count too.
func canonical(data []byte) ([]byte, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, err
	}
	delete(fields, "sha256")
	return json.Marshal(fields)
}

func sumOf(data []byte) (string, error) {
	plain, err := canonical(data)
	sum := sha256.Sum256(plain)
	return hex.EncodeToString(sum[:]), err
}

// encode is the file of r, with its sum.
func (r records) encode() ([]byte, error) {
	r.Sum = ""
	data, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	if r.Sum, err = sumOf(data); err != nil {
		return nil, err
	}
	data, err = json.MarshalIndent(r, "", "  ")
	return append(data, '\n'), err
}

// set is what people set: of a record that says when a task ran nothing is left.
func (r records) set() records {
	only := records{Format: r.Format, LastID: r.LastID, Tasks: map[int]record{}}
	for id, rec := range r.Tasks {
		kept := record{
			Own: rec.Own, Every: rec.Every, Timing: rec.Timing, RandomDelay: rec.RandomDelay,
			Enabled: rec.Enabled, MakeUp: rec.MakeUp, Limit: rec.Limit, Overlap: rec.Overlap,
		}
		if kept != (record{}) {
			only.Tasks[id] = kept
		}
	}
	return only
}

// saveSettings keeps the copy of what was set, where that changed.
func (r records) saveSettings(disk *durable.Disk, dir string) error {
	data, err := r.set().encode()
	if err != nil {
		return err
	}
	if there, err := os.ReadFile(settingsPath(dir)); err == nil && string(there) == string(data) {
		return nil
	}
	if err := disk.WriteFile(settingsPath(dir), data, 0o644); err != nil {
		return fmt.Errorf("saving the copy of the tasks' settings: %w", err)
	}
	return nil
}
