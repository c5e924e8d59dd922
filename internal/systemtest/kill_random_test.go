//go:build system

package systemtest_test

import (
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/durable/crashtest"
)

// kills is how often TestAgentKilledAtRandomMoments kills.
const kills = 30

// TestAgentKilledAtRandomMoments kills -9 from outside an agent that updates
// again and again, on one state folder that is never mended. FRESHET_SEED
// repeats the moments.
func TestAgentKilledAtRandomMoments(t *testing.T) {
	seed := crashtest.Seed(t)
	random := rand.New(rand.NewPCG(seed, 0))
	names := []string{"addresses", "domains", "urls"}
	p := newPublisher(t, released)
	versions := map[string]int{}
	turn := 0
	publish := func() {
		name := names[turn%len(names)]
		turn++
		versions[name]++
		p.release(name, records(versions[name], 2000))
	}
	for range names {
		publish()
	}
	e := newEndpoint(t, p, p.serve())
	e.run("update")
	usual := e.usualRun(publish)
	t.Logf("start and update take %s unharmed", usual.Round(time.Millisecond))
	// Two moments in three are to lie before the update's end.
	usual = usual * 3 / 4
	within := 0
	for range kills {
		publish()
		if e.killedAfter(time.Duration(random.Float64() * float64(usual))) {
			within++
		}
		e.check()
	}
	t.Logf("%d of %d kills came before the update was done", within, kills)
	d := e.listening()
	e.update(api.Updated, api.NothingNew)
	d.stop()
	e.checkSettled()
	for _, name := range names {
		e.reads(name, records(versions[name], 2000))
	}
}

// usualRun is how long an agent takes from its start to the end of an update.
func (e *endpoint) usualRun(publish func()) time.Duration {
	e.t.Helper()
	publish()
	began := time.Now()
	d := e.listening()
	e.update(api.Updated)
	took := time.Since(began)
	d.stop()
	return took
}

// killedAfter starts an agent and an update, and kills the agent so long after
// its start. It says whether the update was still to do or going on.
func (e *endpoint) killedAfter(moment time.Duration) bool {
	e.t.Helper()
	d := e.agent()
	timer := time.AfterFunc(moment, func() { d.signal(syscall.SIGKILL) })
	defer timer.Stop()
	poll(e.t, 30*time.Second, "the agent answers or is dead", func() bool { return d.hasEnded() || e.answers() })
	updated := false
	if !d.hasEnded() {
		// In its own process too, if the agent dies before it is asked.
		updated = e.command("update", "--json").Run() == nil
	}
	<-d.ended
	if !wasKilled(d.err) {
		e.t.Fatalf("the agent ended by itself: %v\n%s", d.err, d.output.String())
	}
	return !updated
}
