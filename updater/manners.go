package updater

import (
	"context"
	"io"
	"runtime"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"
)

// burst is how many bytes come at once at most while the bandwidth is limited.
const burst = 16 << 10

// limiter is the bucket that all downloads of this updater draw from; nil: no
// limit.
func (u *Updater) limiter() *rate.Limiter {
	if u.bucket == nil && u.Bandwidth > 0 {
		u.bucket = rate.NewLimiter(rate.Limit(u.Bandwidth), burst)
	}
	return u.bucket
}

// paced reads no faster than its bucket fills. The sender learns of it by TCP's
// own flow control.
type paced struct {
	ctx    context.Context
	r      io.Reader
	bucket *rate.Limiter
}

func (p paced) Read(b []byte) (int, error) {
	n, err := p.r.Read(b[:min(len(b), burst)])
	if n > 0 {
		if e := p.bucket.WaitN(p.ctx, n); e != nil {
			return n, e
		}
	}
	return n, err
}

// Priorities of work that nobody waits for: see nice(2) and ioprio_set(2).
const (
	backgroundNice = 10
	backgroundIO   = 2<<13 | 7 // best effort, the last of its levels
	ioprioProcess  = 1
)

// Background runs work at low priority for processor and disk, the commands it
// runs included. Priorities are a thread's on Linux, and one that is lowered
// cannot be raised again without rights: the work has a thread of its own, which
// ends with it. Where the kernel refuses, work runs as ever.
func Background(work func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		id := unix.Gettid()
		_ = unix.Setpriority(unix.PRIO_PROCESS, id, backgroundNice)
		_, _, _ = unix.Syscall(unix.SYS_IOPRIO_SET, ioprioProcess, uintptr(id), backgroundIO)
		work()
	}()
	<-done
}
