package firewall

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/freshet/freshet/internal/durable"
	"github.com/freshet/freshet/internal/event"
)

// Keep is what an agent calls at its start, after a change of anything that is
// wanted, and from time to time: it ends a trial whose time is over, mends what
// a change that was broken off left, applies what is newly wanted, and looks
// for what others did. next is when to call again at the latest; 0: as usual.
func (f *Firewall) Keep(ctx context.Context, w Want) (next time.Duration, err error) {
	st, end, err := f.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer end()
	if st, err = f.settle(ctx, st); err != nil {
		if _, lost := f.build(st.Wanted()); lost == nil || durable.Lasting(lost) {
			return 0, err
		}
		// What is to stand cannot be read any more: it is made anew.
	}
	if st, err = f.undo(ctx, st, w.Undo); err != nil {
		return 0, err
	}
	if st.Trial != nil {
		_, err := f.drifted(ctx, st, w)
		return max(st.Trial.Until-f.Clock.SinceBoot(), time.Millisecond), err
	}
	switch {
	case !w.Enabled && (st.Current != 0 || st.Coming != 0):
		return 0, f.off(ctx, st, false)
	case !w.Enabled || st.Off:
		return 0, nil
	}
	if st.Held == "" && w.Automatic && f.isNew(ctx, st, w) {
		_, err := f.apply(ctx, st, w, Options{})
		return 0, f.refuse(st, w, err)
	}
	return f.drifted(ctx, st, w)
}

// undo sets right what a version did that was taken back at a time.
func (f *Firewall) undo(ctx context.Context, st State, at time.Time) (State, error) {
	if !at.After(st.Undone) {
		return st, nil
	}
	_, lost := f.build(st.Wanted())
	if durable.Lasting(lost) {
		return st, lost
	}
	if lost == nil {
		d, b, err := f.difference(ctx, st, true)
		if err != nil {
			return st, err
		}
		if len(d) > 0 {
			if err := f.stand(ctx, b); err != nil {
				f.fail(err)
				return st, err
			}
			st.Drift.end()
			f.emit(event.FirewallRepaired, "set", fmt.Sprint(b.set.Number))
		}
	}
	st.Undone = at
	return st, f.save(st)
}

// refuse keeps in mind what cannot be applied, so that it is not tried again
// and again: until something else is wanted, or somebody applies it.
func (f *Firewall) refuse(st State, w Want, err error) error {
	var cut *LockOut
	if errors.As(err, &cut) {
		st.Returned = w.hash()
		return errors.Join(err, f.save(st))
	}
	return err
}

// isNew says whether something else is wanted than what stands.
func (f *Firewall) isNew(ctx context.Context, st State, w Want) bool {
	if w.Unknown != nil || w.hash() == st.Returned {
		return false
	}
	if st.Current == 0 {
		return true
	}
	b, err := f.build(st.Current)
	if err != nil || b.set.Want != w.hash() {
		return true
	}
	if w.Mechanism == ByNFTables || w.Automatic && f.stays(ctx, b) {
		return false
	}
	host, err := f.detect(ctx)
	return err == nil && !host.Both && host.Backend != b.set.Backend
}

// stays says whether the variant that a set stands in is still the one to use,
// without a look at all tables: its tools are there.
func (f *Firewall) stays(_ context.Context, b build) bool {
	_, ok := f.toolsOf(b.set.Backend, V4)
	return ok
}

// settle ends what a process that died, or a boot, left open: each family is
// brought to the set that is to stand.
func (f *Firewall) settle(ctx context.Context, st State) (State, error) {
	if st.Trial != nil && st.Trial.over(bootID(), f.Clock.SinceBoot()) {
		return f.giveBack(ctx, st)
	}
	if st.Coming == 0 && (st.Boot == bootID() || st.Wanted() == 0) {
		return st, nil
	}
	if err := f.bring(ctx, st); err != nil {
		f.fail(err)
		return st, err
	}
	st.Coming, st.Boot = 0, bootID()
	return st, f.save(st)
}

// Restore brings the kernel to the set that is to stand, as at boot. It needs
// neither network nor settings.
func (f *Firewall) Restore(ctx context.Context) (int, error) {
	st, end, err := f.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer end()
	if st.Trial != nil && st.Trial.over(bootID(), f.Clock.SinceBoot()) {
		st, err = f.giveBack(ctx, st)
		return st.Current, err
	}
	if st.Wanted() == 0 && st.Coming == 0 {
		return 0, nil
	}
	if err := f.bring(ctx, st); err != nil {
		return st.Wanted(), err
	}
	st.Coming, st.Boot = 0, bootID()
	return st.Wanted(), f.save(st)
}

// Repairs are bounded: more than maxRepairs in an hour are a fight, which
// nobody wins. Each waits longer than the one before.
const (
	maxRepairs  = 5
	firstPause  = 30 * time.Second
	repairsKept = time.Hour
)

// drifted looks for what others did to the rules, says so once, and sets it
// right if that is wanted.
func (f *Firewall) drifted(ctx context.Context, st State, w Want) (time.Duration, error) {
	if st.Wanted() == 0 {
		return 0, nil
	}
	d, b, err := f.difference(ctx, st, false)
	if err != nil {
		return 0, err
	}
	before := st.Drift
	now := f.Clock.Now()
	st.Drift.Repairs = slices.DeleteFunc(slices.Clone(before.Repairs), func(t time.Time) bool {
		return now.Sub(t) > repairsKept || t.After(now)
	})
	if len(d) == 0 {
		if before.Told == "" && len(st.Drift.Repairs) == len(before.Repairs) {
			return 0, nil
		}
		st.Drift.end()
		return 0, f.save(st)
	}
	if told(d) != before.Told {
		st.Drift.see(d, now)
		f.emit(event.FirewallDrift, "difference", shortened(d))
	}
	if !w.Repair {
		return 0, f.save(st)
	}
	return f.setRight(ctx, st, b, now)
}

func (f *Firewall) setRight(ctx context.Context, st State, b build, now time.Time) (time.Duration, error) {
	n := len(st.Drift.Repairs)
	if n >= maxRepairs {
		if !st.Drift.GaveUp {
			st.Drift.GaveUp = true
			f.emit(event.FirewallFight, "times", fmt.Sprint(n))
		}
		return 0, f.save(st)
	}
	if n > 0 {
		if rest := firstPause<<(n-1) - now.Sub(st.Drift.Repairs[n-1]); rest > 0 {
			return rest, f.save(st)
		}
	}
	st.Drift.Repairs = append(st.Drift.Repairs, now)
	if err := f.save(st); err != nil {
		return 0, err
	}
	if err := f.stand(ctx, b); err != nil {
		f.fail(err)
		return 0, err
	}
	f.emit(event.FirewallRepaired, "set", fmt.Sprint(b.set.Number))
	st.Drift.end()
	return 0, f.save(st)
}

// difference is that between what is to stand and what does.
func (f *Firewall) difference(ctx context.Context, st State, fresh bool) ([]string, build, error) {
	b, err := f.build(st.Wanted())
	if err != nil {
		return nil, b, err
	}
	way, err := f.way(b.set.Backend)
	if err != nil {
		return nil, b, err
	}
	d, err := way.differs(ctx, b, fresh)
	return d, b, err
}

// Missing says of a line of a difference that something of Freshet's is gone, or
// another, and not only that something was added.
func Missing(d string) bool {
	if where, what, ok := strings.Cut(d, ": "); ok && !strings.HasPrefix(where, "- ") {
		d = what
	}
	return !strings.HasPrefix(d, "+ ")
}

func told(d []string) string {
	sum := sha256.Sum256([]byte(strings.Join(d, "\n")))
	return hex.EncodeToString(sum[:8])
}

// shortened is a difference for an event: an operator sees all of it by
// freshet firewall check.
func shortened(d []string) string {
	const most = 5
	text := strings.Join(d[:min(len(d), most)], "; ")
	if len(d) > most {
		text += fmt.Sprintf("; and %d more", len(d)-most)
	}
	return text
}
