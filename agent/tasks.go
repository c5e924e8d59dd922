package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/durable"
)

// definition is a predefined task.
type definition struct {
	id   int
	name string
	does string
	// usual is the task's schedule unless it is set; nil: it runs only when
	// told to.
	usual func(*inForce) schedule
	// atOnce says that a task that never ran is due: else it is in a period.
	atOnce bool
}

var predefined = []definition{
	{api.TaskUpdate, "Update", "bring the bases to the newest version", (*inForce).schedule, true},
	{api.TaskRollback, "Rollback", "bring the bases back to the version before, offline", nil, false},
	{api.TaskVerify, "Verify", "read the bases back, and fetch anew what is damaged", daily, false},
}

// daily is often enough to find what a disk damages, and no load.
func daily(*inForce) schedule {
	return schedule{Enabled: true, Every: 24 * time.Hour, RandomDelay: time.Hour}
}

// scheduled are the tasks that run by themselves.
func scheduled() []definition {
	return slices.DeleteFunc(slices.Clone(predefined), func(d definition) bool { return d.usual == nil })
}

func definitionOf(id int) (definition, error) {
	for _, d := range predefined {
		if d.id == id {
			return d, nil
		}
	}
	return definition{}, &api.Error{Code: api.NoSuchTask, Text: fmt.Sprintf("there is no task %d", id)}
}

// record is what is kept of a task over restarts.
type record struct {
	Every       *api.Duration `json:"every,omitempty"` // nil: as the settings say
	RandomDelay *api.Duration `json:"random_delay,omitempty"`
	Enabled     *bool         `json:"enabled,omitempty"`
	Runs        int64         `json:"runs"`
	Failures    int           `json:"failures,omitempty"` // in a row
	Next        time.Time     `json:"next,omitzero"`
	Last        *api.Result   `json:"last,omitempty"`
	LastSuccess time.Time     `json:"last_success,omitzero"`
	Transfer    *api.Transfer `json:"transfer,omitempty"`
}

// schedule is the task's own where set, else that of the settings.
func (r record) schedule(otherwise schedule) schedule {
	if r.Every != nil {
		otherwise.Every = time.Duration(*r.Every)
	}
	if r.RandomDelay != nil {
		otherwise.RandomDelay = time.Duration(*r.RandomDelay)
	}
	if r.Enabled != nil {
		otherwise.Enabled = *r.Enabled
	}
	return otherwise
}

// Bounds of what a task may be set to.
const (
	leastEvery = time.Minute
	mostEvery  = 30 * 24 * time.Hour
)

// change gives the record with c applied.
func (r record) change(c api.TaskChange) (record, error) {
	if c.Default {
		r.Every, r.RandomDelay, r.Enabled = nil, nil, nil
	}
	if c.Every != nil {
		if d := time.Duration(*c.Every); d < leastEvery || d > mostEvery {
			return r, &api.Error{Code: api.BadRequest, Text: fmt.Sprintf("every %s: use %s to %s", d, leastEvery, mostEvery)}
		}
		r.Every = c.Every
	}
	if c.RandomDelay != nil {
		if d := time.Duration(*c.RandomDelay); d < 0 || d > mostEvery {
			return r, &api.Error{Code: api.BadRequest, Text: fmt.Sprintf("random delay %s: use 0s to %s", d, mostEvery)}
		}
		r.RandomDelay = c.RandomDelay
	}
	if c.Enabled != nil {
		r.Enabled = c.Enabled
	}
	return r, nil
}

// finished gives the record after a run.
func (r record) finished(res api.Result) record {
	r.Last = &res
	switch res.Outcome {
	case api.Failed, api.Partly:
		r.Failures++
	case api.Stopped:
	default:
		r.Failures = 0
		r.LastSuccess = res.Ended
	}
	if res.Full > 0 && (res.Outcome == api.Updated || res.Outcome == api.Partly) {
		r.Transfer = &api.Transfer{Bytes: res.Bytes, Full: res.Full, At: res.Ended}
	}
	return r
}

// records are the tasks' records as tasks.json holds them.
type records struct {
	Format int            `json:"format"`
	Tasks  map[int]record `json:"tasks"`
}

const (
	recordsFormat = 1
	maxRecords    = 1 << 20
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
	return read, nil
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
