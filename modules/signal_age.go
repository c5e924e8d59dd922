package modules

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// aProcess is what the kernel says of a process: proc_pid_stat(5).
type aProcess struct {
	name    string
	started time.Duration // after the boot
	zombie  bool          // it has ended, and nobody has asked how
	kernel  bool          // a thread of the kernel
}

// userHZ is the unit of times in /proc, the same on each Linux that Go runs on.
const userHZ = 100

func processOf(pid int) (aProcess, error) {
	dir := "/proc/" + strconv.Itoa(pid)
	p, err := parseStat(procText(dir + "/stat"))
	if err != nil {
		return p, err
	}
	_, err = os.Readlink(dir + "/exe")
	p.kernel = errors.Is(err, fs.ErrNotExist) && !p.zombie
	return p, nil
}

// parseStat reads "PID (NAME) STATE …", of which NAME may hold anything.
func parseStat(text string) (aProcess, error) {
	open, end := strings.Index(text, "("), strings.LastIndex(text, ")")
	if open < 0 || end < open {
		return aProcess{}, errors.New("the kernel says nothing of it")
	}
	fields := strings.Fields(text[end+1:]) // from the third on
	const state, starttime = 0, 22 - 3     // proc(5) counts from 1
	if len(fields) <= starttime {
		return aProcess{}, errors.New("the kernel says too little of it")
	}
	ticks, err := strconv.ParseUint(fields[starttime], 10, 62)
	return aProcess{
		name:    text[open+1 : end],
		started: time.Duration(ticks/userHZ)*time.Second + time.Duration(ticks%userHZ)*(time.Second/userHZ),
		zombie:  strings.Contains("ZXx", fields[state]),
	}, err
}

// booted is when the machine booted, by the clock as it is now.
func booted() time.Time {
	var up unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &up) != nil {
		return time.Time{}
	}
	return time.Now().Add(-time.Duration(up.Nano()))
}

// runBorn is when the folder /run was made, by the clock as it was then; zero
// where that is not known, or tells nothing of the boot.
func runBorn() time.Time {
	var fs unix.Statfs_t
	var st unix.Statx_t
	if unix.Statfs("/run", &fs) != nil || int64(fs.Type) != unix.TMPFS_MAGIC {
		return time.Time{}
	}
	if unix.Statx(unix.AT_FDCWD, "/run", 0, unix.STATX_BTIME, &st) != nil || st.Mask&unix.STATX_BTIME == 0 {
		return time.Time{}
	}
	return time.Unix(st.Btime.Sec, int64(st.Btime.Nsec))
}

// fileTimes is how far a file's time may be from the clock's: some file systems
// count in two seconds.
const fileTimes = 2 * time.Second

// writtenBefore says whether a file of the clock's time written was there before
// a process that began started after the boot. A clock that was set ahead since,
// as on a machine that has none of its own, makes a file look older by as much:
// /run, which the boot made, shows how far it was set.
func writtenBefore(written time.Time, started time.Duration, booted, runBorn time.Time) bool {
	if booted.IsZero() {
		return false
	}
	began := booted.Add(started)
	if ahead := booted.Sub(runBorn); !runBorn.IsZero() && ahead > 0 {
		began = began.Add(-ahead)
	}
	return written.Before(began.Add(-fileTimes))
}
