//go:build system

package systemtest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/freshet/freshet/internal/api"
	"github.com/freshet/freshet/internal/durable/crashtest"
)

// TestPowerCutOnExt4 cuts the power of an endpoint whose state folder is a
// real ext4 (data=ordered, as Debian mounts it), after a random number of the
// writes that an update makes. What was on the disk then is mounted, its journal replayed, and the
// agent started on it: again and again, on one disk that is never mended.
// 20 cuts, 500 with FRESHET_SOAK; FRESHET_SEED repeats the numbers.
func TestPowerCutOnExt4(t *testing.T) {
	needsRoot(t)
	mkfs := needsProgram(t, "mkfs.ext4", "e2fsprogs")
	cuts := 20
	if os.Getenv("FRESHET_SOAK") != "" {
		cuts = 500
	}
	seed := crashtest.Seed(t)
	random := rand.New(rand.NewPCG(seed, 0))
	p := newPublisher(t, released)
	e := newEndpoint(t, p, p.serve())
	write(t, e.path("state/.keep"), "") // where it is mounted
	d := newDisk(t, mkfs)
	d.mount(e.path("state"))
	version := 0
	publish := func() {
		version++
		for _, name := range []string{"domains", "urls"} {
			p.release(name, records(version, 3000))
		}
	}
	publish()
	e.update(api.Updated)
	publish()
	before := d.writes()
	e.update(api.Updated)
	usual := d.writes() - before
	t.Logf("an update makes %d writes unharmed", usual)
	old, within := 0, 0
	for range cuts {
		publish()
		trust, good := e.trust(), e.check().Good
		if d = e.cutAfter(d, random.IntN(usual+1)); !d.late {
			within++
		}
		if e.check().Good == good {
			old++
		}
		if now := e.trust(); now < trust {
			t.Fatalf("trust went back from version %d to %d", trust, now)
		}
		agent := e.listening()
		e.update(api.Updated, api.NothingNew)
		agent.stop()
		e.checkSettled()
		for _, name := range []string{"domains", "urls"} {
			e.reads(name, records(version, 3000))
		}
	}
	t.Logf("%d of %d cuts came before the update was done, %d left the generation before", within, cuts, old)
}

// trust is the version of the newest timestamp that the endpoint has believed.
func (e *endpoint) trust() int {
	e.t.Helper()
	newest := 0
	for _, file := range e.glob("trust/*/timestamp.json") {
		var doc struct {
			Signed struct {
				Version int `json:"version"`
			} `json:"signed"`
		}
		data, err := os.ReadFile(file)
		if err = errors.Join(err, json.Unmarshal(data, &doc)); err != nil {
			e.t.Fatalf("%s: %v", file, err)
		}
		newest = max(newest, doc.Signed.Version)
	}
	return newest
}

// cutAfter begins an update on the disk, cuts its power after so many writes,
// and gives the disk that is then left, mounted in its place.
func (e *endpoint) cutAfter(d *disk, writes int) *disk {
	e.t.Helper()
	limit := d.writes() + writes
	update := start(e.t, e.command("update"))
	for !update.hasEnded() && d.writes() < limit {
		runtime.Gosched() // no tick is fine enough
	}
	late := update.hasEnded()
	d.cut()
	update.signal(unix.SIGKILL)
	<-update.ended
	left := d.copy()
	left.late = late
	d.unmount()
	left.mount(e.path("state"))
	return left
}

// disk is a block device whose power can be cut: a loop device over a file in
// memory. Sealing the file refuses each write from that moment on; the seal
// and a write exclude each other, so that what the file holds then is a state
// that the disk had at one instant. Copying the file while it is written would
// not give one: the copy's beginning would be older than its end.
type disk struct {
	t    *testing.T
	file *os.File
	loop string // its device, "loop3"
	at   string // where it is mounted
	late bool   // it was cut when nothing was being written any more
}

// diskSize in bytes: an update leaves 64 MiB free.
const diskSize = 128 << 20

func blankDisk(t *testing.T) *disk {
	t.Helper()
	fd, err := unix.MemfdCreate("freshet-disk", unix.MFD_ALLOW_SEALING|unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	d := &disk{t: t, file: os.NewFile(uintptr(fd), fmt.Sprintf("/proc/self/fd/%d", fd))}
	t.Cleanup(d.unmount)
	if err := d.file.Truncate(diskSize); err != nil {
		t.Fatal(err)
	}
	return d
}

func newDisk(t *testing.T, mkfs string) *disk {
	t.Helper()
	d := blankDisk(t)
	c := exec.Command(mkfs, "-q", "-F", "/proc/self/fd/3")
	c.ExtraFiles = []*os.File{d.file}
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("mkfs.ext4: %v\n%s", err, out)
	}
	return d
}

// mount attaches the disk to a free loop device and mounts it.
func (d *disk) mount(at string) {
	d.t.Helper()
	for {
		loop, err := d.attach()
		if errors.Is(err, unix.EBUSY) { // somebody else was quicker
			continue
		}
		if err != nil {
			missing(d.t, "a loop device: %v", err)
		}
		err = unix.Mount(loop.Name(), at, "ext4", 0, "")
		loop.Close()
		if err != nil {
			d.t.Fatalf("mounting what a power cut left: %v", err)
		}
		d.at, d.loop = at, filepath.Base(loop.Name())
		return
	}
}

// attach gives the loop device, which goes when it is closed and unmounted.
func (d *disk) attach() (*os.File, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
	if err != nil {
		return nil, err
	}
	loop, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", n), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	config := unix.LoopConfig{Fd: uint32(d.file.Fd())}
	config.Info.Flags = unix.LO_FLAGS_AUTOCLEAR
	if err := unix.IoctlLoopConfigure(int(loop.Fd()), &config); err != nil {
		loop.Close()
		return nil, err
	}
	return loop, nil
}

// writes is how many the device has done.
func (d *disk) writes() int {
	d.t.Helper()
	data, err := os.ReadFile("/sys/block/" + d.loop + "/stat")
	if err != nil {
		d.t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.Fields(string(data))[4])
	if err != nil {
		d.t.Fatal(err)
	}
	return n
}

// cut refuses all writes from now on.
func (d *disk) cut() {
	d.t.Helper()
	if _, err := unix.FcntlInt(d.file.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_WRITE); err != nil {
		d.t.Fatalf("sealing the disk: %v", err)
	}
}

// copy is another disk that holds the same.
func (d *disk) copy() *disk {
	d.t.Helper()
	c := blankDisk(d.t)
	buf, zeros := make([]byte, 1<<20), make([]byte, 1<<20)
	for at := int64(0); at < diskSize; at += int64(len(buf)) {
		_, err := d.file.ReadAt(buf, at)
		if err == nil && !bytes.Equal(buf, zeros) {
			_, err = c.file.WriteAt(buf, at)
		}
		if err != nil {
			d.t.Fatal(err)
		}
	}
	return c
}

// unmount gives the disk up.
func (d *disk) unmount() {
	if d.at != "" {
		poll(d.t, 30*time.Second, "the disk is unmounted", func() bool { return unix.Unmount(d.at, 0) == nil })
		d.at = ""
	}
	d.file.Close()
}
