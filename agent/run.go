package agent

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/clock"
	"github.com/freshet/freshet/internal/settings"
)

// run is one run of a task. Any number may watch it.
type run struct {
	task   int // 0: a command that no task stands for
	name   string
	id     int64
	yields bool     // it gives way to other tasks
	from   importer // the zero value but for an import
	cancel context.CancelCauseFunc
	done   chan struct{} // closed when another may begin; of tasks alone

	over atomic.Int64 // the limit that ended it

	mu       sync.Mutex // guards what follows
	progress api.Progress
	result   *api.Result
	changed  chan struct{} // closed at the next change; nil as long as nobody waits
}

// limitError ends a run that took longer than its task may.
type limitError struct{ limit time.Duration }

func (e *limitError) Error() string {
	return fmt.Sprintf("its time limit of %s is over", settings.Duration(e.limit))
}

// limited has the run end after d, if that is not 0. Time asleep does not count.
func (r *run) limited(d time.Duration, c *clock.Clock) {
	if d > 0 {
		end := r.cancel
		timer := time.AfterFunc(c.Timer(d), func() { r.over.Store(int64(d)); end(&limitError{d}) })
		r.cancel = func(cause error) { timer.Stop(); end(cause) }
	}
}

// overtime is the limit that ended the run; 0: none did.
func (r *run) overtime() time.Duration { return time.Duration(r.over.Load()) }

// report takes the newest progress; who watches may miss some of it.
func (r *run) report(p api.Progress) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.result != nil {
		return
	}
	r.progress = p
	r.tell()
}

func (r *run) finish(res api.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result = &res
	r.tell()
}

func (r *run) tell() {
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

func (r *run) now() (api.Progress, *api.Result, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.changed == nil {
		r.changed = make(chan struct{})
	}
	return r.progress, r.result, r.changed
}

// pace is the shortest time between two lines of progress.
const pace = 100 * time.Millisecond

// watch calls each with the run's progress as it changes and at last with its
// result. It ends early with ctx, or with an error of each.
func (r *run) watch(ctx context.Context, each func(api.Moment) error) error {
	for {
		progress, result, changed := r.now()
		if result != nil {
			return each(api.Moment{Result: result})
		}
		if progress.Phase != "" {
			if err := each(api.Moment{Progress: &progress}); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
		if err := r.rest(ctx); err != nil {
			return err
		}
	}
}

// rest waits for pace, or for the end of the run if that comes first.
func (r *run) rest(ctx context.Context) error {
	timer := time.NewTimer(pace)
	defer timer.Stop()
	for {
		_, result, changed := r.now()
		if result != nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			return nil
		case <-changed:
		}
	}
}
