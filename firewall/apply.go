package firewall

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/freshet/freshet/internal/clock"
	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/event"
)

// Firewall is Freshet's part of the rules of this host. Its fields are set
// before its first use. Its methods may be called by any number of goroutines
// and processes: a lock in Dir lets one at a time change anything.
type Firewall struct {
	Dir   string // STATE/firewall
	Disk  *durable.Disk
	Clock *clock.Clock
	Emit  func(event.Code, map[string]string) // nil: kept in Dir, for the next one that has it
	Keeps func() bool                         // whether what is emitted is kept now; nil: always
	Path  []string                            // folders of the host's tools; nil: the usual ones
	Wait  int                                 // seconds that a tool waits for the xtables lock; 0: 5

	mu   sync.Mutex // one change at a time in this process
	held *durable.Lock
	told string // the failure that was told last

	looks  sync.Mutex        // guards looked
	looked map[string]looked // by set
}

// Options are of one change.
type Options struct {
	DryRun  bool
	Force   bool          // also if it cuts lifelines
	Confirm time.Duration // 0: it holds at once; else on trial for so long
}

// Outcome is what a change did, or would do.
type Outcome struct {
	Changed   bool
	Set       int
	Mechanism Mechanism
	Host      Host
	Rules     int // of both families
	Addresses int
	Notes     []Note
	Cut       []string // lifelines that the new policy cuts
	Diff      []string // between the kernel and what is to stand
	Texts     []string // of a dry run: what the tools would be given
}

// lockTime is how long a change waits for another.
const lockTime = 30 * time.Second

// begin takes the lock and reads the state; end gives the lock back.
func (f *Firewall) begin(ctx context.Context) (st State, end func(), err error) {
	if os.Geteuid() != 0 {
		return st, nil, fmt.Errorf("%w: it needs root", ErrUnavailable)
	}
	f.mu.Lock()
	defer func() {
		if err != nil {
			f.mu.Unlock()
		}
	}()
	if err := f.Disk.MkdirAll(f.Dir, 0o700); err != nil {
		return st, nil, err
	}
	wait, cancel := context.WithTimeout(ctx, lockTime)
	defer cancel()
	lock, err := f.Disk.LockWait(wait, filepath.Join(f.Dir, "lock"))
	if err != nil {
		return st, nil, fmt.Errorf("another change of the firewall is going on: %w", err)
	}
	st, damaged := f.load()
	if durable.Lasting(damaged) {
		return st, nil, errors.Join(fmt.Errorf("the firewall stays as it is: %w", damaged), lock.Unlock())
	}
	f.held = lock
	end = func() {
		f.held = nil
		lock.Unlock()
		f.mu.Unlock()
	}
	if f.tells() {
		f.tellUntold()
	}
	if damaged != nil {
		f.emit(event.StateDamaged, "error", damaged.Error())
	}
	return st, end, nil
}

func (f *Firewall) emit(code event.Code, pairs ...string) {
	fields := map[string]string{}
	for i := 0; i+1 < len(pairs); i += 2 {
		fields[pairs[i]] = pairs[i+1]
	}
	if !f.tells() {
		f.keepUntold(code, fields)
		return
	}
	f.Emit(code, fields)
}

// fail tells of a failure, once as long as it stays the same.
func (f *Firewall) fail(err error) {
	if errors.Is(err, context.Canceled) {
		return // who asked for it ends, and the next one does it
	}
	if f.told != err.Error() {
		f.emit(event.FirewallFailed, "error", err.Error())
	}
	f.told = err.Error()
}

// Apply makes what is wanted stand in the kernel. If it returns nil it does,
// even after power loss, or, on trial, until the trial ends. After an error the
// rules of before stand; where even that failed, each family has the old rules
// or the new ones, and the next [Firewall.Keep] mends it.
func (f *Firewall) Apply(ctx context.Context, w Want, o Options) (Outcome, error) {
	st, end, err := f.begin(ctx)
	if err != nil {
		return Outcome{}, err
	}
	defer end()
	return f.apply(ctx, st, w, o)
}

// apply is the story of every change.
func (f *Firewall) apply(ctx context.Context, st State, w Want, o Options) (Outcome, error) {
	next, out, err := f.plan(ctx, st, w)
	if err != nil {
		return out, err
	}
	if len(out.Cut) > 0 && !o.Force {
		f.emit(event.FirewallRefused, "error", (&LockOut{out.Cut}).Error())
		return out, &LockOut{out.Cut}
	}
	if o.DryRun {
		return f.preview(ctx, next, out)
	}
	if err := f.keep(next.set, next.mat.lists); err != nil {
		return out, err
	}
	st.Last = next.set.Number
	if err := f.save(st.begin(next.set.Number)); err != nil {
		return out, err
	}
	if err := f.stand(ctx, next); err != nil {
		f.fail(err)
		return out, errors.Join(err, f.back(ctx, st))
	}
	before := st
	if o.Confirm > 0 {
		st = st.try(Trial{Set: next.set.Number, Boot: bootID(), Until: f.Clock.SinceBoot() + o.Confirm})
	} else {
		st = st.take(next.set.Number, bootID())
	}
	st.Off, st.Held = false, ""
	return out, f.settleOn(ctx, before, st, next, func() { f.tell(next, out) })
}

// settleOn saves that next, which stands and is verified, is what holds, and
// then takes away what stood before. Until that is done the change counts as
// broken off.
func (f *Firewall) settleOn(ctx context.Context, before, st State, next build, tell func()) error {
	if err := f.save(st.begin(next.set.Number)); err != nil {
		return errors.Join(err, f.back(ctx, before))
	}
	tell()
	if err := f.sweep(ctx, st, next); err != nil {
		return err
	}
	return f.save(st)
}

// plan says what is to stand. It changes nothing.
func (f *Firewall) plan(ctx context.Context, st State, w Want) (build, Outcome, error) {
	var out Outcome
	if w.Unknown != nil {
		return build{}, out, w.Unknown
	}
	if err := w.Policy.Check(); err != nil {
		return build{}, out, err
	}
	host, err := f.detect(ctx)
	if err != nil && w.Mechanism != ByNFTables {
		return build{}, out, err
	}
	backend, sets := host.Backend, true
	if w.Mechanism == ByNFTables {
		backend = NFTables
	} else {
		sets = len(w.Policy.Lists) > 0 && f.hasSets(ctx)
	}
	if _, err := f.way(backend); err != nil {
		return build{}, out, err
	}
	var lines []Lifeline
	if w.Lifelines != nil {
		lines = w.Lifelines(ctx)
	}
	before, err := f.build(st.Current)
	if durable.Lasting(err) {
		return build{}, out, err
	}
	// Else nothing was before, or it is damaged: then nothing of it is kept.
	cut := f.newlyCut(w.Policy, st, lines)
	lists, setLists, notes := f.material(w, before, lines)
	next := build{
		set: Set{
			Number: st.Last + 1, Made: f.Clock.Now().UTC(), Want: w.hash(), Policy: w.Policy, Lists: setLists,
			Mechanism: w.Mechanism, Backend: backend, Sets: sets && backend != NFTables,
		},
		mat: materialOf(lists, sets),
	}
	out = Outcome{Changed: true, Cut: cut, Set: next.set.Number, Mechanism: w.Mechanism, Host: host, Notes: notes, Rules: next.lines(), Addresses: next.addresses()}
	out.Host.Backend = backend
	if !sets && out.Addresses > maxChained {
		return next, out, fmt.Errorf("%d addresses in block lists need ipset, which is not installed; without it %d are possible", out.Addresses, maxChained)
	}
	return next, out, nil
}

// newlyCut says which lifelines a policy cuts that the current set does not.
func (f *Firewall) newlyCut(p Policy, st State, lines []Lifeline) []string {
	cut := p.Cut(lines)
	if before, err := f.build(st.Current); err == nil && st.Current > 0 {
		already := before.set.Policy.Cut(lines)
		cut = slices.DeleteFunc(cut, func(c string) bool { return slices.Contains(already, c) })
	}
	return cut
}

// preview is a dry run's end.
func (f *Firewall) preview(ctx context.Context, next build, out Outcome) (Outcome, error) {
	way, err := f.way(next.set.Backend)
	if err != nil {
		return out, err
	}
	// A set that was just made stands nowhere: what differs is all of it.
	if out.Diff, err = way.differs(ctx, next, false); err != nil {
		return out, err
	}
	if next.set.Backend == NFTables {
		out.Texts = []string{nftText(nftChains(next.set.Policy, next.set.Number, next.mat), nil)}
		return out, nil
	}
	for _, t := range way.(*xtWay).tools {
		present, err := way.(*xtWay).present(t)
		if err != nil {
			return out, err
		}
		out.Texts = append(out.Texts, Compile(next.set.Policy, next.set.Number, t.fam, next.mat).Restore(present))
	}
	return out, nil
}

// stand makes a set stand in its backend, and verifies it. What stands already
// is not touched.
func (f *Firewall) stand(ctx context.Context, b build) error {
	way, err := f.way(b.set.Backend)
	if err != nil {
		return err
	}
	d, err := way.differs(ctx, b, true)
	if err == nil && len(d) == 0 {
		return nil
	}
	if err := way.install(ctx, b); err != nil {
		return err
	}
	if d, err = way.differs(ctx, b, false); err != nil {
		return err
	}
	if len(d) > 0 {
		return fmt.Errorf("the kernel does not hold what it was given: %s", strings.Join(d[:min(len(d), 3)], "; "))
	}
	return nil
}

// back makes what is to stand according to st do so, after a change failed.
func (f *Firewall) back(ctx context.Context, st State) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commandTime)
	defer cancel()
	if err := f.bring(ctx, st); err != nil {
		return fmt.Errorf("going back to the rules of before: %w", err)
	}
	st.Coming = 0
	return f.save(st)
}

// bring makes what is to stand according to st do so, in one backend alone.
func (f *Firewall) bring(ctx context.Context, st State) error {
	if st.Wanted() == 0 {
		return f.removeAll(ctx)
	}
	b, err := f.build(st.Wanted())
	if err != nil {
		return err
	}
	if err := f.stand(ctx, b); err != nil {
		return err
	}
	return f.sweep(ctx, st, b)
}

// sweep removes what other backends hold of Freshet's: the new rules stand and
// are verified. Then sets and files that nothing needs.
func (f *Firewall) sweep(ctx context.Context, st State, b build) error {
	var errs []error
	for _, other := range []Backend{IPTablesNFT, IPTablesLegacy, NFTables} {
		if other != b.set.Backend {
			errs = append(errs, f.clear(ctx, other))
		}
	}
	if errors.Join(errs...) == nil {
		keep := b.mat.sets()
		if !b.set.Sets {
			keep = nil
		}
		errs = append(errs, f.sweepSets(ctx, keep))
	}
	return errors.Join(append(errs, f.prune(st))...)
}

// clear takes Freshet's rules out of a backend, which may not be there at all.
func (f *Firewall) clear(ctx context.Context, b Backend) error {
	if b == IPTablesLegacy && !slices.Contains(append(legacyTables(V4), legacyTables(V6)...), table) {
		return nil // to look would make the kernel load its tables
	}
	way, err := f.way(b)
	if errors.Is(err, ErrUnavailable) {
		return nil
	}
	if err == nil {
		err = way.remove(ctx)
	}
	return err
}

func (f *Firewall) removeAll(ctx context.Context) error {
	var errs []error
	for _, b := range []Backend{IPTablesNFT, IPTablesLegacy, NFTables} {
		errs = append(errs, f.clear(ctx, b))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return f.sweepSets(ctx, nil)
}

// tell says what a change brought.
func (f *Firewall) tell(b build, out Outcome) {
	f.told = ""
	f.emit(event.FirewallApplied, "set", fmt.Sprint(b.set.Number), "backend", string(b.set.Backend),
		"rules", fmt.Sprint(out.Rules), "addresses", fmt.Sprint(out.Addresses))
	for _, n := range out.Notes {
		code := event.FirewallListChanged
		if n.Wrong {
			code = event.FirewallListRefused
		}
		f.emit(code, "base", n.Base, "error", n.Text)
	}
	if out.Host.Both {
		f.emit(event.FirewallBothVariants, "backend", string(b.set.Backend))
	}
}

// bootID names this boot of the machine.
func bootID() string {
	data, err := readUpTo("/proc/sys/kernel/random/boot_id", 64)
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(data))
}
