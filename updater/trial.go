package updater

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/freshet/freshet/rollback"
)

// takeAndWatch has the engines of the ready bases take their versions in g and
// watches all of them at once. It gives those that did not bear it. A context
// that ends, ends the watch without a judgement.
func (u *Updater) takeAndWatch(ctx context.Context, ready []*job, g, before rollback.Generation) map[string]error {
	var mu sync.Mutex // guards bad
	bad := map[string]error{}
	var group errgroup.Group
	for _, j := range ready {
		engine, ok := u.Engines[j.name]
		if !ok {
			continue
		}
		group.Go(func() error {
			err := u.take(ctx, j.name, g, before)
			if err != nil && !j.baseline {
				err = nil // it was unhealthy, or did not run, before: that is not the version's fault
			}
			if err == nil {
				err = engine.Watch(ctx, u.version(j.name, g.Bases[j.name], before), j.healthy)
			}
			if err != nil && ctx.Err() == nil {
				mu.Lock()
				defer mu.Unlock()
				bad[j.name] = err
			}
			return nil
		})
	}
	_ = group.Wait() // its functions give no errors
	return bad
}
