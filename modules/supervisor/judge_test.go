package supervisor_test

import (
	"testing"
	"time"

	"github.com/freshet/freshet/modules/supervisor"
	"github.com/freshet/freshet/rollback"
)

// seen is an observation at a time, of checks that are well but those named.
func seen(at time.Duration, memory int64, cpu time.Duration, failing ...string) supervisor.Observation {
	o := supervisor.Observation{At: at, Memory: memory, CPU: cpu}
	for _, name := range []string{"api", "settings", "bases", "network", "firewall"} {
		c := supervisor.Check{Name: name, OK: true}
		for _, f := range failing {
			if f == name {
				c.OK, c.Text = false, "it fails"
			}
		}
		o.Checks = append(o.Checks, c)
	}
	return o
}

func TestTheJudge(t *testing.T) {
	const start = time.Hour
	base := supervisor.BaselineOf([]supervisor.Observation{
		seen(start-20*time.Second, 30<<20, 0, "network"), seen(start-10*time.Second, 40<<20, time.Second, "network"),
	})
	always := func(failing ...string) func(int) supervisor.Observation {
		return func(i int) supervisor.Observation {
			return seen(start+time.Duration(i)*5*time.Second, 40<<20, time.Duration(i)*time.Second/2, failing...)
		}
	}
	for _, row := range []struct {
		name  string
		at    func(i int) supervisor.Observation // every five seconds
		word  supervisor.Word
		check string
		after time.Duration // of the verdict
	}{
		{"what is well is confirmed after gate and soak", always(), supervisor.Confirm, "", 11 * time.Minute},
		{"what failed before the switch is no regression", always("network"), supervisor.Confirm, "", 11 * time.Minute},
		{"three failures in a row of one check lead back", always("settings"), supervisor.Back, "settings", 10 * time.Second},
		{"a firewall that is not as it should be leads back", always("firewall"), supervisor.Back, "firewall", 10 * time.Second},
		{"a check that fails now and then is borne", func(i int) supervisor.Observation {
			if i%3 == 1 {
				return always("api")(i)
			}
			return always()(i)
		}, supervisor.Confirm, "", 11 * time.Minute},
		{"twice the memory is borne, and more is not", func(i int) supervisor.Observation {
			return seen(start+time.Duration(i)*5*time.Second, int64(40+10*i)<<20, 0)
		}, supervisor.Back, "memory", 60 * time.Second},
		{"what is not observed is not healthy, though that was so before", func(i int) supervisor.Observation {
			o := always()(i)
			if i >= 10 {
				o.Checks = []supervisor.Check{{Name: "observation", Text: "it did not end"}}
			}
			return o
		}, supervisor.Back, "observation", 60 * time.Second},
		{"observations that come again count", func(i int) supervisor.Observation {
			o := always()(i)
			if i == 10 || i == 11 {
				o.Checks = []supervisor.Check{{Name: "observation", Text: "it did not end"}}
			}
			return o
		}, supervisor.Confirm, "", 11 * time.Minute},
		{"a whole processor for a short time is borne", func(i int) supervisor.Observation {
			return seen(start+time.Duration(i)*5*time.Second, 40<<20, min(time.Duration(i)*5*time.Second, time.Minute))
		}, supervisor.Confirm, "", 11 * time.Minute},
		{"what callers caused for eight minutes is not held against it", func(i int) supervisor.Observation {
			o := seen(start+time.Duration(i)*5*time.Second, 40<<20, time.Duration(i)*5*time.Second)
			if o.Memory, o.Others = 400<<20, 7; i > 96 {
				o.Memory, o.CPU, o.Others = 40<<20, 96*5*time.Second, 0
			}
			return o
		}, supervisor.Confirm, "", 11 * time.Minute},
		{"callers who never stop hide no memory for ever", func(i int) supervisor.Observation {
			o := seen(start+time.Duration(i)*5*time.Second, 400<<20, 0)
			o.Others = 7
			return o
		}, supervisor.Back, "memory", 8*time.Minute + 30*time.Second},
		{"nor a processor", func(i int) supervisor.Observation {
			o := seen(start+time.Duration(i)*5*time.Second, 40<<20, time.Duration(i)*5*time.Second)
			o.Others = 7
			return o
		}, supervisor.Back, "cpu", 10*time.Minute + 15*time.Second},
		{"what fails beside callers leads back all the same", func(i int) supervisor.Observation {
			o := always("settings")(i)
			o.Others = 7
			return o
		}, supervisor.Back, "settings", 10 * time.Second},
		{"an endpoint that does not listen yet is no failure, and confirms nothing", func(i int) supervisor.Observation {
			o := always()(i)
			o.Checks = append(o.Checks, supervisor.Check{Name: "endpoint of scan", Loading: i < 200, OK: i >= 200})
			return o
		}, supervisor.Confirm, "", 200 * 5 * time.Second},
		{"a whole processor for longer leads back", func(i int) supervisor.Observation {
			return seen(start+time.Duration(i)*5*time.Second, 40<<20, time.Duration(i)*5*time.Second)
		}, supervisor.Back, "cpu", 2 * time.Minute},
	} {
		t.Run(row.name, func(t *testing.T) {
			trial := supervisor.Trial{Base: base, Began: start, Times: supervisor.Times{
				Gate: time.Minute, Soak: 10 * time.Minute, CPU: 2 * time.Minute,
			}}
			for i := range 1000 {
				o := row.at(i)
				var v supervisor.Verdict
				if trial, v = trial.See(o); v.Word == supervisor.GoOn {
					continue
				}
				if v.Word != row.word || v.Check != row.check || o.At-start != row.after {
					t.Errorf("after %s: %+v; want %v by %q after %s", o.At-start, v, row.word, row.check, row.after)
				}
				return
			}
			t.Error("no verdict was ever given")
		})
	}
}

// TestAGapBetweenTwoObservationsResetsWhatCounts has observations every five
// seconds, and something in between.
func TestAGapBetweenTwoObservationsResetsWhatCounts(t *testing.T) {
	const start, every = time.Hour, 5 * time.Second
	type changed func(o supervisor.Observation, i int) supervisor.Observation
	slept := func(n int) changed { // before the n-th one; the clock stood still
		return func(o supervisor.Observation, i int) supervisor.Observation {
			if i >= n {
				o.Gaps = 1
			}
			return o
		}
	}
	late := func(n int, by time.Duration) changed {
		return func(o supervisor.Observation, i int) supervisor.Observation {
			if i >= n {
				o.At += by
			}
			return o
		}
	}
	well := func(int) []string { return nil }
	for _, row := range []struct {
		name    string
		gap     changed
		failing func(i int) []string
		cpu     time.Duration // in each five seconds
		word    supervisor.Word
		after   int // observations
	}{
		{"without one it is confirmed after gate and soak", slept(1 << 30), well, 0, supervisor.Confirm, 132},
		{"gate and soak begin anew after a sleep", slept(131), well, 0, supervisor.Confirm, 131 + 132},
		{"hours that were slept confirm nothing", late(2, 8*time.Hour), well, 0, supervisor.Confirm, 2 + 132},
		{"nor do minutes without an observation", late(100, 31*time.Second), well, 0, supervisor.Confirm, 100 + 132},
		{"an observation that is somewhat late counts", late(100, 20*time.Second), well, 0, supervisor.Confirm, 132 - 4},
		{"one that comes late after the switch is the first", late(0, 12*time.Minute), well, 0, supervisor.Confirm, 132},
		{"failures before and after it are not in a row", slept(12), func(i int) []string {
			if i >= 10 && i <= 13 {
				return []string{"api"}
			}
			return nil
		}, 0, supervisor.Confirm, 12 + 2 + 130},
		{"three in a row after it are", slept(12), func(i int) []string {
			if i >= 12 {
				return []string{"api"}
			}
			return nil
		}, 0, supervisor.Back, 14},
		{"the processor is used for two minutes on this side of it", slept(20), well, every, supervisor.Back, 20 + 24},
	} {
		t.Run(row.name, func(t *testing.T) {
			trial := supervisor.Trial{Base: supervisor.Baseline{Memory: 40 << 20}, Began: start, Times: supervisor.Times{
				Gate: time.Minute, Soak: 10 * time.Minute, CPU: 2 * time.Minute,
			}}
			for i := range 1000 {
				o := row.gap(seen(start+time.Duration(i)*every, 40<<20, time.Duration(i)*row.cpu, row.failing(i)...), i)
				var v supervisor.Verdict
				if trial, v = trial.See(o); v.Word == supervisor.GoOn {
					continue
				}
				if v.Word != row.word || i != row.after {
					t.Errorf("observation %d led to %+v; want %v by number %d", i, v, row.word, row.after)
				}
				return
			}
			t.Error("no verdict was ever given")
		})
	}
}

func TestOnlyTheThirdBadEndQuarantines(t *testing.T) {
	st := rollback.State{Format: 1, Current: 2, Good: 1, Last: 2, Trial: 2}
	for i := 1; i <= 3; i++ {
		next, tooOften := supervisor.Broken(st, false)
		if tooOften || next.Current != 1 || next.Trial != 2 || next.BadEnds != st.BadEnds {
			t.Fatalf("an orderly stop or a boot counts: %+v", next)
		}
		next, tooOften = supervisor.Broken(st, true)
		if next.Current != 1 || tooOften != (i == 3) {
			t.Fatalf("after bad end %d: %+v, too often %v", i, next, tooOften)
		}
		if i == 3 {
			return
		}
		var err error
		if st, err = next.Switch(2); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAnAgentOnTrialDoesNotJudgeItself(t *testing.T) {
	was := rollback.State{Format: 1, Current: 2, Good: 1, Last: 3, Trial: 2, BadEnds: 1}
	forget := was
	forget.BadEnds = 0
	bases, err := was.SwitchBases(3)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name string
		is   rollback.State
		ok   bool
	}{
		{"it does not confirm itself", was.Confirm(), false},
		{"it does not forget its bad ends", forget, false},
		{"it tries bases", bases, true},
		{"it holds a version back", was.Withdraw(rollback.Withdrawn{Base: "b", Version: 1}), true},
		{"it goes back when a person says so", was.Revert(), true},
	} {
		t.Run(row.name, func(t *testing.T) {
			if err := supervisor.Legal(was, row.is, true); (err == nil) != row.ok {
				t.Errorf("%v", err)
			}
		})
	}
}
