package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/durable"
)

// records are the tasks' records as tasks.json holds them. What people set in
// them has a copy, tasks.set.json, which changes only when that does.
type records struct {
	Sum    string         `json:"sha256,omitempty"` // see canonical; "" as of versions that wrote none
	Format int            `json:"format"`
	Tasks  map[int]record `json:"tasks"`
	LastID int            `json:"last_id,omitempty"` // given to a task of a user; none is given twice

	left  error // why the file, or its copy, is left as it is: see [durable.Lasting]
	blind bool  // and nothing of the file itself is known
}

const (
	recordsFormat = 1
	maxRecords    = 16 << 20
)

func recordsPath(dir string) string { return filepath.Join(dir, "tasks.json") }

func settingsPath(dir string) string { return filepath.Join(dir, "tasks.set.json") }

// readRecords reads a file of records. What is damaged is an error and counts as
// empty: a task without history runs at once, which harms no one. With
// [errWrongSum] and an [*unsoundError] there are records nevertheless.
func readRecords(disk *durable.Disk, path string) (records, error) {
	empty := records{Format: recordsFormat, Tasks: map[int]record{}}
	data, err := disk.ReadFile(path, maxRecords)
	if err == nil {
		err = durable.CheckFormat(path, data, recordsFormat)
	}
	if err != nil {
		return empty, err
	}
	var read records
	if err := json.Unmarshal(data, &read); err != nil {
		return empty, fmt.Errorf("reading %s: %w", path, err)
	}
	if read.Format < recordsFormat || read.Tasks == nil {
		return empty, fmt.Errorf("reading %s: format %d is unknown", path, read.Format)
	}
	var errs []error
	for id, rec := range read.Tasks {
		if err := read.sound(id, rec); err != nil {
			delete(read.Tasks, id)
			errs = append(errs, fmt.Errorf("task %d: %w", id, err))
		}
	}
	if sum, err := sumOf(data); read.Sum != "" && (err != nil || sum != read.Sum) {
		return read, fmt.Errorf("reading %s: %w", path, errWrongSum)
	}
	if len(errs) > 0 {
		return read, &unsoundError{fmt.Errorf("reading %s: %w", path, errors.Join(errs...))}
	}
	return read, nil
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

// save writes the records, but not over a file that could not be read or that a
// newer version wrote: what it holds is not known.
func (r records) save(disk *durable.Disk, dir string) error {
	if r.left != nil {
		return fmt.Errorf("saving the tasks: %w; they can be changed once it can be read", r.left)
	}
	data, err := r.encode()
	if err != nil {
		return err
	}
	if err := disk.WriteFile(recordsPath(dir), data, 0o644); err != nil {
		return fmt.Errorf("saving the tasks: %w", err)
	}
	return r.saveSettings(disk, dir)
}
