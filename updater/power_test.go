package updater_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/freshet/freshet/internal/durable/crashtest"
	"github.com/freshet/freshet/modules"
	"github.com/freshet/freshet/updater"
)

// acts are what is cut short.
func (p *power) acts() map[string]act {
	start := p.start
	return map[string]act{
		"a repair":       {start: start, do: repair, list: 3, spoil: spoilt},
		"a first update": {do: update, list: 3},
		"an update":      {start: start, do: update, list: 3, every: true},
		"an update that an engine does not bear": {
			start: start, do: update, list: 2,
			engine: &modules.Engine{Base: "list", HealthCommand: []string{"/bin/true"}, TookCommand: []string{"/bin/false"}},
		},
		"a rollback": {start: start, list: 3, do: func(ctx context.Context, u *updater.Updater) error {
			_, err := u.RollBack(ctx, nil)
			return err
		}},
	}
}

// stop does the act on m until its n-th disk step, and gives what a kill then
// leaves, with the step; nil where it ended before. m is used up.
func (p *power) stop(what string, m *crashtest.Model, a act, n int) (killed *crashtest.Model, step string) {
	p.t.Helper()
	defer func() { p.end(m) }()
	seen := 0
	disk := m.Disk(crashtest.Hooks{Before: func(op, path string) error {
		if seen++; seen < n {
			return nil
		}
		if seen == n {
			killed, step = p.kill(m), fmt.Sprintf("step %d (%s %s)", n, op, strings.TrimPrefix(path, filepath.Dir(m.Dir)+"/"))
		}
		return errEnded
	}})
	if err := p.run(m.Dir, disk, a); killed == nil {
		if err != nil && a.engine == nil {
			p.t.Fatalf("not stopped: %v", err)
		}
		p.reported(a)
		// The end is a moment too: what was reported must be kept.
		p.recovers(what+"then a power cut after the end", p.cut(m, nil), p.top.unless(a), a)
	}
	return killed, step
}

// unless is the trust that an act leaves that ended well.
func (m marks) unless(a act) marks {
	if a.list != 3 || a.start == "" || a.engine != nil {
		return m
	}
	return nil
}

// TestPowerCutAtAnyDiskStep stops each act at each disk step. What a power cut
// then leaves must recover, as must what it leaves that comes while the next
// process is at work again on what the first one left in the page cache.
func TestPowerCutAtAnyDiskStep(t *testing.T) {
	p := newPower(t)
	for name, a := range p.acts() {
		t.Run(name, func(t *testing.T) {
			q := *p
			q.clones = 0
			q.t, q.tmp, q.random = t, t.TempDir(), p.sequence(t.Name())
			floor := marks{}
			if a.start != "" {
				floor = p.marks(a.start)
			}
			steps, twice := 0, 0
			for n := 1; ; n++ {
				killed, step := q.stop("", q.begin(a), a, n)
				if killed == nil {
					break
				}
				steps++
				if a.every && q.chance(3) || q.chance(8) {
					q.cuts(step, killed, floor, a, q.others())
				}
				if q.chance(10) {
					twice += q.again(step, killed, floor, a)
				}
				q.end(killed)
			}
			t.Logf("%d steps, %d of them stopped twice, %d clones", steps, twice, q.clones)
			if steps < 20 {
				t.Errorf("only %d steps were seen", steps)
			}
		})
	}
}

// chance is true in a soak, and else once in k cases.
func (p *power) chance(k int) bool { return soak || p.random.IntN(k) == 0 }

// others is how many clones besides the worst are looked at.
func (p *power) others() int {
	switch {
	case soak:
		return 4
	case p.chance(4):
		return 1
	}
	return 0
}

// cuts has the power cut at a moment, and the endpoint recover: from the worst
// case, and from some others.
func (p *power) cuts(what string, m *crashtest.Model, floor marks, a act, others int) {
	p.t.Helper()
	p.recovers(what+", then a power cut", p.cut(m, nil), floor, a)
	for range others {
		seed := p.random.Uint64()
		p.recovers(fmt.Sprintf("%s, then a power cut with seed %d", what, seed), p.cut(m, rand.New(rand.NewPCG(seed, 0))), floor, a)
	}
}

// again goes on from a process that was killed, and stops the next one too, at
// each step in a soak and at one by chance else. It gives how often.
func (p *power) again(what string, killed *crashtest.Model, floor marks, a act) int {
	p.t.Helper()
	next := a
	if a.spoil == nil {
		next.do = update
	}
	stopped := 0
	for m := 1; ; m++ {
		at := m
		if !soak {
			at = 1 + p.random.IntN(120)
		}
		second, step := p.stop(what+", ", p.kill(killed), next, at)
		if second == nil {
			return stopped
		}
		stopped++
		p.cuts(fmt.Sprintf("%s, then %s", what, step), second, floor, a, 0)
		p.end(second)
		if !soak {
			return stopped
		}
	}
}
