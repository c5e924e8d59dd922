package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/durable"
)

// records are the tasks' records as tasks.json holds them.
type records struct {
	Format int            `json:"format"`
	Tasks  map[int]record `json:"tasks"`
	LastID int            `json:"last_id,omitempty"` // given to a task of a user; none is given twice
}

const (
	recordsFormat = 1
	maxRecords    = 16 << 20
)

func recordsPath(dir string) string { return filepath.Join(dir, "tasks.json") }

// loadRecords reads the records under dir. What cannot be read is an error
// and counts as empty: a task without history runs at once, which harms no one.
func loadRecords(dir string) (records, error) {
	empty := records{Format: recordsFormat, Tasks: map[int]record{}}
	f, err := os.Open(recordsPath(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return empty, nil
	}
	if err != nil {
		return empty, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxRecords))
	if err != nil {
		return empty, err
	}
	var read records
	if err := json.Unmarshal(data, &read); err != nil {
		return empty, fmt.Errorf("reading %s: %w", f.Name(), err)
	}
	if read.Format != recordsFormat || read.Tasks == nil {
		return empty, fmt.Errorf("reading %s: format %d is unknown", f.Name(), read.Format)
	}
	var errs []error
	for id, rec := range read.Tasks {
		if err := read.sound(id, rec); err != nil {
			delete(read.Tasks, id)
			errs = append(errs, fmt.Errorf("reading %s: task %d is left out: %w", f.Name(), id, err))
		}
	}
	return read, errors.Join(errs...)
}

// sound says what is wrong with a record that was read.
func (r records) sound(id int, rec record) error {
	otherwise, random := manual(nil)
	switch _, known := predefinedOf(id); {
	case rec.Own == nil && !known:
		return fmt.Errorf("there is no such task")
	case rec.Own == nil:
		otherwise, random = daily(nil)
	case id < api.FirstUserTask:
		return fmt.Errorf("its ID is not one that users' tasks have")
	default:
		if err := rec.Own.check(); err != nil {
			return err
		}
	}
	if _, err := rec.change(api.TaskChange{Limit: rec.Limit, Overlap: rec.Overlap}); err != nil {
		return err
	}
	_, err := rec.plan(otherwise, random, nil)
	return err
}

func (r records) save(disk *durable.Disk, dir string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := disk.WriteFile(recordsPath(dir), append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("saving the tasks: %w", err)
	}
	return nil
}
