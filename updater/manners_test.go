package updater_test

import (
	"net/http"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/freshet/freshet/internal/clock"
	"github.com/freshet/freshet/internal/event"
	"github.com/freshet/freshet/internal/source"
	"github.com/freshet/freshet/updater"
)

func TestDownloadsKeepToTheirBandwidth(t *testing.T) {
	const bandwidth = 32 << 10
	w := newWorld(t)
	w.publish("hosts", records(1, 40_000))
	now := time.Now()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		count := &source.Counter{}
		u := w.updater(func(u *updater.Updater) {
			u.Clock = &clock.Clock{Wall: func() time.Time { return now.Add(time.Since(began)) }}
			u.Sources = []source.Source{source.Local(w.repo.Dir, count)}
			u.Bandwidth, u.Count = bandwidth, count
		})
		res := u.Run(t.Context(), "test", nil)
		if res.Outcome != updater.Updated || len(res.Bases) != 1 {
			t.Fatalf("%+v", res)
		}
		bytes, took := res.Bases[0].Bytes, time.Since(began)
		// The bucket is full at the beginning.
		least := time.Duration(bytes-16<<10) * time.Second / bandwidth
		if bytes < 2*bandwidth || took < least || took > least+time.Second {
			t.Errorf("%d bytes took %s, at %d a second they take %s", bytes, took, bandwidth, least)
		}
	})
}

func TestBackgroundWorkHasALowPriorityAndNothingElseHas(t *testing.T) {
	nice := func() int {
		t.Helper()
		n, err := unix.Getpriority(unix.PRIO_PROCESS, unix.Gettid())
		if err != nil {
			t.Fatal(err)
		}
		return 20 - n // see getpriority(2) on what the system call returns
	}
	before := nice()
	var within int
	var command string
	var class uintptr
	updater.Background(func() {
		within = nice()
		out, _ := exec.Command("nice").Output()
		command = strings.TrimSpace(string(out))
		class, _, _ = unix.Syscall(unix.SYS_IOPRIO_GET, 1, 0, 0)
	})
	if within != 10 || command != "10" {
		t.Errorf("niceness %d, of a command %s, want 10", within, command)
	}
	if class != 2<<13|7 {
		t.Errorf("priority of the disk %#x", class)
	}
	if after := nice(); after != before {
		t.Errorf("niceness %d afterwards, %d before", after, before)
	}
}

// fetched counts what is asked for besides metadata and manifests.
func (w *world) fetched() *atomic.Int64 {
	n := &atomic.Int64{}
	w.serve(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/blobs/") || strings.HasPrefix(r.URL.Path, "/deltas/") {
			n.Add(1)
		}
		return false
	})
	return n
}

func (w *world) plan() updater.Plan {
	w.t.Helper()
	p, err := w.updater().Plan(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

func TestDiskCeilingIsHeldBeforeTheFirstByte(t *testing.T) {
	w := newWorld(t)
	w.publish("hosts", records(1, 40_000))
	w.update(updater.Updated)
	w.publish("hosts", records(2, 40_000))
	w.update(updater.Updated) // version 1 is kept to go back to
	w.publish("hosts", records(3, 40_000))
	w.publish("urls", records(1, 100))

	p := w.plan()
	if p.Used < int64(2*len(records(1, 40_000))) {
		t.Fatalf("%d bytes are used", p.Used)
	}
	asked := w.fetched()
	low := func(u *updater.Updater) { u.Ceiling = p.Used/2 + 100_000 }
	w.events = nil
	res := w.updater(low).Run(t.Context(), "test", nil)
	if res.Outcome != updater.Partly || !strings.Contains(res.Error, "hosts: the disk ceiling of ") || !w.saw(event.DiskCeiling) {
		t.Fatalf("%+v, %v", res, w.events)
	}
	if n := asked.Load(); n != 1 { // of urls, which fits
		t.Errorf("%d files were fetched", n)
	}
	w.expect("hosts", 2)
	w.expect("urls", 1)
	if !w.saw(event.VersionGivenUp) {
		t.Error("no version was given up for it")
	}
	// What was given up is neither damage nor a version to go back to.
	all, err := w.updater().Verify(t.Context(), nil, nil)
	if err != nil || len(all) != 2 || all[0].Error != "" || all[1].Error != "" {
		t.Errorf("%+v, %v", all, err)
	}
	if _, err := w.updater().RollBack(t.Context(), []string{"hosts"}); err == nil {
		t.Error("it goes back to what was given up")
	}
	w.update(updater.Updated)
	w.expect("hosts", 3)
}

func TestOldVersionsMakeRoomBelowTheCeiling(t *testing.T) {
	w := newWorld(t)
	w.publish("hosts", records(1, 40_000))
	w.update(updater.Updated)
	w.publish("hosts", records(2, 40_000))
	w.update(updater.Updated)
	w.publish("hosts", records(3, 40_000))
	p := w.plan()
	w.events = nil
	ceiling := p.Used + p.Disk - 100_000
	res := w.updater(func(u *updater.Updater) { u.Ceiling = ceiling }).Run(t.Context(), "test", nil)
	if res.Outcome != updater.Updated || !w.saw(event.VersionGivenUp) || w.saw(event.DiskCeiling) {
		t.Fatalf("%+v, %v", res, w.events)
	}
	w.expect("hosts", 3)
	if used := w.plan().Used; used > ceiling {
		t.Errorf("%d bytes are used, the ceiling is %d", used, ceiling)
	}
	if _, err := w.updater().RollBack(t.Context(), []string{"hosts"}); err != nil {
		t.Errorf("it does not go back to the version before: %v", err)
	}
	w.expect("hosts", 2)
}

func TestUpdateOfSomeBasesLeavesTheOthers(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"hosts", "urls", "mails"} {
		w.publish(name, records(1, 100))
	}
	w.update(updater.Updated)
	w.publish("hosts", records(2, 100))
	w.publish("urls", records(2, 100))
	only := func(u *updater.Updater) { u.Only = []string{"urls"}; u.Bases = []string{"hosts", "urls"} }
	if res := w.update(updater.Updated, only); len(res.Bases) != 1 {
		t.Errorf("%+v", res.Bases)
	}
	w.expect("hosts", 1)
	w.expect("urls", 2)
	w.expect("mails", 1) // not wanted any more, and not this update's matter
}
