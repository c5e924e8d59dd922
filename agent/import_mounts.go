package agent

import (
	"os"

	"golang.org/x/sys/unix"
)

// mountinfo is pollable: POLLPRI says that something was mounted or unmounted
// since it was opened or polled last, see proc_pid_mountinfo(5).
const mountinfo = "/proc/self/mountinfo"

// watchMounts tells when file systems are mounted or unmounted, which inotify
// does not. It sleeps in between. stop ends it, and waits for its end. Where it
// cannot watch, it tells nothing.
func watchMounts() (changed <-chan struct{}, stop func()) {
	out := make(chan struct{}, 1)
	info, err := os.Open(mountinfo)
	if err != nil {
		return out, func() {}
	}
	end, ended, err := os.Pipe()
	if err != nil {
		info.Close()
		return out, func() {}
	}
	fds := []unix.PollFd{{Fd: int32(info.Fd()), Events: unix.POLLPRI}, {Fd: int32(end.Fd()), Events: unix.POLLIN}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			_, err := unix.Poll(fds, -1)
			if err != nil && err != unix.EINTR {
				return
			}
			if fds[1].Revents != 0 {
				return
			}
			if err != nil || fds[0].Revents == 0 {
				continue
			}
			select {
			case out <- struct{}{}:
			default:
			}
		}
	}()
	return out, func() {
		ended.Close()
		<-done
		end.Close()
		info.Close()
	}
}
