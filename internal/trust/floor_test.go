package trust_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/clock"
	"github.com/freshet/freshet/internal/trust"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// sign has the publisher sign a timestamp that lives for a week by a clock.
func (e *endpoint) sign(at time.Time) {
	e.repo.Timestamp.Signed.UnrecognizedFields = map[string]any{"x-freshet-signed-at": at.Format(time.RFC3339)}
	e.repo.Timestamp.Signed.Expires = at.Add(7 * day)
	e.repo.Snapshot.Signed.Expires = at.Add(14 * day)
	e.repo.Publish(snapshot, timestamp)
}

// synced gives the endpoint's clock its time and whether it is known to be right.
func (e *endpoint) synced(at time.Time, sync clock.Sync) {
	e.now = at
	e.Clock = &clock.Clock{Wall: e.clock, Synced: func() clock.Sync { return sync }}
}

// TestClocks is every clock of an endpoint against every clock of its publisher. The
// true time is a day after start, when both were right and the endpoint updated.
// "ahead" signed once 30 days ahead; "fixed" did too, was seen by the endpoint, and
// signs by the true time again.
func TestClocks(t *testing.T) {
	const (
		right, behind, ahead = "right", "behind", "ahead"
		fixed                = "fixed"
	)
	truth, wrong := start.Add(day), start.Add(30*day)
	clocks := map[string]time.Time{right: truth, behind: truth.AddDate(-3, 0, 0), ahead: truth.AddDate(0, 6, 0)}
	type verdict struct {
		now     time.Time // in the end
		expired bool      // the last refresh fails so
	}
	ok, late := func(now time.Time) verdict { return verdict{now, false} }, func(now time.Time) verdict { return verdict{now, true} }
	table := map[string]map[string]map[clock.Sync]verdict{
		right: {
			right: {good: ok(truth), bad: ok(truth)},
			ahead: {good: ok(truth), bad: ok(wrong)},
			fixed: {good: ok(truth), bad: late(wrong)},
		},
		// A clock three years behind that says it is synchronised is believed: that is
		// what the word is worth. Without it the signed time is the present.
		behind: {
			right: {good: ok(clocks[behind]), bad: ok(truth)},
			ahead: {good: ok(clocks[behind]), bad: ok(wrong)},
			fixed: {good: ok(clocks[behind]), bad: late(wrong)},
		},
		// Nothing tells a clock that is ahead from a source that stands still.
		ahead: {
			right: {good: late(clocks[ahead]), bad: late(clocks[ahead])},
			ahead: {good: late(clocks[ahead]), bad: late(clocks[ahead])},
			fixed: {good: late(clocks[ahead]), bad: late(clocks[ahead])},
		},
	}
	cells := 0
	for own, publishers := range table {
		for publisher, syncs := range publishers {
			for sync, want := range syncs {
				cells++
				t.Run(fmt.Sprintf("clock %s and %v, publisher %s", own, sync, publisher), func(t *testing.T) {
					e := newEndpoint(t)
					e.sign(start)
					e.mustRefresh(e.repo)
					e.synced(clocks[own], sync)
					switch publisher {
					case right:
						e.sign(truth)
					case ahead:
						e.sign(wrong)
					case fixed:
						e.sign(wrong)
						_, _ = e.refresh(e.repo) // which fails where the clock is ahead
						e.sign(truth)
					}
					_, err := e.refresh(e.repo)
					if expired := trust.KindOf(err) == trust.Expired; expired != want.expired || err != nil && !expired {
						t.Errorf("refresh: %v; want expired: %v", err, want.expired)
					}
					if got := e.Client.Now(); !got.Equal(want.now) {
						t.Errorf("now is %s, want %s", got, want.now)
					}
				})
			}
		}
	}
	if cells != 18 {
		t.Errorf("%d cells, want 18", cells)
	}
}

const (
	good = clock.Synchronised
	bad  = clock.Unsynchronised
)

// floor is what a next process takes the floor for.
func (e *endpoint) floor() time.Time {
	e.t.Helper()
	v, err := e.Load()
	if err != nil {
		e.t.Fatal(err)
	}
	return v.Floor()
}

func (e *endpoint) wantFloor(when string, want time.Time) {
	e.t.Helper()
	if got := e.floor(); !got.Equal(want) {
		e.t.Errorf("%s the floor is %s, want %s", when, got, want)
	}
}

// A synchronised endpoint that passed over a time in the future does not take it
// for the present either at its next boot, before its clock is synchronised.
func TestWhatDidNotRaiseIsNoFloorAfterABoot(t *testing.T) {
	e := newEndpoint(t)
	e.sign(start)
	e.mustRefresh(e.repo)
	e.synced(start.Add(day), good)
	e.sign(start.Add(30 * day))
	e.mustRefresh(e.repo)
	e.synced(start.Add(day), bad)
	e.wantFloor("at a boot", start)
	e.mustRefresh(e.repo) // it is asked again, of which nothing new is learnt but by this clock
	e.synced(start.Add(2*day), good)
	e.sign(start.Add(2 * day))
	e.mustRefresh(e.repo)
	e.synced(start.Add(-365*day), bad)
	e.wantFloor("once the publisher is right again", start.Add(2*day))
	e.sign(start.Add(3 * day))
	e.mustRefresh(e.repo)
	e.wantFloor("and goes on", start.Add(3*day))
}

// What raised the present is lowered by a synchronised clock and a newer signature,
// in one run, and by neither alone.
func TestRecoveryOfTheFloorByASynchronisedClock(t *testing.T) {
	e := newEndpoint(t)
	e.synced(start.Add(day), bad)
	e.sign(start.Add(30 * day))
	e.mustRefresh(e.repo)
	e.wantFloor("raised:", start.Add(30*day))
	e.sign(start.Add(25 * day)) // earlier, and not expired by what raised it
	e.mustRefresh(e.repo)
	e.wantFloor("after an earlier signature alone", start.Add(30*day))
	e.sign(start.Add(day))
	_, err := e.refresh(e.repo)
	wantKind(t, err, trust.Expired, timestamp)
	for _, says := range []string{"2026-03-31T12:00:00Z", "2026-03-02T12:00:00Z", "NTP", "replace the key of timestamp"} {
		if !strings.Contains(err.Error(), says) {
			t.Errorf("it does not say %q but %v", says, err)
		}
	}
	e.synced(start.Add(day), good)
	e.wantFloor("of a synchronised clock alone", start.Add(30*day))
	e.mustRefresh(e.repo)
	e.wantFloor("recovered", start.Add(day))
	e.synced(start.Add(day), bad)
	e.mustRefresh(e.repo)
	e.wantFloor("at the next boot", start.Add(day))
}

// New keys of the timestamp void the floor in the run that finds them, whatever
// the clock: also one that an exception keeps.
func TestNewKeysVoidTheFloorInOneRun(t *testing.T) {
	for _, kept := range []bool{false, true} {
		e := newEndpoint(t)
		e.synced(start.Add(day), bad)
		e.sign(start.Add(30 * day))
		e.mustRefresh(e.repo)
		if kept {
			e.sign(start.Add(25 * day))
			e.mustRefresh(e.repo)
		}
		e.wantFloor("before", start.Add(30*day))
		e.repo.RotateKeys(timestamp)
		e.repo.Publish(metadata.ROOT)
		e.sign(start.Add(day))
		e.recovered = true
		e.mustRefresh(e.repo)
		e.wantFloor("after", start.Add(day))
	}
}

// A source that stands still gains nothing on a board without a battery: whatever
// it gives of what was signed, the floor does not fall and what is expired by it
// stays so.
func TestASourceThatHoldsBackLowersNothing(t *testing.T) {
	e := newEndpoint(t)
	e.synced(start, bad)
	e.sign(start)
	e.mustRefresh(e.repo)
	old := e.repo.Mirror()
	e.sign(start.Add(20 * day))
	e.mustRefresh(e.repo)
	e.synced(time.Unix(0, 0), bad)
	_, err := e.refresh(old)
	wantKind(t, err, trust.Behind, timestamp)
	e.wantFloor("held back:", start.Add(20*day))
	if got := e.Client.Now(); !got.Equal(start.Add(20 * day)) {
		t.Errorf("now is %s", got)
	}
}

// A floor that cannot be read is told and counts as none: the timestamp's is taken.
func TestADamagedFloor(t *testing.T) {
	e := newEndpoint(t)
	e.synced(start, good)
	e.sign(start.Add(30 * day))
	e.mustRefresh(e.repo)
	e.wantFloor("whole", time.Time{})
	e.damaged = true
	if err := os.WriteFile(filepath.Join(e.Dir, "floor"), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	e.wantFloor("damaged", start.Add(30*day))
	v := e.mustRefresh(e.repo)
	if len(v.Notes()) == 0 || trust.KindOf(v.Notes()[0]) != trust.Damaged {
		t.Errorf("it is not told: %v", v.Notes())
	}
	if got := e.Client.Now(); !got.Equal(start) {
		t.Errorf("the synchronised clock says %s, now is %s", start, got)
	}
}
