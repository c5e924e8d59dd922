package updater

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/freshet/freshet/internal/source"
)

const (
	// paceWindow is how long a source is waited for until its pace is judged.
	paceWindow = 5 * time.Second

	// farSlower is how many times another source must have been faster.
	farSlower = 10

	// crawl is a pace, in bytes a second, at which a source that nothing is known
	// of is worth a try, if the rest would take longer than crawlLeft.
	crawl     = 16 << 10
	crawlLeft = time.Minute

	// paceKept is how long a pace that was measured says something.
	paceKept = 6 * time.Hour

	// A file that came in less of both says nothing about its source's pace.
	paceBytes = 1 << 20
	paceTime  = 100 * time.Millisecond
)

// Pace is how fast sources gave content of late, across files and runs. Its zero
// value knows of none; it may be used by several goroutines.
type Pace struct {
	mu sync.Mutex // guards of
	of map[string]measured
}

type measured struct {
	rate float64 // bytes a second
	at   time.Time
}

func (p *Pace) set(name string, rate float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of == nil {
		p.of = map[string]measured{}
	}
	p.of[name] = measured{rate, time.Now()}
}

// rate is a source's, in bytes a second; 0: it is not known.
func (p *Pace) rate(name string) float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.of[name]
	if m.rate == 0 || time.Since(m.at) > paceKept {
		return 0
	}
	return m.rate
}

// order puts sources that gave under a tenth of what the fastest did behind the
// others, which stay in their order.
func (p *Pace) order(list []source.Source) {
	var best float64
	for _, s := range list {
		best = max(best, p.rate(s.Name()))
	}
	slow := func(s source.Source) int {
		if r := p.rate(s.Name()); r > 0 && r*farSlower < best {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(list, func(a, b source.Source) int { return slow(a) - slow(b) })
}

// going is a download at the end of a window.
type going struct {
	rate    float64       // of the window, bytes a second
	left    int64         // bytes to come
	others  []float64     // paces of the sources that can be asked in its place; 0: not known
	quarter time.Duration // of the update interval
}

// leave says why the source is left for another; "": it is not. It is a pure
// function.
func (g going) leave() string {
	needs := time.Duration(1<<63 - 1)
	if seconds := float64(g.left) / max(g.rate, 1e-9); seconds < needs.Seconds() {
		needs = time.Duration(seconds * float64(time.Second))
	}
	if len(g.others) == 0 || needs <= paceWindow {
		return ""
	}
	best, unknown := slices.Max(g.others), slices.Contains(g.others, 0)
	switch {
	case g.rate*farSlower < best:
		return fmt.Sprintf("it gives %s where another gave %s", pace(g.rate), pace(best))
	case needs > g.quarter && (unknown || best > g.rate):
		return fmt.Sprintf("at %s the rest would take a quarter of the update interval or more", pace(g.rate))
	case g.rate < crawl && needs > crawlLeft && unknown:
		return fmt.Sprintf("it gives %s, and another may give more", pace(g.rate))
	}
	return ""
}

func pace(rate float64) string {
	if rate < 10<<10 {
		return fmt.Sprintf("%.0f bytes a second", rate)
	}
	return fmt.Sprintf("%.0f KiB a second", rate/(1<<10))
}

// slowError says that a source was left for another. What came is kept.
type slowError struct{ why string }

func (e *slowError) Error() string { return "it is slow: " + e.why }

// timed is the body of a download: it measures how long its source is waited
// for, and ends the download when others are worth more. What the reader spends
// elsewhere, as on a limit of bandwidth, is not the source's.
type timed struct {
	r      io.Reader
	pace   *Pace
	name   string
	left   int64
	others func() []float64 // paces of those that can be asked in its place
	within time.Duration    // a quarter of the update interval

	waited time.Duration // in all
	came   int64
	window time.Duration // waited in this window
	bytes  int64         // that came in it
}

func (t *timed) Read(b []byte) (int, error) {
	began := time.Now()
	n, err := t.r.Read(b)
	took := time.Since(began)
	t.waited, t.window = t.waited+took, t.window+took
	t.came, t.bytes, t.left = t.came+int64(n), t.bytes+int64(n), t.left-int64(n)
	if t.window < paceWindow {
		return n, err
	}
	rate := float64(t.bytes) / t.window.Seconds()
	t.window, t.bytes = 0, 0
	t.pace.set(t.name, max(rate, 1))
	if why := (going{rate, t.left, t.others(), t.within}).leave(); why != "" && err == nil {
		return n, &slowError{why}
	}
	return n, err
}

// end keeps the pace of a download that was over before it could be judged.
func (t *timed) end() {
	if t.window == t.waited && (t.came >= paceBytes || t.came > 0 && t.waited >= paceTime) {
		t.pace.set(t.name, float64(t.came)/max(t.waited, time.Millisecond).Seconds())
	}
}
