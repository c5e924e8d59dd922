package modules

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/freshet/freshet/internal/clamd"
	"github.com/freshet/freshet/internal/clock"
	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/settings"
)

// ClamAV is the Kind of a clamd on this machine.
//
// A version is tried by clamscan with all that clamd would then have, delivered
// into clamd's folder with a marker (see marker), and told by RELOAD. clamd uses
// it when it detects the marker. It is well while it gives right verdicts on the
// samples: one that has lost its engine answers PING, and nothing else.
type ClamAV struct {
	base     string
	to       string // clamd's folder
	stateDir string
	settings settings.ClamAV
	timeout  time.Duration // for clamd to use a version
	forTry   time.Duration // for clamscan
	samples  []sample
	client   clamd.Client
	disk     *durable.Disk // nil: the real one
	clock    *clock.Clock  // nil: the real one

	mu      sync.Mutex      // guards what follows
	excused map[string]bool // samples that clamd judged wrongly before the switch
	ran     bool            // clamd gave verdicts before the switch
	silent  error           // why it did not
	took    string          // the marker that it detected
}

func newClamAV(b settings.Base, stateDir string) *ClamAV {
	return &ClamAV{
		base: b.Name, to: b.Deliver.To, stateDir: stateDir, settings: *b.ClamAV, timeout: time.Duration(b.Timeout), forTry: time.Duration(b.TryTimeout),
		samples: samplesOf(b.Samples), client: clamd.Client{Socket: b.ClamAV.Socket},
	}
}

const (
	pollEvery   = 250 * time.Millisecond
	againAfter  = 10 * time.Second // then twice as long each time
	mutesToKnow = 3                // scans in a row without a verdict, of a clamd without an engine
)

// Take has clamd read its folder, which holds v, and returns when it detects
// v's marker and judges the samples right.
func (c *ClamAV) Take(ctx context.Context, v Version) error {
	m := c.marker()
	if m.Dir != filepath.Base(v.Dir) {
		return fmt.Errorf("version %s is not in %s: clamd goes on with what it has", v.Number, c.to)
	}
	limited, stop := context.WithTimeout(ctx, c.timeout)
	defer stop()
	err := c.load(limited, m)
	if err == nil {
		err = c.judge(limited)
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, errKept):
		return &Veto{"clamd", "take", fmt.Sprintf("it answers, and does not use version %s after %s", v.Number, c.timeout)}
	case limited.Err() != nil:
		return &TimeoutError{Step: "took", Program: "clamd", After: c.timeout, Cause: fmt.Errorf("it does not use version %s, or gives no verdicts: %w", v.Number, err)}
	}
	return err
}

// errKept says that clamd gave verdicts to the end, without the version: a list that
// it cannot load is dropped without a word, and lies in its folder for its next start.
var errKept = errors.New("clamd goes on without the version")

// load has clamd read its folder until it detects the marker. The error is errKept
// if it answered as before until ctx ended; one that does not answer is not judged.
func (c *ClamAV) load(ctx context.Context, m marker) error {
	if err := c.tell(ctx, m); err != nil {
		return err
	}
	mute, answers := 0, false
	again, next := againAfter, c.clock.Awake()+againAfter
	for {
		has, err := c.detects(ctx, m)
		switch {
		case has:
			return c.confirmed(m)
		case ctx.Err() != nil && answers:
			return errKept
		case ctx.Err() != nil:
			return err
		case errors.Is(err, clamd.ErrNoVerdict), errors.Is(err, clamd.ErrAbsent):
			mute++
		default: // without the marker, or too busy to answer in time
			mute = 0
		}
		answers = err == nil
		if mute == mutesToKnow {
			return &Veto{"clamd", "take", fmt.Sprintf("with it there are no verdicts: %v", err)}
		}
		// clamd forgets a RELOAD that comes while it is reading already, which
		// it may have begun before the files were in place.
		if now := c.clock.Awake(); now >= next {
			_ = c.client.Reload(ctx)
			again *= 2
			next = now + again
		}
		if err := wait(ctx, pollEvery); err != nil && answers {
			return errKept
		} else if err != nil {
			return err
		}
	}
}

// tell sends RELOAD, or starts a clamd anew that RELOAD cannot help: without
// ConcurrentDatabaseReload one bad file costs it its engine for good.
func (c *ClamAV) tell(ctx context.Context, m marker) error {
	has, err := c.detects(ctx, m)
	for i := 1; i < mutesToKnow && errors.Is(err, clamd.ErrNoVerdict); i++ {
		if err := wait(ctx, pollEvery); err != nil {
			return err
		}
		has, err = c.detects(ctx, m)
	}
	switch {
	case has: // it was started since, or looked by itself
		return nil
	case errors.Is(err, clamd.ErrNoVerdict), errors.Is(err, ErrNotRunning) && c.ranBefore():
		return c.startAnew(ctx)
	case errors.Is(err, ErrNotRunning):
		return err
	}
	if err := c.client.Reload(ctx); err != nil {
		return fmt.Errorf("telling clamd: %w", err)
	}
	return nil
}

// Reread has clamd read its folder again, if it runs.
func (c *ClamAV) Reread(ctx context.Context) error {
	if !clamdRuns() {
		return ErrNotRunning
	}
	err := c.client.Reload(ctx)
	if errors.Is(err, clamd.ErrAbsent) {
		err = ErrNotRunning
	}
	return err
}

func (c *ClamAV) startAnew(ctx context.Context) error {
	out := &lastBytes{}
	p := process{Args: c.settings.Restart, Timeout: c.timeout, Out: out, Leaves: true}
	if _, err := p.run(ctx); err != nil {
		return fmt.Errorf("clamd gives no verdicts, and starting it again with %s does not work: %w%s",
			p.Args[0], err, said(out.String()))
	}
	for {
		err := c.client.Ping(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		if err := wait(ctx, pollEvery); err != nil {
			return err
		}
	}
}

// detects says whether clamd has read the marker. An error is no answer.
func (c *ClamAV) detects(ctx context.Context, m marker) (bool, error) {
	if !clamdRuns() {
		return false, fmt.Errorf("%w: there is no process clamd", ErrNotRunning)
	}
	v, err := c.client.Scan(ctx, strings.NewReader(m.content(c.base)))
	if errors.Is(err, clamd.ErrAbsent) {
		err = errors.Join(ErrNotRunning, err)
	}
	return err == nil && strings.HasPrefix(v.Found, m.signature(c.base)), err
}

// Check asks for verdicts on the samples, and on the marker of what clamd has
// taken.
func (c *ClamAV) Check(ctx context.Context, _ Version) error {
	if err := c.silentBefore(); err != nil {
		return err
	}
	if m := c.marker(); c.hasTaken(m) {
		has, err := c.detects(ctx, m)
		if err != nil {
			return err
		}
		if !has {
			return errors.New("clamd uses other signatures than those it took")
		}
	} else if !clamdRuns() {
		return ErrNotRunning
	}
	return c.judge(ctx)
}

// judge compares clamd's verdicts on the samples with the right ones.
func (c *ClamAV) judge(ctx context.Context) error {
	wrong, err := c.verdicts(ctx)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.samples {
		if reason := wrong[s.name]; reason != "" && !c.excused[s.name] {
			return &Veto{"clamd", "samples", reason}
		}
	}
	return nil
}

// verdicts gives what is wrong with the verdicts, by the names of the samples.
func (c *ClamAV) verdicts(ctx context.Context) (map[string]string, error) {
	wrong := map[string]string{}
	for _, s := range c.samples {
		in, err := s.open()
		if err != nil {
			return nil, err
		}
		v, err := c.client.Scan(ctx, in)
		in.Close()
		if err != nil {
			return nil, err
		}
		if reason := s.wrong(v.Found); reason != "" {
			wrong[s.name] = reason
		}
	}
	return wrong, nil
}

// before notes what clamd makes of the samples without the new version: what
// was wrong then is not its fault.
func (c *ClamAV) before(ctx context.Context) {
	if !clamdRuns() {
		return
	}
	wrong, err := c.verdicts(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ran, c.silent = err == nil, err
	c.excused = map[string]bool{}
	for name := range wrong {
		c.excused[name] = true
	}
}

func (c *ClamAV) ranBefore() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ran
}

func (c *ClamAV) silentBefore() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.silent
}

func (c *ClamAV) hasTaken(m marker) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.took != "" && c.took == m.Now
}

func (c *ClamAV) confirmed(m marker) error {
	c.mu.Lock()
	c.took, c.silent = m.Now, nil
	c.mu.Unlock()
	return c.settle(m)
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}
