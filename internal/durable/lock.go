package durable

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ErrLocked says that another process holds the lock.
var ErrLocked = errors.New("another process holds the lock")

// Lock is an exclusive lock on a file (flock(2)). The kernel drops it when its
// process ends, however it ends.
type Lock struct{ f *os.File }

// Lock takes the lock at path, making the file if needed, or returns
// [ErrLocked] at once.
func (d *Disk) Lock(path string) (*Lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrLocked
		}
		return nil, &os.PathError{Op: "lock", Path: path, Err: err}
	}
	return &Lock{f: f}, nil
}

// LockWait is Lock, but asks again until it has the lock or ctx ends.
func (d *Disk) LockWait(ctx context.Context, path string) (*Lock, error) {
	for {
		l, err := d.Lock(path)
		if !errors.Is(err, ErrLocked) {
			return l, err
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ErrLocked, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// File is the open file that the lock is on. A process that inherits it holds
// the lock too, until both have ended.
func (l *Lock) File() *os.File { return l.f }

// Inherited is the lock that f, the file of another process's, stands for.
func Inherited(f *os.File) *Lock { return &Lock{f: f} }

// Unlock gives the lock back. The file stays: removing it would let two
// processes hold locks on two files of one name.
func (l *Lock) Unlock() error { return l.f.Close() }
