//go:build system

package systemtest_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/durable/crashtest"
)

// TestPowerCutOnExt4InAModuleUpdate cuts the power as TestPowerCutOnExt4 does, of
// a service that updates a module: within the download, the switch, the trial or
// the confirmation. After each cut the good version is whole and runs, nothing is
// held back, and the update gets done. 6 cuts, 200 with FRESHET_SOAK.
func TestPowerCutOnExt4InAModuleUpdate(t *testing.T) {
	needsRoot(t)
	mkfs := needsProgram(t, "mkfs.ext4", "e2fsprogs")
	cuts := 6
	if os.Getenv("FRESHET_SOAK") != "" {
		cuts = 200
	}
	seed := crashtest.Seed(t)
	random := rand.New(rand.NewPCG(seed, 1))
	p := newPublisher(t, released)
	p.scan("1.0.0")
	e := newEndpoint(t, p, p.serve())
	write(t, e.path("state/.keep"), "") // where it is mounted
	d := newDisk(t, mkfs)
	d.mount(e.path("state"))
	withScan(t, p, e)

	n := 1
	version := func() string { return fmt.Sprintf("1.%d.0", n) }
	p.scan(version())
	service := e.supervise("")
	before := d.writes()
	e.updatesScan(version())
	usual := d.writes() - before
	t.Logf("an update with its trial makes %d writes unharmed", usual)
	old, within := 0, 0
	for range cuts {
		n++
		p.scan(version())
		trust := e.trust()
		if d = e.cutService(d, service, version(), random.IntN(usual+1)); !d.late {
			within++
		}
		good := e.checkScan()
		if good != version() {
			old++
		}
		if now := e.trust(); now < trust {
			t.Fatalf("trust went back from version %d to %d", trust, now)
		}
		service = e.supervise("")
		if now := e.checkScan(); now != good && now != version() {
			t.Fatalf("scan %s was good after the cut, and is %s", good, now)
		}
		if e.updatesScan(version()) {
			t.Fatalf("scan %s was held back for a power cut\n%s", version(), service.output.String())
		}
		e.checkScan()
	}
	service.stop()
	t.Logf("%d of %d cuts came before the version was good, %d left the one before", within, cuts, old)
}

// cutService has the service update, cuts the power of its disk after so many
// writes, and gives the disk that is left, mounted in its place. What a boot
// empties is empty.
func (e *endpoint) cutService(d *disk, service *daemon, version string, writes int) *disk {
	e.t.Helper()
	limit := d.writes() + writes
	update := start(e.t, e.command("update"))
	for end := time.Now().Add(time.Minute); d.writes() < limit && !e.runsScan(version); {
		if time.Now().After(end) {
			e.t.Fatalf("the update does not end\n%s", service.output.String())
		}
		runtime.Gosched() // no tick is fine enough
	}
	d.cut()
	late := d.writes() < limit
	killAll(service.cmd.Process.Pid)
	killAll(update.cmd.Process.Pid)
	<-service.ended
	<-update.ended
	left := d.copy()
	left.late = late
	d.unmount()
	left.mount(e.path("state"))
	if err := os.RemoveAll(e.path("run")); err != nil {
		e.t.Fatal(err)
	}
	return left
}
