package firewall

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/freshet/freshet/internal/event"
)

// Bounds of a trial.
const (
	LeastTrial = 5 * time.Second
	MostTrial  = time.Hour
)

// ErrNoTrial says that nothing is on trial.
var ErrNoTrial = errors.New("no rules are on trial")

// Confirm ends the trial well: its set is the current one.
func (f *Firewall) Confirm(ctx context.Context) (int, error) {
	st, end, err := f.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer end()
	if st.Trial == nil {
		return 0, ErrNoTrial
	}
	if st.Trial.over(bootID(), f.Clock.SinceBoot()) {
		_, err := f.giveBack(ctx, st)
		return 0, errors.Join(ErrNoTrial, err)
	}
	n := st.Trial.Set
	if err := f.save(st.take(n, bootID())); err != nil {
		return 0, err
	}
	f.emit(event.FirewallConfirmed, "set", fmt.Sprint(n))
	return n, nil
}

// EndTrial gives the rules of before back once the trial's time is over; it
// waits for that. It is for a process that outlives the command that began the
// trial, where no agent runs.
func (f *Firewall) EndTrial(ctx context.Context) error {
	for {
		st, end, err := f.begin(ctx)
		if err != nil {
			return err
		}
		if st.Trial == nil {
			end()
			return nil
		}
		left := st.Trial.Until - f.Clock.SinceBoot()
		if st.Trial.over(bootID(), f.Clock.SinceBoot()) {
			_, err := f.giveBack(ctx, st)
			end()
			return err
		}
		end()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(left):
		}
	}
}

// giveBack ends a trial that nobody confirmed.
func (f *Firewall) giveBack(ctx context.Context, st State) (State, error) {
	tried := st.Trial.Set
	want := ""
	if b, err := f.build(tried); err == nil {
		want = b.set.Want
	}
	back := st.giveBack(want)
	back.Coming = tried // until the kernel has followed
	if err := f.save(back); err != nil {
		return st, err
	}
	if err := f.bring(ctx, back); err != nil {
		f.fail(err)
		return back, err
	}
	back.Coming, back.Boot = 0, bootID()
	f.emit(event.FirewallReturned, "set", fmt.Sprint(tried), "to", fmt.Sprint(back.Current))
	return back, f.save(back)
}

// Off takes all of Freshet's rules away. They stay away until somebody applies
// again.
func (f *Firewall) Off(ctx context.Context) error {
	st, end, err := f.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	return f.off(ctx, st, true)
}

func (f *Firewall) off(ctx context.Context, st State, byHand bool) error {
	had := st.Wanted()
	st.Off, st.Trial, st.Held = byHand, nil, ""
	if st.Current != 0 {
		st.Previous = st.Current
	}
	st.Current, st.Coming = 0, had
	if err := f.save(st); err != nil {
		return err
	}
	if err := f.removeAll(ctx); err != nil {
		f.fail(err)
		return err
	}
	st.Coming, st.Drift = 0, Drift{}
	if err := f.save(st); err != nil {
		return err
	}
	f.emit(event.FirewallOff)
	return f.prune(st)
}
